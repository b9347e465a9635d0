//! Steps 7, 8 and 10: how the routers of the LAN react to forged messages, to members that die, and to each other.

use std::{
    net::Ipv6Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::{
    lab::{
        report::Evidence,
        stage::Lab,
        topology::{B, ROGUE, ROUTER, S1, S2, Server},
        verdict::{Otherwise as _, expect},
    },
    net::{
        Sender, capture,
        packet::{Upper, forge, mld},
        routes::Monitor,
        wait,
    },
};

use super::{
    join,
    plan::{ASK_AGAIN, SOON},
};

/// Time limit for an answer to a General Query. Members answer within the Query Response Interval of 10 s.
const ANSWER: Duration = Duration::from_secs(20);
/// Time limit for noticing that a member has died. It is probed once in 10 s, and the kernel then sends three
/// Solicitations, one second apart.
const DEATH: Duration = Duration::from_secs(20);
/// Number of frames in one round of a flood.
const ROUND: u64 = 256;
/// Number of rounds before the other host joins.
const BEFORE: u64 = 8;

/// The rogue sends a Done in the name of the member `staying`, which must stay, and floods the router. The other member
/// joins again meanwhile.
pub(super) fn attack(lab: &Lab, staying: Server, evidence: &mut Evidence<'_>) -> Result<()> {
    let rogue = Sender::open(lab.network.server(ROGUE), "eth0")?;
    let denied = counter(lab, "mld_done_denied")?;
    rogue.send(&forge::mld(mld::DONE, staying.link_local(), ROGUE.mac(), B))?;
    counted(lab, "mld_done_denied", denied + 1)?;
    evidence.fact(format_args!(
        "a Done in the name of {}, by the rogue's MAC: refused by the policy, in XDP",
        staying.name
    ));

    let since = capture::now();
    rogue.send(&forge::mld(
        mld::DONE,
        staying.link_local(),
        staying.mac(),
        B,
    ))?;
    evidence.fact("another, by a stolen MAC as well: the Querier asks, and the member answers");
    let query = lab.capture("router-lan")?.ledger().wait(
        SOON,
        "an Address-Specific Query for B",
        |ledger| {
            let mut queries = ledger.messages(since, |packet| {
                packet.source == ROUTER && packet.upper == Upper::Mld(mld::QUERY, B)
            });
            queries.next().cloned()
        },
    )?;
    join::tell(evidence, &query);
    // The forged Done arrived at the rogue's port.
    let answer = join::heard(lab, "router-lan", staying, mld::REPORT, query.time)?;
    join::tell(evidence, &answer);
    stays(lab, staying)?;
    flood(lab, &rogue, evidence)?;
    stays(lab, staying)
}

/// Sends a flood of Reports, each from another source and for another address. A host must be able to join during the
/// flood.
fn flood(lab: &Lab, rogue: &Sender, evidence: &mut Evidence<'_>) -> Result<()> {
    const COUNTER: &str = "mld_report_denied";
    let joining = match join::members(lab)? {
        members if join::has(&members, S1) => S2,
        _ => S1,
    };
    let before = counter(lab, COUNTER)?;
    let over = AtomicBool::new(false);
    let (joined, sent) = thread::scope(|scope| -> Result<_> {
        let flooding = scope.spawn(|| -> Result<u64> {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                let frames: Vec<_> = (sent..sent + ROUND).map(forged).collect();
                sent += rogue.send_all(&frames)? as u64;
            }
            Ok(sent)
        });
        let joined = (|| {
            counted(lab, COUNTER, before + BEFORE * ROUND)?;
            let start = Instant::now();
            lab.daemon(joining.name)?.tell(&["join", &B.to_string()])?;
            wait::poll(SOON, ASK_AGAIN, "the router has the other member", || {
                let found = join::has(&join::members(lab)?, joining);
                Ok(found.then(|| start.elapsed()))
            })
            .otherwise("router", || format!("members: {:?}", join::members(lab)))
        })();
        over.store(true, Ordering::Relaxed);
        let sent = flooding.join().map_err(|_| anyhow!("the flood panicked"))?;
        Ok((joined?, sent?))
    })?;
    evidence.fact(format_args!(
        "beside a flood of {sent} Reports of the rogue's ({COUNTER} {before} -> {}), {} joins: a \
         member after {:.0} ms",
        counter(lab, COUNTER)?,
        joining.name,
        joined.as_secs_f64() * 1e3
    ));
    Ok(())
}

