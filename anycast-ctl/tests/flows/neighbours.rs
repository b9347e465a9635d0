//! A next hop whose Ethernet address is another one, while one packet a second goes there.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use xtask::{
    kernel_tests::Suite,
    lab::topology::CLIENT,
    net::{Namespace, Pace, netlink, sysctl, wait},
};

use super::{
    datagrams::{Asker, with_answers},
    site::{ASK_AGAIN, Mode, Plan, SOON, Site, care_of, ip},
};

/// Between two questions.
const REST: Duration = Duration::from_secs(1);
/// Answers come again so soon.
const HEALED: Duration = Duration::from_secs(10);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);

pub fn tests(mut suite: Suite, long: bool) -> Suite {
    // By TCX the kernel sends, as without us.
    let modes = [None, Some(Mode::Native)];
    let more = long.then_some(Some(Mode::Tcx));
    for mode in modes.into_iter().chain(more) {
        let how = mode.map_or("without us", Mode::name);
        let name = format!("a next hop gets another Ethernet address, {how}");
        suite = suite.test(name, move || {
            let site = Site::up(Plan::new(1, mode))?;
            moves(&site).with_context(|| site.logs())
        });
    }
    suite
}

fn moves(site: &Site) -> Result<()> {
    // The kernel itself is to find out in four seconds, where it is the one that sends.
    for interface in ["clients0", "up0"] {
        let name = format!("ipv6/neigh/{interface}/delay_first_probe_time");
        sysctl::set(&site.gateway, &[(&name, "1")])?;
    }
    with_answers(site, || {
        let mut flow = Asker::open(site, 0)?;
        ensure!(flow.ask()? == Some(0), "no answer at first");
        if site.plan.mode.is_some() {
            let gateway = site.daemon("gateway")?;
            wait::poll(SOON, ASK_AGAIN, "a binding", || {
                Ok((!gateway.list("bindings")?.is_empty()).then_some(()))
            })?;
            flow = Asker::open(site, 0)?;
        }
        let pace = Pace::every(REST)?;
        for _ in 0..3 {
            ensure!(
                flow.ask()? == Some(0),
                "no answer before anything is changed"
            );
            pace.beat()?;
        }
        let member = heals(site, &mut flow, (&site.router, "gw0"), ("up0", ROUTER))?;
        let client = heals(
            site,
            &mut flow,
            (&site.client, "eth0"),
            ("clients0", CLIENT),
        )?;
        println!("towards the member after {member:?}, towards the client after {client:?}");
        if site.plan.mode.is_some() {
            let flows = site.daemon("gateway")?.list("flows")?;
            let bound = |flow: &&serde_json::Value| {
                flow["state"] == "bound" && flow["care_of"] == json!(care_of(0))
            };
            ensure!(
                flows.iter().any(|flow| bound(&flow)),
                "not bound any more: {flows:?}"
            );
        }
        Ok(())
    })
}

/// Gives the next hop another address, which nobody is told, and asks until an answer comes again.
fn heals(
    site: &Site,
    flow: &mut Asker,
    (host, interface): (&Namespace, &str),
    (from, address): (&str, Ipv6Addr),
) -> Result<Duration> {
    let gateway = netlink::mac(&site.gateway, from)?;
    let mut mac = netlink::mac(host, interface)?;
    let old = mac.map(|octet| format!("{octet:02x}")).join(":");
    // As after a time without a packet, so that the control does not depend on when the kernel last asked.
    let stale = format!("-6 neigh replace {address} lladdr {old} dev {from} nud stale");
    ip(&site.gateway, &stale)?;
    mac[5] ^= 0x80;
    let new = mac.map(|octet| format!("{octet:02x}")).join(":");
    ip(host, &format!("link set {interface} address {new}"))?;
    // It asks nobody itself, by which the gateway would learn of it.
    let near = gateway.map(|octet| format!("{octet:02x}")).join(":");
    let others = if address == CLIENT {
        "2001:db8:1::1"
    } else {
        "2001:db8:ff::2"
    };
    let permanent =
        format!("-6 neigh replace {others} lladdr {near} dev {interface} nud permanent");
    ip(host, &permanent)?;
    // One packet in a second is what keeps such an entry alive.
    let pace = Pace::every(REST)?;
    let start = Instant::now();
    ensure!(flow.ask()?.is_none(), "the gateway knew at once");
    loop {
        pace.beat()?;
        if flow.ask()?.is_some() {
            break;
        }
        let waited = start.elapsed();
        ensure!(waited < wait::patience(HEALED), "no answer for {waited:?}");
    }
    Ok(start.elapsed())
}
