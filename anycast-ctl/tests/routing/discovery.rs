//! A switch that snoops MLD passes Reports to a router that is not the Querier, once that router says that it is one
//! (RFC 4286).

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Result, ensure};
use xtask::net::{
    Capture, capture,
    packet::{Upper, mld},
    wait,
};

use super::{
    bed::{B, Bed, SOON, in_bed, ip, link_local, routed, router, tool},
    queriers::asks,
};

const AGAIN: Duration = Duration::from_millis(50);
const ADVERTISEMENT: u8 = 151;
const TERMINATION: u8 = 153;
const ALL_SNOOPERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6a);
const OFF: &str = "advertisement_interval = \"0s\"\ngeneral_queries = \"always\"";
const ON: &str = "advertisement_interval = \"20s\"\ngeneral_queries = \"always\"";

/// Whether the switch takes the port for one that leads to a router.
fn is_router_port(bed: &Bed, port: &str) -> Result<bool> {
    let ports = tool(&bed.lan, "bridge", "-d mdb show dev br0")?;
    let mut lines = ports.lines().filter(|line| line.contains("router ports"));
    Ok(lines.any(|line| line.split_whitespace().any(|word| word == port)))
}

/// The Querier r1, and r2 beside it, behind a switch that snoops. A member joins. Gives what passes the port of r2: a
/// switch keeps what is for All-Snoopers from ports without one.
fn two_routers(bed: &mut Bed, second: &str) -> Result<Capture> {
    ip(
        &bed.lan,
        "link set br0 type bridge mcast_snooping 1 mcast_mld_version 2",
    )?;
    bed.add_router("r1", 1)?;
    bed.add_router("r2", 2)?;
    bed.add_members(&[("m1", 0x11)])?;
    let port = Capture::start("port", &bed.lan, "r2", None)?;
    let routes = bed.monitor("r1")?;
    bed.start("r1", &router(OFF))?;
    wait::poll(SOON, AGAIN, "the switch finds the Querier", || {
        Ok(is_router_port(bed, "r1")?.then_some(()))
    })?;
    bed.start("r2", &router(second))?;
    bed.asked("r2", "status", "r2 hears the Querier", |status| {
        status["links"][0]["role"] == "non_querier"
    })?;
    // A querier has to be there for as long as its members may take to answer until a switch believes it.
    bed.start_members(&["m1"])?;
    routed(&routes, SOON, &[0x11])?;
    Ok(port)
}

/// Reports for B since then, as they arrive at a node.
fn reports(capture: &Capture, since: u64) -> usize {
    capture.ledger().read(|ledger| {
        let report =
            |packet: &xtask::net::packet::Packet| packet.upper == Upper::Mld(mld::REPORT, B);
        ledger.messages(since, report).count()
    })
}

/// The control: nothing tells the switch of the second router, which has no member then.
pub fn silent() -> Result<()> {
    in_bed(|bed| {
        let second = two_routers(bed, OFF)?;
        let first = bed.capture("r1")?;
        let since = capture::now();
        // Three rounds of Queries, each with its answer.
        for _ in 0..3 {
            let round = capture::now();
            asks(&first, round, link_local(1), Ipv6Addr::UNSPECIFIED)?;
            wait::poll(SOON, AGAIN, "the member answers", || {
                Ok((reports(&first, round) > 0).then_some(()))
            })?;
        }
        ensure!(!is_router_port(bed, "r2")?, "the switch knows of r2");
        ensure!(reports(&second, since) == 0, "Reports reach r2");
        let members = bed.daemon("r2")?.ask("members")?;
        ensure!(members.as_array().is_some_and(Vec::is_empty), "{members}");
        Ok(())
    })
}

/// Waits for an announcement of r2.
fn announced(capture: &Capture, since: u64, kind: u8) -> Result<()> {
    let what = format!("a message of type {kind} to All-Snoopers");
    Ok(capture.ledger().wait(SOON, &what, |ledger| {
        let said = |packet: &xtask::net::packet::Packet| {
            matches!(packet.upper, Upper::Icmp(found, _) if found == kind)
                && (packet.source, packet.destination) == (link_local(2), ALL_SNOOPERS)
        };
        let found = ledger.messages(since, said).next().is_some();
        found.then_some(())
    })?)
}

pub fn advertised() -> Result<()> {
    in_bed(|bed| {
        bed.add("host", 0x77)?;
        let switch = two_routers(bed, ON)?;
        let routes = bed.monitor("r2")?;
        announced(&switch, 0, ADVERTISEMENT)?;
        wait::poll(SOON, AGAIN, "the switch knows of r2", || {
            Ok(is_router_port(bed, "r2")?.then_some(()))
        })?;
        let status = bed.daemon("r2")?.ask("status")?;
        ensure!(status["links"][0]["role"] == "non_querier", "{status}");
        routed(&routes, SOON, &[0x11])?;

        // The initial ones are over. A switch that begins anew asks, and is answered at once.
        wait::poll(SOON, AGAIN, "three Advertisements", || {
            let sent = bed.counter("r2", "multicast_router_advertisement_sent")?;
            Ok((sent >= 3).then_some(()))
        })?;
        let asked = capture::now();
        let sent = bed.counter("r2", "multicast_router_advertisement_sent")?;
        solicit(bed)?;
        announced(&switch, asked, ADVERTISEMENT)?;
        ensure!(bed.counter("r2", "multicast_router_advertisement_sent")? == sent + 1);

        let ends = capture::now();
        bed.daemon_mut("r2")?.end()?;
        announced(&switch, ends, TERMINATION)
    })
}

/// Sends a Multicast Router Solicitation, as a switch does, from a host behind it.
fn solicit(bed: &Bed) -> Result<()> {
    let node = bed.node("host")?;
    node.namespace.run(|| {
        use socket2::{Domain, Protocol, Socket, Type};
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_multicast_hops_v6(1)?;
        let index = nix::net::if_::if_nametoindex("eth0")?;
        let all_routers =
            std::net::SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2), 0, 0, index);
        // The kernel adds the checksum of ICMPv6.
        socket.send_to(&[152, 0, 0, 0], &all_routers.into())?;
        Ok(())
    })
}
