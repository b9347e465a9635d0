//! Several queriers on a link.

use std::{
    net::{Ipv6Addr, UdpSocket},
    time::Duration,
};

use anycast_common::wire::{
    ipv6,
    mld::{self, Version},
};
use anycast_ctl::shell::sockets::Sender;
use anyhow::{Context as _, Result, bail, ensure};
use xtask::net::{
    Capture, netlink,
    packet::{Packet, Upper},
    wait,
};

use super::bed::{B, Bed, SOON, in_bed, link_local, routed, router};

const AGAIN: Duration = Duration::from_millis(50);

/// Sends an MLD message from a node, by any link-local source.
fn forge(
    bed: &Bed,
    node: &str,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: mld::Message,
) -> Result<()> {
    let mut packet = vec![0; mld::V2_PACKET_LEN];
    let length = message
        .emit(source, destination, &mut packet)
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let namespace = &bed.node(node)?.namespace;
    let ifindex = netlink::index(namespace, "eth0")?;
    namespace.run(|| Ok(Sender::new()?.send(Some(ifindex), &packet[..length])?))
}

fn is(packet: &Packet, kind: u8, address: Ipv6Addr) -> bool {
    packet.upper == Upper::Mld(kind, address)
}

/// Waits until this address has asked about that one.
pub fn asks(capture: &Capture, since: u64, source: Ipv6Addr, about: Ipv6Addr) -> Result<()> {
    let what = format!("{source} asks about {about}");
    capture.ledger().wait(SOON, &what, |ledger| {
        let mut queries = ledger.messages(since, |packet| {
            packet.source == source && is(packet, xtask::net::packet::mld::QUERY, about)
        });
        queries.next().map(drop)
    })?;
    Ok(())
}

fn querier(bed: &Bed, node: &str) -> Result<String> {
    let status = bed.daemon(node)?.ask("status")?;
    let querier = status["links"][0]["querier"].as_str();
    querier
        .map(str::to_owned)
        .with_context(|| format!("{node} names no Querier: {status}"))
}

/// Whether the interface of a node accepts all multicasts, whatever groups the kernel has joined.
fn hears_all(bed: &Bed, node: &str, interface: &str) -> Result<bool> {
    let link = bed.ip(node, &format!("-d link show {interface}"))?;
    let mut words = link.split_whitespace();
    words.find(|word| *word == "allmulti");
    match words.next() {
        Some(times) => Ok(times != "0"),
        None => bail!("no iproute2 that says it: {link}"),
    }
}

/// A router's interface accepts all multicasts (RFC 2710 section 4), whatever becomes of it, until the daemon ends.
/// Without it a card's filter keeps the Querier's Address-Specific Queries from a router that is not the Querier.
pub fn all_multicasts() -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11)])?;
        ensure!(!hears_all(bed, "r1", "eth0")?, "before the daemon");
        bed.start("r1", &router(""))?;
        bed.start_members(&["m1"])?;
        ensure!(hears_all(bed, "r1", "eth0")?, "from its start on");
        ensure!(!hears_all(bed, "m1", "eth0")?, "a member is no router");

        let until = |bed: &Bed, interface: &str, wanted: bool| {
            let what = format!("{interface} hears all multicasts: {wanted}");
            wait::poll(SOON, AGAIN, &what, || {
                Ok((hears_all(bed, "r1", interface)? == wanted).then_some(()))
            })
        };
        for (name, other) in [("eth0", "other0"), ("other0", "eth0")] {
            bed.ip("r1", &format!("link set {name} down"))?;
            bed.ip("r1", &format!("link set {name} name {other}"))?;
            bed.ip("r1", &format!("link set {other} up"))?;
            until(bed, other, other == "eth0")?;
        }
        bed.ip("r1", "link del eth0")?;
        bed.plug(bed.node("r1")?)?;
        until(bed, "eth0", true)?;

        ensure!(bed.daemon_mut("r1")?.end()?.success(), "r1 ends in order");
        ensure!(!hears_all(bed, "r1", "eth0")?, "after its end");
        bed.start("r1", &router(""))?;
        ensure!(hears_all(bed, "r1", "eth0")?, "the next run");
        bed.daemon_mut("r1")?.kill()?;
        until(bed, "eth0", false).context("a crash")
    })
}

/// Two routers and a member; the first is the Querier, and both have the route.
fn two(bed: &mut Bed) -> Result<()> {
    bed.add_router("r1", 1)?;
    bed.add_router("r2", 2)?;
    bed.add_members(&[("m1", 0x11)])?;
    bed.start("r2", &router(""))?;
    bed.start("r1", &router(""))?;
    bed.start_members(&["m1"])?;
    for node in ["r1", "r2"] {
        routed(&bed.monitor(node)?, SOON, &[0x11]).context(node)?;
    }
    wait::poll(SOON, AGAIN, "the lower address is the Querier's", || {
        Ok((bed.counter("r2", "query_heard")? > 0).then_some(()))
    })
}

