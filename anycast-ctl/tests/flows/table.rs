//! Who would keep clients from being bound: with first packets of clients that do not exist, or with messages.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anycast_common::wire::mobility::{BindingUpdate, Flags, Message};
use anycast_ctl::core::rr;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use xtask::{
    kernel_tests::Suite,
    lab::topology::{B, CLIENT},
    net::{Pace, Sender, netlink, packet::forge, wait},
};

use super::{
    datagrams::PORT,
    site::{ASK_AGAIN, Mode, Plan, Settings, Site, ip, lan},
};

/// Between two first packets of a client.
const AGAIN: Duration = Duration::from_millis(100);
const BOUND: Duration = Duration::from_secs(2);
/// Bindings that the gateway keeps, and first packets of clients that do not exist.
const BINDINGS: usize = 128;
const FORGED: u32 = 400;
/// So many of them find the table full.
const REFUSED: u64 = 50;
const BATCH: usize = 2;
const PACE: Duration = Duration::from_millis(5);
/// Another network of clients.
const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x100);
/// What is bound is not for longer than 16 s.
const EXPIRED: Duration = Duration::from_secs(25);
/// Anycast addresses of one client, one after the other.
const GROUPS: u16 = 20;
/// Messages a second to that client: a batch in each of these times.
const EVERY: Duration = Duration::from_millis(50);
const MESSAGES: usize = 10;

pub fn tests(mut suite: Suite) -> Suite {
    for mode in [Mode::Native, Mode::Tcx] {
        let how = mode.name();
        let name = format!("clients that do not exist do not fill the table of bindings, {how}");
        suite = suite.test(name, move || filled(mode));
        let name = format!("messages from anywhere do not keep a client from being bound, {how}");
        suite = suite.test(name, move || kept(mode));
    }
    suite
}

/// A client's first packet to an address. Nobody waits for the answer.
fn first_packet(site: &Site, from: Ipv6Addr, to: Ipv6Addr) -> Result<()> {
    site.client.run(|| {
        let socket = UdpSocket::bind(SocketAddr::from((from, 0)))?;
        socket.send_to(b"?", SocketAddr::from((to, PORT)))?;
        Ok(())
    })
}

/// A client asks again and again, until it is bound, or not; gives how long that takes.
fn bound(site: &Site, client: Ipv6Addr, anycast: Ipv6Addr, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    let what = format!("{client} is bound to {anycast}");
    wait::poll(limit, AGAIN, &what, || {
        first_packet(site, client, anycast)?;
        let bindings = site.daemon("gateway")?.list("bindings")?;
        let found = bindings.iter().any(|binding| {
            binding["client"] == json!(client) && binding["anycast"] == json!(anycast)
        });
        Ok(found.then(|| start.elapsed()))
    })
}

/// Runs `body` while somebody sends these frames again and again.
fn beside<R>(
    sender: &Sender,
    frames: &[Vec<u8>],
    (batch, pace): (usize, Duration),
    body: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(move || -> Result<()> {
            let pace = Pace::every(pace)?;
            for batch in frames.chunks(batch).cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                sender.send_all(batch)?;
                pace.beat()?;
            }
            Ok(())
        });
        let result = body();
        over.store(true, Ordering::Relaxed);
        let flooded = flood.join().unwrap_or_else(|_| bail!("the flood panicked"));
        flooded.and(result)
    })
}

