//! Packets of somebody who knows A, B, C and the ports, or guesses them, and who is on no path.

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    lab::topology::{B, CLIENT, SERVICE},
    net::{
        Sender, netlink,
        packet::{
            forge,
            tcp::{FIN, RST, SYN},
        },
        wait,
    },
};

use super::{
    sessions::Sessions,
    site::{ASK_AGAIN, Mode, OUTSIDE, Plan, Settings, Site, care_of},
};

const SESSIONS: usize = 8;
const BOUND: Duration = Duration::from_secs(2);
/// The same where Test Inits were lost at first: those are sent again after 1, 2, 4 and 8 s.
const BOUND_LATE: Duration = Duration::from_secs(16);
/// A binding lives for 16 s, and is looked after now and then.
const EXPIRED: Duration = Duration::from_secs(30);
/// A pin that both ends have closed is over so soon; nothing else comes to its end in the time of a test.
const CLOSED: Duration = Duration::from_secs(1);
const PINS: &str = "[correspondent.flows]\nclosed = \"1s\"\n";
/// And some more, for sweeps.
const HELD: Duration = Duration::from_millis(2500);
const ACK: u8 = 16;
/// Ports that Linux takes for its clients.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32768..=60999;
/// Another client of the gateway, and an address on its link that no host has.
const NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x101);
const NOBODY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xbad);
/// Destination Unreachable, no route.
const UNREACHABLE: [u8; 2] = [1, 0];

pub fn tests(mut suite: Suite) -> Suite {
    type Test = fn(&Site) -> Result<()>;
    let tests: [(&str, Test); 3] = [
        ("forged segments of pinned flows", segments),
        (
            "forged errors that C is unreachable, by routers",
            by_routers,
        ),
        (
            "forged errors that C is unreachable, by a client",
            by_client,
        ),
    ];
    for mode in [None, Some(Mode::Native), Some(Mode::Tcx)] {
        let how = mode.map_or("without us", Mode::name);
        for (name, test) in tests {
            suite = suite.test(format!("{name}, {how}"), move || {
                let settings = Settings {
                    gateway: PINS.to_owned(),
                    ..Settings::default()
                };
                let site = Site::with(Plan::new(2, mode), settings)?;
                test(&site).with_context(|| site.logs())
            });
        }
        suite = suite.test(format!("forged answers of a member, {how}"), move || {
            let settings = Settings {
                plain: vec![0],
                ..Settings::default()
            };
            let site = Site::with(Plan::new(2, mode), settings)?;
            answers(&site).with_context(|| site.logs())
        });
    }
    suite
}

fn end(address: Ipv6Addr, port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(address, port, 0, 0)
}

/// Sessions of the first member, which are bound; then the route has moved. Without us, it has not.
fn moved(site: &Site) -> Result<Sessions> {
    site.route(&[0])?;
    let mut sessions = Sessions::open(site, SESSIONS)?;
    sessions.beat()?;
    if site.plan.mode.is_some() {
        sessions.wait_bound(site, BOUND)?;
    }
    sessions.pause()?;
    if site.plan.mode.is_some() {
        site.route(&[1])?;
        let broken = sessions.exchange(Duration::ZERO)?;
        broken.none("before anything was forged")?;
    }
    Ok(sessions)
}

/// Nothing is bound any more, but flows are.
fn expire(site: &Site) -> Result<()> {
    if site.plan.mode.is_none() {
        return Ok(());
    }
    wait::poll(EXPIRED, ASK_AGAIN, "the binding expires", || {
        let bindings = site.daemon("gateway")?.list("bindings")?;
        Ok(bindings.is_empty().then_some(()))
    })
}

/// All of them go on.
fn go_on(mut sessions: Sessions) -> Result<()> {
    let broken = sessions.exchange(Duration::from_millis(500))?;
    broken.none("by what was forged")?;
    let ends = sessions.finish()?;
    ensure!(ends.broken.is_empty(), "{ends:?}");
    Ok(())
}

/// For so long, the gateway sends all of them to their member, although they say nothing.
fn hold(site: &Site, sessions: &Sessions, time: Duration) -> Result<()> {
    if site.plan.mode.is_none() {
        return Ok(());
    }
    let start = Instant::now();
    wait::poll(time * 4, ASK_AGAIN, "the time is over", || {
        let (own, foreign) = sessions.bound(site)?;
        let all = sessions.all.len();
        ensure!(
            (own, foreign) == (all, 0),
            "after {:?} {own} of {all} are bound, {foreign} by another",
            start.elapsed()
        );
        Ok((start.elapsed() >= time).then_some(()))
    })
}

