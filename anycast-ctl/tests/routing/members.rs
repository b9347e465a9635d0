//! What members that come, go and die do to the routes of the others.

use std::{
    collections::BTreeMap,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xtask::net::{
    Capture, Namespace,
    netlink::{self, End},
    prepare, sysctl, wait,
};

use super::bed::{B, Bed, SOON, in_bed, ip, link_local, routed, router};

/// The members of the first rounds, and the one that comes later.
const MEMBERS: [(&str, u16); 4] = [("m1", 0x11), ("m2", 0x12), ("m3", 0x13), ("m4", 0x14)];
/// Clients, each with an address of its own.
const FLOWS: u16 = 128;

fn client(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number)
}

/// The clients' machine behind the router, which has all their addresses.
fn clients(bed: &Bed) -> Result<Namespace> {
    let namespace = bed.site.namespace("up")?;
    prepare(&namespace)?;
    sysctl::set(&namespace, &[("ipv6/ip_nonlocal_bind", "1")])?;
    let router = &bed.node("r1")?.namespace;
    let end = |namespace, name| End {
        namespace,
        name,
        mac: None,
    };
    netlink::veth(end(&namespace, "eth0"), end(router, "up0"))?;
    netlink::connect(end(&namespace, "eth0"), end(router, "up0"))?;
    for (namespace, name, host) in [(&namespace, "eth0", 0x99), (router, "up0", 0x98)] {
        netlink::address(namespace, name, link_local(host), 64)?;
    }
    ip(&namespace, "-6 route add local 2001:db8:1::/64 dev lo")?;
    ip(&namespace, "-6 route add default via fe80::98 dev eth0")?;
    ip(router, "-6 route add 2001:db8:1::/64 via fe80::99 dev up0")?;
    Ok(namespace)
}

/// One packet of each flow, and which member it came to.
fn round(clients: &Namespace, captures: &[Capture], port: u16) -> Result<BTreeMap<u16, String>> {
    clients.run(|| {
        for number in 1..=FLOWS {
            let socket = UdpSocket::bind(SocketAddr::from((client(number), 4000)))?;
            socket.send_to(b"?", SocketAddr::from((B, port)))?;
        }
        Ok(())
    })?;
    let mut found = BTreeMap::new();
    wait::poll(
        SOON,
        Duration::from_millis(50),
        "every flow at a member",
        || {
            for capture in captures {
                capture.ledger().read(|ledger| {
                    for flow in ledger
                        .flows
                        .keys()
                        .filter(|flow| flow.destination == (B, port))
                    {
                        let number = flow.source.0.segments()[7];
                        found.insert(number, capture.name().to_owned());
                    }
                });
            }
            Ok((found.len() == usize::from(FLOWS)).then_some(()))
        },
    )?;
    Ok(found)
}

/// How many flows of members other than `of` are elsewhere than before.
fn moved(before: &BTreeMap<u16, String>, after: &BTreeMap<u16, String>, of: &str) -> usize {
    let flows = before.iter().filter(|(_, member)| *member != of);
    flows
        .filter(|(flow, member)| after.get(flow) != Some(member))
        .count()
}

/// A fourth member joins, then the second leaves; flows that moved, of those that need not.
fn join_and_leave(settings: &str) -> Result<(usize, usize)> {
    let mut result = (0, 0);
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&MEMBERS)?;
        let up = clients(bed)?;
        let routes = bed.monitor("r1")?;
        let captures: Result<Vec<_>> = MEMBERS.iter().map(|(name, _)| bed.capture(name)).collect();
        let captures = captures?;
        bed.start("r1", &router(settings))?;
        bed.start_members(&["m1", "m2", "m3"])?;
        routed(&routes, SOON, &[0x11, 0x12, 0x13])?;
        // The kernel takes a bucket for unused when its only packet came in the very tick (of up to
        // 10 ms) in which it changed hands, so that each flow has sent before.
        round(&up, &captures, 1000)?;
        let three = round(&up, &captures, 1001)?;
        for (name, _) in &MEMBERS[..3] {
            ensure!(
                three.values().any(|member| member == name),
                "{name} idles: {three:?}"
            );
        }
        bed.start_members(&["m4"])?;
        routed(&routes, SOON, &[0x11, 0x12, 0x13, 0x14])?;
        let four = round(&up, &captures, 1002)?;
        bed.tell("m2", "leave")?;
        routed(&routes, SOON, &[0x11, 0x13, 0x14])?;
        let without = round(&up, &captures, 1003)?;
        ensure!(
            !without.values().any(|member| member == "m2"),
            "{without:?}"
        );
        result = (moved(&three, &four, ""), moved(&four, &without, "m2"));
        Ok(())
    })?;
    Ok(result)
}