fn filled(mode: Mode) -> Result<()> {
    let settings = Settings {
        clients: ", \"2001:db8:3::/64\"".to_owned(),
        correspondent: format!("max_bindings = {BINDINGS}"),
        member: "[member.handshake]\nprefix_rate = 1000\n".to_owned(),
        ..Settings::default()
    };
    let site = Site::with(Plan::new(1, Some(mode)), settings)?;
    netlink::address(&site.client, "eth0", OTHER, 128)?;
    ip(&site.gateway, "-6 route add 2001:db8:3::/64 dev clients0")?;
    ip(
        &site.router,
        "-6 route add 2001:db8:3::/64 via 2001:db8:ff::2 dev gw0",
    )?;
    let here = Sender::open(&site.client, "eth0")?;
    let way = site.way_from_client()?;
    let frames: Vec<_> = (0..FORGED)
        .map(|number| {
            let nobody = CLIENT.to_bits() + (0xf << 32) + u128::from(number);
            let ends = [(Ipv6Addr::from_bits(nobody), 1024), (B, PORT)];
            let [from, to] = ends.map(|(ip, port)| std::net::SocketAddrV6::new(ip, port, 0, 0));
            forge::udp(way, from, to, b"?")
        })
        .collect();
    let body = || {
        // As many as may be have been bound, and more are wanted.
        wait::poll(EXPIRED, ASK_AGAIN, "no more are bound", || {
            let refused = site.member(0)?.counter("controller", "handshake_refused")?;
            Ok((refused > REFUSED).then_some(()))
        })?;
        bound(&site, OTHER, B, BOUND)
    };
    let result = beside(&here, &frames, (BATCH, PACE), body).and_then(|took| {
        println!("a client of another network is bound after {took:?}");
        // When the forger rests, and what he has made has ended, his own network's clients are bound, too.
        let start = Instant::now();
        wait::poll(EXPIRED, ASK_AGAIN, "forged bindings have ended", || {
            let bindings = site.daemon("gateway")?.list("bindings")?;
            Ok((bindings.len() <= 1).then_some(()))
        })?;
        bound(&site, CLIENT, B, BOUND)?;
        println!("and one of his own {:?} after he rests", start.elapsed());
        Ok(())
    });
    result.with_context(|| site.logs())
}

fn group(number: u16) -> (Ipv6Addr, Ipv6Addr) {
    let anycast = Ipv6Addr::from_bits(B.to_bits() + 0x1000 + u128::from(number));
    (anycast, lan(0x1000 + usize::from(number)))
}

fn kept(mode: Mode) -> Result<()> {
    let groups = (0..GROUPS).map(group).map(|(anycast, care_of)| {
        format!(
            "[[member.group]]\nanycast = \"{anycast}\"\ncare_of = \"{care_of}\"\njoin = \"start\"\n"
        )
    });
    let settings = Settings {
        member: groups.collect::<String>() + "[member.handshake]\nclient_interval = \"50ms\"\n",
        ..Settings::default()
    };
    let mut site = Site::network(Plan::new(1, Some(mode)), settings)?;
    for (anycast, care_of) in (0..GROUPS).map(group) {
        netlink::address(&site.members[0], "lo", anycast, 128)?;
        let deprecated = format!("-6 address add {care_of}/128 dev eth0 nodad preferred_lft 0");
        ip(&site.members[0], &deprecated)?;
        ip(
            &site.router,
            &format!("-6 route add {anycast}/128 via fe80::11 dev lan0"),
        )?;
    }
    site.start()?;
    let elsewhere = Sender::open(&site.outside, "eth0")?;
    let way = site.way_from_outside()?;
    let frames: Vec<_> = (0..4096)
        .map(|number| message(number, way))
        .collect::<Result<_>>()?;
    let took = beside(&elsewhere, &frames, (MESSAGES, EVERY), || {
        (0..GROUPS)
            .map(|number| {
                let (anycast, _) = group(number);
                Ok(bound(&site, CLIENT, anycast, BOUND).ok())
            })
            .collect::<Result<Vec<_>>>()
    });
    let took = took.with_context(|| site.logs())?;
    let longest = took.iter().flatten().max();
    let bound = took.iter().flatten().count();
    println!("{bound} of {GROUPS} bound, the last after {longest:?}");
    ensure!(
        bound == usize::from(GROUPS),
        "{bound} of {GROUPS} are bound; {}",
        site.logs()
    );
    Ok(())
}

/// A message to the client from a host that is nobody's member.
fn message(number: u32, way: [[u8; 6]; 2]) -> Result<Vec<u8>> {
    let mixed = u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let anybody = Ipv6Addr::from_bits(0x2001_0f00 << 96 | u128::from(mixed) << 32 | 1);
    let cookie = mixed.to_be_bytes();
    let message = match number % 4 {
        0 | 1 => Message::HomeTestInit { cookie },
        2 => Message::CareOfTestInit { cookie },
        _ => Message::BindingUpdate(BindingUpdate {
            sequence: 1,
            flags: Flags::ACKNOWLEDGE | Flags::EQUIVALENT,
            lifetime: 1,
            alternate_care_of: Some(anybody),
            nonce_indices: Some((1, 2)),
            authenticator: Some([0; 12]),
        }),
    };
    let packet = rr::build(&message, anybody, CLIENT)?;
    let [from, to] = way;
    Ok([&to[..], &from, &[0x86, 0xdd], &packet].concat())
}