/// A SYN with numbers that are made up on each flow, then FINs and RSTs: as the client by the gateway, and as B and
/// as C from elsewhere. The sessions are silent meanwhile, so that nothing takes back what was believed.
fn segments(site: &Site) -> Result<()> {
    let mut sessions = moved(site)?;
    let here = Sender::open(&site.client, "eth0")?;
    let elsewhere = Sender::open(&site.outside, "eth0")?;
    let (from_client, from_outside) = (site.way_from_client()?, site.way_from_outside()?);
    let mut numbers = (1_u32..).map(|n| n.wrapping_mul(0x9e37_79b9));
    let mut made_up = || [numbers.next(), numbers.next()].map(Option::unwrap_or_default);
    let mut forge = |sessions: &Sessions, flags: &[u8]| -> Result<()> {
        for session in &sessions.all {
            let client = end(CLIENT, session.port);
            for flags in flags {
                let server = end(B, SERVICE);
                here.send(&forge::tcp(from_client, client, server, *flags, made_up()))?;
                for from in [B, care_of(0)] {
                    let from = end(from, SERVICE);
                    elsewhere.send(&forge::tcp(from_outside, from, client, *flags, made_up()))?;
                }
            }
        }
        Ok(())
    };
    // What is decided anew now is not bound again.
    expire(site)?;
    forge(&sessions, &[SYN])?;
    let broken = sessions.exchange(Duration::from_millis(500))?;
    broken.none("by one SYN each")?;
    forge(&sessions, &[FIN | ACK, RST, RST | ACK])?;
    hold(site, &sessions, HELD.max(CLOSED * 2))?;
    go_on(sessions)
}

/// Segments as from the C of a member that is bound, with the ports of flows that are open because their own
/// member binds nobody.
fn answers(site: &Site) -> Result<()> {
    // Nobody is bound while the messages of handshakes go to the one without a daemon: what is opened later would be
    // bound with its first packet, however few it has by then.
    site.mobility_to(0)?;
    let mut sessions = Sessions::open(site, 3 * SESSIONS)?;
    let open = |sessions: &Sessions| {
        let open = sessions
            .all
            .iter()
            .filter(|session| session.member == Some(0));
        open.map(|session| session.port).collect::<Vec<_>>()
    };
    let at_first = open(&sessions).len();
    ensure!(
        at_first >= 3 && at_first + 2 <= sessions.all.len(),
        "the hash brought {at_first} to the member without a daemon"
    );
    site.mobility_to(1)?;
    sessions.beat()?;
    if site.plan.mode.is_some() {
        let others = sessions.all.len() - open(&sessions).len();
        wait::poll(
            BOUND_LATE,
            ASK_AGAIN,
            "those of the other are bound",
            || Ok((sessions.bound(site)?.0 == others).then_some(())),
        )?;
    }
    let elsewhere = Sender::open(&site.outside, "eth0")?;
    let way = site.way_from_outside()?;
    let forged = open(&sessions);
    for round in 0..3_u32 {
        for port in &forged {
            let (from, client) = (end(care_of(1), SERVICE), end(CLIENT, *port));
            for flags in [ACK, FIN | ACK] {
                elsewhere.send(&forge::tcp(way, from, client, flags, [round << 28, 1]))?;
            }
        }
        let broken = sessions.exchange(Duration::from_millis(100))?;
        broken.none(&format!("after {round} rounds"))?;
    }
    let ends = sessions.finish()?;
    ensure!(
        ends.broken.is_empty(),
        "{} were open: {ends:?}",
        forged.len()
    );
    Ok(())
}

/// Whoever knows A, C and the service quotes every port that a client may have.
fn by_routers(site: &Site) -> Result<()> {
    let sessions = moved(site)?;
    let elsewhere = Sender::open(&site.outside, "eth0")?;
    let way = site.way_from_outside()?;
    let frames: Vec<_> = EPHEMERAL
        .map(|port| {
            let [client, server] = [end(CLIENT, port), end(care_of(0), SERVICE)];
            let about = forge::tcp(way, client, server, ACK, [u32::from(port), 1]);
            forge::icmp_error(way, &OUTSIDE, &CLIENT, UNREACHABLE, &about)
        })
        .collect();
    let start = Instant::now();
    let sent = elsewhere.send_all(&frames)?;
    println!("{sent} errors in {:?}", start.elapsed());
    hold(site, &sessions, HELD)?;
    go_on(sessions)
}

/// A client says of its own flow that C is unreachable, to itself and by its own uplink.
fn by_client(site: &Site) -> Result<()> {
    netlink::address(&site.client, "eth0", NEIGHBOUR, 128)?;
    let sessions = moved(site)?;
    let here = Sender::open(&site.client, "eth0")?;
    let way = site.way_from_client()?;
    for session in &sessions.all {
        for (source, client) in [
            (NOBODY, NEIGHBOUR),
            (NEIGHBOUR, NEIGHBOUR),
            (NOBODY, CLIENT),
            (CLIENT, CLIENT),
        ] {
            let [from, to] = [end(client, session.port), end(care_of(0), SERVICE)];
            let about = forge::tcp(way, from, to, ACK, [1, 1]);
            let error = forge::icmp_error(way, &source, &client, UNREACHABLE, &about);
            here.send(&error)?;
        }
    }
    hold(site, &sessions, HELD)?;
    go_on(sessions)
}
