//! A member that is gone for good, and a router that says so.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{Capture, capture, netlink, packet::Upper, sysctl, wait},
};

use super::{
    datagrams::{Asker, with_answers},
    sessions::Sessions,
    site::{Mode, Plan, SOON, Site},
};

const SESSIONS: usize = 4;
const REST: Duration = Duration::from_millis(100);
/// From the router's first word, the client's traffic is with another member so soon.
const MOVED: Duration = Duration::from_secs(4);
/// ICMPv6 Destination Unreachable, address unreachable.
const UNREACHABLE: Upper = Upper::Icmp(1, 3);

pub fn tests(mut suite: Suite) -> Suite {
    for mode in [Mode::Native, Mode::Tcx] {
        let name = format!(
            "a member that is gone leaves its clients to another, {}",
            mode.name()
        );
        suite = suite.test(name, move || {
            let site = Site::up(Plan::new(2, Some(mode)))?;
            gone(&site).with_context(|| site.logs())
        });
    }
    suite
}

fn gone(site: &Site) -> Result<()> {
    // A router that finds out in a moment: how long it takes is not what is measured here.
    let neighbours = [
        ("ipv6/neigh/lan0/base_reachable_time_ms", "500"),
        ("ipv6/neigh/lan0/delay_first_probe_time", "1"),
        ("ipv6/neigh/lan0/retrans_time_ms", "100"),
    ];
    sysctl::set(&site.router, &neighbours)?;
    let link = Capture::start("router-gateway", &site.router, "gw0", None)?;
    site.route(&[0])?;
    let mut sessions = Sessions::open(site, SESSIONS)?;
    sessions.beat()?;
    sessions.wait_bound(site, SOON)?;
    with_answers(site, || {
        let mut flow = Asker::open(site, 0)?;
        ensure!(flow.ask()? == Some(0), "not by the route");
        sessions.pause()?;
        netlink::down(&site.members[0], "eth0")?;
        site.route(&[1])?;
        let moved = wait::poll(SOON * 2, REST, "the flow is with the other", || {
            Ok(flow.ask()?.map(|member| (member, capture::now())))
        });
        let (member, moved) = moved?;
        ensure!(member == 1, "a dead member answers");
        let told = link.ledger().read(|ledger| {
            let mut errors = ledger.messages(0, |packet| packet.upper == UNREACHABLE);
            errors.next().map(|message| message.time)
        });
        let told = told.context("the router has said nothing")?;
        let took = |time: u64| Duration::from_nanos(time.saturating_sub(told));
        println!(
            "the flow is with the other {:?} after the router's first word",
            took(moved)
        );
        ensure!(
            took(moved) < wait::patience(MOVED),
            "only after {:?}",
            took(moved)
        );
        // The sessions learn their end by the other member's resets.
        let broken = sessions.exchange(Duration::ZERO)?;
        ensure!(broken.0.len() == SESSIONS, "a dead member serves");
        println!(
            "the sessions have ended {:?} after it",
            took(capture::now())
        );
        let next = Sessions::open(site, 1)?;
        ensure!(next.all[0].member == Some(1), "a dead member answers");
        Ok(())
    })
}