pub fn election() -> Result<()> {
    in_bed(|bed| {
        two(bed)?;
        let capture = bed.capture("m1")?;
        let all = Ipv6Addr::UNSPECIFIED;
        let start = xtask::net::capture::now();
        asks(&capture, start, link_local(1), all)?;
        asks(&capture, start, link_local(1), all)?;
        let others = capture.ledger().read(|ledger| {
            let queries = ledger.messages(start, |packet| {
                let query = matches!(packet.upper, Upper::Mld(xtask::net::packet::mld::QUERY, _));
                query && packet.source == link_local(2)
            });
            queries.count()
        });
        ensure!(others == 0, "the Non-Querier has sent {others} Queries");
        for node in ["r1", "r2"] {
            let querier = querier(bed, node)?;
            ensure!(
                querier == link_local(1).to_string(),
                "{node}'s Querier is {querier}"
            );
        }

        // The Querier hears a Done, and dies before its check ends: the other one finishes it.
        let routes = bed.monitor("r2")?;
        bed.tell("m1", "leave")?;
        asks(&capture, start, link_local(1), B)?;
        bed.daemon_mut("r1")?.kill()?;
        routed(&routes, SOON, &[]).context("the check goes on")?;
        ensure!(
            bed.counter("r2", "done_ignored")? >= 1,
            "a Non-Querier acts on a Done"
        );

        let dead = xtask::net::capture::now();
        asks(&capture, dead, link_local(2), all).context("the takeover")?;
        bed.tell("m1", "join")?;
        routed(&routes, SOON, &[0x11])?;
        bed.tell("m1", "leave")?;
        asks(&capture, dead, link_local(2), B)?;
        routed(&routes, SOON, &[])
    })
}

/// Somebody says Done in a member's name.
pub fn forged_done() -> Result<()> {
    in_bed(|bed| {
        two(bed)?;
        bed.add("host", 0x66)?;
        let capture = bed.capture("m1")?;
        let routes = bed.monitor("r1")?;
        let accepted = bed.counter("r1", "report_accepted")?;
        let start = xtask::net::capture::now();
        let done = mld::Message::Done { address: B };
        forge(bed, "host", link_local(0x11), ipv6::ALL_ROUTERS, done)?;
        asks(&capture, start, link_local(1), B)?;
        wait::poll(SOON, AGAIN, "the member's answer", || {
            Ok((bed.counter("r1", "report_accepted")? > accepted).then_some(()))
        })?;
        // Longer than the check would have taken: the next General Query is heard.
        asks(
            &capture,
            xtask::net::capture::now(),
            link_local(1),
            Ipv6Addr::UNSPECIFIED,
        )?;
        routed(&routes, Duration::ZERO.max(AGAIN), &[0x11])?;
        let members = bed.daemon("r1")?.list("members")?;
        ensure!(members.len() == 1, "{members:?}");
        Ok(())
    })
}

/// The group that the host joins, and has to be a member of whatever the version.
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x1234);

fn general_v2(bed: &Bed) -> Result<()> {
    let query = mld::Query {
        max_response_delay: Duration::from_millis(500),
        address: Ipv6Addr::UNSPECIFIED,
        version: Version::V2 {
            suppress: false,
            robustness: 2,
            interval: Duration::from_secs(30),
        },
    };
    forge(
        bed,
        "q",
        link_local(0xff),
        ipv6::ALL_NODES,
        mld::Message::Query(query),
    )
}

/// By which version a host of the link reports a group that it joins beside this router.
fn host_reports(settings: &str) -> Result<(bool, bool)> {
    let mut result = (false, false);
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add("q", 0xff)?;
        bed.add_members(&[("m1", 0x11)])?;
        bed.start("r1", &router(settings))?;
        bed.start_members(&["m1"])?;
        let routes = bed.monitor("r1")?;
        routed(&routes, SOON, &[0x11])?;
        let heard = bed.counter("r1", "query_heard")?;
        general_v2(bed)?;
        wait::poll(SOON, AGAIN, "the MLDv2 querier is heard", || {
            Ok((bed.counter("r1", "query_heard")? > heard).then_some(()))
        })?;
        // The router asks in its own way from now on: all, or the members that it knows.
        let asks_everybody = settings.contains("always");
        let about = if asks_everybody {
            Ipv6Addr::UNSPECIFIED
        } else {
            B
        };
        bed.add("host", 0x66)?;
        let capture = bed.capture("host")?;
        let start = xtask::net::capture::now();
        // Two of them: more than a Query Interval has passed.
        asks(&capture, start, link_local(1), about)?;
        asks(&capture, xtask::net::capture::now(), link_local(1), about)?;

        let joining = xtask::net::capture::now();
        let host = &bed.node("host")?.namespace;
        let ifindex = netlink::index(host, "eth0")?;
        let socket = host.run(|| {
            let socket = UdpSocket::bind("[::]:4242")?;
            socket.join_multicast_v6(&GROUP, ifindex)?;
            Ok(socket)
        })?;
        let what = "the host reports its group";
        result = capture.ledger().wait(SOON, what, |ledger| {
            let mut reports = ledger.messages(joining, |packet| packet.source == link_local(0x66));
            reports.find_map(|message| match message.packet.upper {
                Upper::Icmp(xtask::net::packet::mld::V2_REPORT, _) => Some((true, false)),
                Upper::Mld(xtask::net::packet::mld::REPORT, GROUP) => Some((false, true)),
                _ => None,
            })
        })?;
        let listed = host.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/igmp6")?))?;
        ensure!(
            listed.contains("ff050000000000000000000000001234"),
            "{listed}"
        );
        drop(socket);
        // The member is none the worse for it.
        routed(&routes, AGAIN, &[0x11])
    })?;
    Ok(result)
}

pub fn polite() -> Result<()> {
    let reports = host_reports("general_queries = \"polite\"")?;
    ensure!(
        reports == (true, false),
        "MLDv2 and MLDv1 Reports: {reports:?}"
    );
    Ok(())
}

pub fn always() -> Result<()> {
    let reports = host_reports("general_queries = \"always\"")?;
    ensure!(
        reports == (false, true),
        "MLDv2 and MLDv1 Reports: {reports:?}"
    );
    Ok(())
}
