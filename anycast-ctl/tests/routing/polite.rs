//! A router that starts beside an MLDv2 querier, the switch, and one that starts alone.

use std::net::{Ipv6Addr, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use xtask::net::{
    Capture, capture,
    packet::{Packet, Upper, mld},
};

use super::{
    bed::{B, Bed, SOON, in_bed, ip, link_local, routed, router, tool},
    queriers::asks,
};

/// The switch.
const QUERIER: u16 = 0xff;
/// The group by which a router listens.
const LISTENING: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0x616e, 0x7963, 0, 1);
/// Groups that the host joins: before the router is there, and beside it.
const BEFORE: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x1234);
const BESIDE: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x5678);
const POLITE: &str = "general_queries = \"polite\"";

/// The kernel's bridge asks as RFC 3810 has it, every 125 seconds, and keeps who answers.
fn switch_asks(bed: &Bed) -> Result<()> {
    let address = link_local(QUERIER);
    xtask::net::sysctl::set(&bed.lan, &[("ipv6/conf/br0/disable_ipv6", "0")])?;
    ip(&bed.lan, &format!("address add {address}/64 dev br0 nodad"))?;
    let options = "mcast_snooping 1 mcast_mld_version 2 mcast_querier 1";
    ip(&bed.lan, &format!("link set br0 type bridge {options}"))?;
    Ok(())
}

/// The host listens to a group, as long as the socket lives.
fn listen(bed: &Bed, group: Ipv6Addr) -> Result<UdpSocket> {
    bed.node("host")?.namespace.run(|| {
        let socket = UdpSocket::bind("[::]:0")?;
        socket.join_multicast_v6(&group, 0)?;
        Ok(socket)
    })
}

/// What the switch says about the members of a group.
fn known(bed: &Bed, group: Ipv6Addr) -> Result<Vec<String>> {
    let table = tool(&bed.lan, "bridge", "mdb show dev br0")?;
    let mut lines: Vec<_> = table.lines().map(str::to_owned).collect();
    lines.retain(|line| line.contains(&format!("grp {group} ")));
    Ok(lines)
}

/// Waits until the host has reported something, and gives by which version.
fn reports(capture: &Capture, since: u64) -> Result<u8> {
    let kind = |packet: &Packet| match packet.upper {
        Upper::Icmp(kind @ mld::V2_REPORT, _) | Upper::Mld(kind @ mld::REPORT, _) => Some(kind),
        _ => None,
    };
    let version = capture
        .ledger()
        .wait(SOON, "a Report of the host", |ledger| {
            let mut reports = ledger.messages(since, |packet| packet.source == link_local(0x66));
            reports.find_map(|message| kind(&message.packet))
        })?;
    Ok(version)
}

/// General Queries of anybody but the switch.
fn general_queries(capture: &Capture) -> Vec<Packet> {
    capture.ledger().read(|ledger| {
        let general = |packet: &Packet| {
            packet.upper == Upper::Mld(mld::QUERY, Ipv6Addr::UNSPECIFIED)
                && packet.source != link_local(QUERIER)
        };
        let found = ledger.messages(0, general);
        found.map(|message| message.packet.clone()).collect()
    })
}

/// Waits until the router knows that it is not to ask everybody, and has refreshed its member.
fn settles(bed: &Bed, link: &Capture, since: u64) -> Result<()> {
    asks(link, since, link_local(QUERIER), LISTENING).context("the switch is made to speak")?;
    bed.asked("r1", "status", "the MLDv2 querier is heard", |status| {
        status["links"][0]["reason"] == "v2_querier"
    })?;
    bed.asked("r1", "members", "the member", |members| {
        members.as_array().is_some_and(|members| members.len() == 1)
    })?;
    for _ in 0..2 {
        asks(link, capture::now(), link_local(1), B)?;
    }
    Ok(())
}

pub fn beside() -> Result<()> {
    in_bed(|bed| {
        bed.add("host", 0x66)?;
        let host = bed.capture("host")?;
        switch_asks(bed)?;
        asks(&host, 0, link_local(QUERIER), Ipv6Addr::UNSPECIFIED).context("it is a querier")?;
        let _before = listen(bed, BEFORE)?;
        ensure!(
            reports(&host, 0)? == mld::V2_REPORT,
            "the host begins with MLDv1"
        );
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11)])?;
        let member = bed.capture("m1")?;
        let link = bed.capture("r1")?;
        let routes = bed.monitor("r1")?;

        let start = capture::now();
        bed.start("r1", &router(POLITE))?;
        bed.start_members(&["m1"])?;
        settles(bed, &link, start)?;
        let heard = capture::now();
        asks(&member, heard, link_local(1), B).context("the switch lets Queries through")?;
        routed(&routes, SOON, &[0x11])?;

        // The next run finds the route, and asks for the member by name.
        bed.daemon_mut("r1")?.kill()?;
        let again = capture::now();
        bed.start("r1", &router(POLITE))?;
        settles(bed, &link, again).context("the restart")?;
        routed(&routes, SOON, &[0x11])?;

        let joining = capture::now();
        let _beside = listen(bed, BESIDE)?;
        let version = reports(&host, joining)?;
        ensure!(
            version == mld::V2_REPORT,
            "the host reports by type {version}"
        );
        for capture in [&host, &link] {
            let asked = general_queries(capture);
            ensure!(asked.is_empty(), "{}: {asked:?}", capture.name());
        }
        for group in [BEFORE, BESIDE] {
            let members = known(bed, group)?;
            ensure!(
                members.iter().any(|line| line.contains("port host ")),
                "{group}: {members:?}"
            );
        }
        Ok(())
    })
}

pub fn alone() -> Result<()> {
    in_bed(|bed| {
        bed.add("host", 0x66)?;
        let host = bed.capture("host")?;
        bed.add_router("r1", 1)?;
        bed.start("r1", &router(POLITE))?;
        asks(&host, 0, link_local(1), Ipv6Addr::UNSPECIFIED)?;
        let asked = general_queries(&host);
        ensure!(asked.iter().all(|packet| packet.source == link_local(1)));
        bed.asked("r1", "status", "it asks everybody", |status| {
            status["links"][0]["reason"] == "querier"
        })?;
        Ok(())
    })
}