pub fn resilient() -> Result<()> {
    let (joined, left) = join_and_leave("next_hops = \"all\"")?;
    println!("resilient: of {FLOWS} flows, a join moves {joined}, a leave {left} of the others");
    ensure!(
        (joined, left) == (0, 0),
        "{joined} and {left} flows have moved"
    );
    Ok(())
}

/// The contrast, without which the above would say nothing. How many move is up to the kernel's hash: about half of
/// all at a join, and that none does is as likely as 128 coins that fall on one side. Of a leave's twelfth that is not
/// sure enough.
pub fn plain() -> Result<()> {
    let (joined, left) = join_and_leave("next_hops = \"all\"\nresilient = \"never\"")?;
    println!("plain: of {FLOWS} flows, a join moves {joined}, a leave {left} of the others");
    ensure!(joined > 0, "no flow has moved where the kernel hashes anew");
    Ok(())
}

/// A cable is cut: no Done, and the Multicast Listener Interval is 260 s.
pub fn silent_death() -> Result<()> {
    const DETECTED: Duration = Duration::from_secs(12);
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&MEMBERS[..2])?;
        let routes = bed.monitor("r1")?;
        // Timers as RFC 2710 has them.
        let config = router("probe_interval = \"2s\"")
            .replace("query_interval = \"2s\"", "")
            .replace("query_response_interval = \"500ms\"", "");
        bed.start("r1", &config)?;
        bed.start_members(&["m1", "m2"])?;
        routed(&routes, SOON, &[0x11, 0x12])?;
        ip(&bed.lan, "link set m1 nomaster")?;
        let cut = Instant::now();
        routed(&routes, DETECTED, &[0x12])?;
        println!(
            "a member that died in silence was noticed after {:.1?}",
            cut.elapsed()
        );
        let left = bed.counter("r1", "member_unreachable")?;
        ensure!(left == 1, "{left} members were unreachable");

        ip(&bed.lan, "link set m1 master br0")?;
        bed.tell("m1", "leave")?;
        bed.tell("m1", "join")?;
        routed(&routes, SOON, &[0x11, 0x12]).context("it reports again")
    })
}

/// Somebody deletes a neighbour entry: the member is asked, and comes back at once.
pub fn flushed_neighbour() -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&MEMBERS[..1])?;
        let routes = bed.monitor("r1")?;
        let config = router("probe_interval = \"1s\"")
            .replace("query_interval = \"2s\"", "")
            .replace("query_response_interval = \"500ms\"", "");
        bed.start("r1", &config)?;
        bed.start_members(&["m1"])?;
        routed(&routes, SOON, &[0x11])?;
        // The first probe makes an entry.
        wait::poll(SOON, Duration::from_millis(50), "a neighbour", || {
            let known = bed.ip("r1", "-6 neigh show fe80::11 dev eth0")?;
            Ok(known.contains("lladdr").then_some(()))
        })?;
        bed.ip("r1", "-6 neigh del fe80::11 dev eth0")?;
        wait::poll(
            SOON,
            Duration::from_millis(50),
            "it counts as unreachable",
            || Ok((bed.counter("r1", "member_unreachable")? > 0).then_some(())),
        )?;
        routed(&routes, SOON, &[0x11])
    })
}