/// A Report with a forged source.
fn forged(number: u64) -> Vec<u8> {
    let [.., a, b, c, d] = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xbad, 0, high, low);
    let group = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, high, low);
    forge::mld(mld::REPORT, source, [2, 0xba, a, b, c, d], group)
}

/// A second router learns the members that the first one knows. Then the daemon of the first router is killed and
/// started again.
pub(super) fn routers(lab: &mut Lab, staying: Server, evidence: &mut Evidence<'_>) -> Result<()> {
    let second = Monitor::start(&lab.network.router2)?;
    lab.start(&["router2"])?;
    let route = second
        .wait(ANSWER, "a route to B at router2", (B, 128), |routes| {
            routes.first().cloned()
        })
        .otherwise("router2", || format!("{:?}", second.to(B, 128)))?;
    evidence.fact(format_args!("router2's kernel: {route}"));

    let mut witness = lab.visit("plain2", false)?;
    witness.tell("beat")?;
    lab.restart("router")?;
    evidence.fact("router's daemon: killed, and started again");
    wait::poll(ANSWER, ASK_AGAIN, "router is the Querier for both", || {
        let ours = |node| querier(lab, node);
        let agreed =
            ours("router")? == ROUTER.to_string() && ours("router2")? == ROUTER.to_string();
        Ok(agreed.then_some(()))
    })
    .otherwise("router2", || format!("{:?}", querier(lab, "router2")))?;
    evidence.fact(format_args!(
        "election: both know {ROUTER}, the lower address, as the Querier"
    ));
    stays(lab, staying)?;
    witness.tell("pause")?;
    let beats = witness.event("paused", SOON)?;
    witness.tell("finish")?;
    witness.event("finished", SOON)?;
    evidence.fact(format_args!(
        "router's kernel: the route as before; {} exchanges of a session without a gateway ran \
         through it",
        beats["beats"]
    ));
    Ok(())
}

/// The member to which the route leads is disconnected and sends no Done.
pub(super) fn silence(lab: &Lab, dying: Server, evidence: &mut Evidence<'_>) -> Result<()> {
    let other = if dying == S1 { S2 } else { S1 };
    wait::poll(ANSWER, ASK_AGAIN, "both are members", || {
        let members = join::members(lab)?;
        Ok([S1, S2]
            .iter()
            .all(|server| join::has(&members, *server))
            .then_some(()))
    })?;
    let start = Instant::now();
    lab.network.pull(dying)?;
    evidence.fact(format_args!("{}'s cable is pulled", dying.name));
    let what = format!("the kernel's route to B leads to {}", other.name);
    let route = lab
        .routes
        .wait(DEATH, &what, (B, 128), |routes| {
            let mut routes = routes.iter();
            routes.find(|route| join::is_via(route, other)).cloned()
        })
        .otherwise("router", || format!("{:?}", lab.routes.to(B, 128)))?;
    evidence.fact(format_args!(
        "router's kernel, {:.1} s later: {route}",
        start.elapsed().as_secs_f64()
    ));
    let visitor = lab.visit("plain3", false)?;
    expect(
        visitor.server() == other.name,
        format_args!("a new session with {}", other.name),
        visitor.server(),
    )?;
    evidence.fact(format_args!("a new session: answered by {}", other.name));
    Ok(())
}

/// Checks that the kernel's route to B leads to this server and to no other.
fn stays(lab: &Lab, server: Server) -> Result<()> {
    let routes = lab.routes.to(B, 128);
    let same = matches!(&routes[..], [route] if join::is_via(route, server));
    expect(
        same,
        format_args!("the kernel's route to B by {}, as before", server.name),
        format_args!("{routes:?}"),
    )?;
    Ok(())
}

/// The Querier of the LAN, as a router sees it.
fn querier(lab: &Lab, node: &str) -> Result<String> {
    let status = lab.daemon(node)?.ask("status")?;
    let querier = &status["links"][0]["querier"];
    Ok(querier.as_str().unwrap_or("nobody").to_owned())
}

fn counter(lab: &Lab, name: &str) -> Result<u64> {
    lab.daemon("router")?.counter("data_plane", name)
}

fn counted(lab: &Lab, name: &str, count: u64) -> Result<()> {
    let what = format!("the router's XDP program counts {name} to {count}");
    wait::poll(SOON, ASK_AGAIN, &what, || {
        Ok((counter(lab, name)? >= count).then_some(()))
    })
    .otherwise("router", || format!("{:?}", counter(lab, name)))
}
