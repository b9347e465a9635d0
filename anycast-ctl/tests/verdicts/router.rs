//! MLD at a router: draft host-anycast 4.2, 4.3 and section 5, RFC 2710, RFC 3810 6.2.

use anycast_common::abi::{
    event::kind,
    maps::{PolicyRule, policy},
    roles::ROUTER,
};
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    harness::{Bench, Row, Verdict},
    packets::{CLIENT_MAC, Packet, address},
};

pub const MEMBER: &str = "fe80::11";
pub const GROUP: &str = "2001:db8:a::53";

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("router: checks of a Report, each with its counter", checks)
        .test(
            "router: what is not an anycast Report passes untouched",
            others,
        )
        .test("router: Router Alert can be made optional", lenient)
        .test("router: the event carries the packet and the MAC", event)
}

pub fn rule(source: (&str, u8), anycast: (&str, u8), action: u8) -> PolicyRule {
    let mask =
        |length: u8| (u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)).to_be_bytes();
    PolicyRule {
        source: address(source.0).octets(),
        source_mask: mask(source.1),
        anycast: address(anycast.0).octets(),
        anycast_mask: mask(anycast.1),
        ifindex: 0,
        action,
        match_mac: 0,
        mac: [0; 6],
        id: 0,
    }
}

pub fn bench() -> Result<Bench> {
    let mut bench = Bench::new(ROUTER, true)?;
    bench.dataplane.maps().set_policy(&[rule(
        (MEMBER, 128),
        ("2001:db8:a::", 48),
        policy::ALLOW,
    )])?;
    Ok(bench)
}

pub fn refused(name: &'static str, packet: Packet, counts: &'static [(&'static str, u64)]) -> Row {
    Row {
        name,
        frame: packet.frame(),
        verdict: Verdict::Drop,
        becomes: None,
        counts,
        events: &[kind::REFUSED],
    }
}

pub fn passed(name: &'static str, frame: Vec<u8>, counts: &'static [(&'static str, u64)]) -> Row {
    Row {
        name,
        frame,
        verdict: Verdict::Pass,
        becomes: None,
        counts,
        events: &[],
    }
}

pub fn allowed(name: &'static str, packet: Packet, counts: &'static [(&'static str, u64)]) -> Row {
    Row {
        events: &[kind::MLD],
        ..passed(name, packet.frame(), counts)
    }
}

fn checks() -> Result<()> {
    let report = || Packet::report(MEMBER, GROUP);
    let mut bad_checksum = report().frame();
    bad_checksum[14 + 40 + 8 + 2] ^= 1;
    // All octets are there, but not by what the IPv6 header says.
    let mut short_payload = report().frame();
    short_payload[14 + 4..14 + 6].copy_from_slice(&31_u16.to_be_bytes());
    // The last octets that the checksum is computed over here; of longer messages, the controller sees to it.
    let long = || report().with(|p| p.payload.resize(256, 7));
    let mut long_bad_checksum = long().frame();
    long_bad_checksum[14 + 40 + 8 + 2] ^= 1;
    bench()?.table(&[
        allowed("a Report", report(), &[("mld_report_allowed", 1)]),
        allowed(
            "a Done",
            Packet::mld(MEMBER, "ff02::2", 132, GROUP),
            &[("mld_done_allowed", 1)],
        ),
        allowed(
            "a Report with trailing octets under the checksum",
            report().with(|p| p.payload.extend([1, 2, 3, 4, 5])),
            &[("mld_report_allowed", 1)],
        ),
        allowed(
            "Router Alert behind padding",
            report().with(|p| p.extensions[0].1 = vec![0, 0, 1, 0, 5, 2, 0, 0]),
            &[("mld_report_allowed", 1)],
        ),
        refused(
            "a source outside the policy",
            Packet::report("fe80::66", GROUP),
            &[("mld_report_denied", 1)],
        ),
        refused(
            "a Done from outside the policy",
            Packet::mld("fe80::66", "ff02::2", 132, GROUP),
            &[("mld_done_denied", 1)],
        ),
        refused(
            "a group outside the policy",
            Packet::report(MEMBER, "2001:db8:b::53"),
            &[("mld_report_denied", 1)],
        ),
        refused(
            "a global source",
            Packet::report("2001:db8:20::11", GROUP),
            &[("mld_bad_source", 1)],
        ),
        refused(
            "an unspecified source",
            Packet::report("::", GROUP),
            &[("mld_bad_source", 1)],
        ),
        refused(
            "hop limit 2",
            report().with(|p| p.hop_limit = 2),
            &[("mld_bad_hop_limit", 1)],
        ),
        refused(
            "to the group itself, as for multicast",
            Packet::mld(MEMBER, "ff02::1", 131, GROUP),
            &[("mld_bad_destination", 1)],
        ),
        refused(
            "to a unicast address",
            Packet::mld(MEMBER, "2001:db8:20::1", 131, GROUP),
            &[("mld_bad_destination", 1)],
        ),
        refused(
            "no Hop-by-Hop header",
            report().with(|p| p.extensions.clear()),
            &[("mld_no_router_alert", 1)],
        ),
        refused(
            "Hop-by-Hop header without Router Alert",
            report().with(|p| p.extensions[0].1 = vec![0, 0, 1, 4, 0, 0, 0, 0]),
            &[("mld_no_router_alert", 1)],
        ),
        refused(
            "Router Alert for RSVP",
            report().with(|p| p.extensions[0].1 = vec![0, 0, 5, 2, 0, 1, 1, 0]),
            &[("mld_no_router_alert", 1)],
        ),
        refused(
            "20 octets of MLD",
            report().with(|p| p.payload.truncate(20)),
            &[("mld_truncated", 1)],
        ),
        Row {
            frame: short_payload,
            ..refused("a payload of 23 octets", report(), &[("mld_truncated", 1)])
        },
        // The padding ends within the address, and there it says what a Router Alert says.
        refused(
            "Router Alert behind its header",
            Packet::report(MEMBER, "2001:db8:a:502::53")
                .with(|p| p.extensions[0].1 = vec![0, 0, 1, 18, 0, 0, 0, 0]),
            &[("mld_no_router_alert", 1)],
        ),
        allowed("256 octets", long(), &[("mld_report_allowed", 1)]),
        Row {
            frame: long_bad_checksum,
            ..refused(
                "256 octets with a bad checksum",
                long(),
                &[("mld_bad_checksum", 1)],
            )
        },
        refused(
            "the unspecified address",
            Packet::report(MEMBER, "::"),
            &[("mld_bad_address", 1)],
        ),
        refused(
            "the loopback address",
            Packet::report(MEMBER, "::1"),
            &[("mld_bad_address", 1)],
        ),
        refused(
            "a link-local address",
            Packet::report(MEMBER, "fe80::5"),
            &[("mld_bad_address", 1)],
        ),
        refused(
            "a v4-mapped address",
            Packet::report(MEMBER, "::ffff:192.0.2.1"),
            &[("mld_bad_address", 1)],
        ),
        Row {
            frame: bad_checksum,
            ..refused("a bad checksum", report(), &[("mld_bad_checksum", 1)])
        },
    ])
}

fn others() -> Result<()> {
    let mut short = Packet::report(MEMBER, GROUP).frame();
    short.truncate(14 + 30);
    let mut ipv4 = vec![0; 60];
    ipv4[12..14].copy_from_slice(&[8, 0]);
    bench()?.table(&[
        passed(
            "a multicast Report",
            Packet::mld(MEMBER, "ff02::1:ff00:53", 131, "ff02::1:ff00:53").frame(),
            &[("mld_multicast", 1)],
        ),
        passed(
            "a multicast Done",
            Packet::mld(MEMBER, "ff02::2", 132, "ff02::1:ff00:53").frame(),
            &[("mld_multicast", 1)],
        ),
        passed(
            "an MLDv2 Report",
            Packet::mld(MEMBER, "ff02::16", 143, GROUP).frame(),
            &[],
        ),
        allowed(
            "a Query",
            Packet::mld("fe80::2", "ff02::1", 130, "::"),
            &[("mld_query", 1)],
        ),
        passed(
            "a Query from afar",
            Packet::mld("2001:db8::2", "ff02::1", 130, "::").frame(),
            &[("mld_query_not_on_link", 1)],
        ),
        passed(
            "a Query with hop limit 64",
            Packet::mld("fe80::2", "ff02::1", 130, "::")
                .with(|p| p.hop_limit = 64)
                .frame(),
            &[("mld_query_not_on_link", 1)],
        ),
        passed(
            "a Query of 20 octets",
            Packet::mld("fe80::2", "ff02::1", 130, "::")
                .with(|p| p.payload.truncate(20))
                .frame(),
            &[("mld_truncated", 1)],
        ),
        passed(
            "a Report in a VLAN, which is another link",
            Packet::report(MEMBER, GROUP)
                .with(|p| p.vlans = vec![7])
                .frame(),
            &[],
        ),
        passed(
            "a Neighbor Solicitation",
            Packet::icmpv6(MEMBER, "ff02::1:ff00:53", 135, &[0; 20]).frame(),
            &[],
        ),
        passed(
            "TCP",
            Packet::tcp("2001:db8:1::1", GROUP, (1, 2), 2).frame(),
            &[],
        ),
        passed(
            "mobility, which is not for a router",
            Packet::mobility("2001:db8:1::1", GROUP, 1).frame(),
            &[],
        ),
        passed("a frame cut within the IPv6 header", short, &[]),
        passed("IPv4", ipv4, &[]),
        passed(
            "14 octets",
            Packet::report(MEMBER, GROUP).frame()[..14].to_vec(),
            &[],
        ),
        passed(
            "a Report as a fragment",
            Packet::report(MEMBER, GROUP).fragment(0, true).frame(),
            &[],
        ),
    ])
}

fn lenient() -> Result<()> {
    let mut bench = Bench::new(ROUTER, false)?;
    bench
        .dataplane
        .maps()
        .set_policy(&[rule((MEMBER, 128), (GROUP, 128), policy::ALLOW)])?;
    bench.table(&[
        allowed(
            "no Hop-by-Hop header",
            Packet::report(MEMBER, GROUP).with(|p| p.extensions.clear()),
            &[("mld_report_allowed", 1)],
        ),
        allowed(
            "Router Alert for RSVP",
            Packet::report(MEMBER, GROUP)
                .with(|p| p.extensions[0].1 = vec![0, 0, 5, 2, 0, 1, 1, 0]),
            &[("mld_report_allowed", 1)],
        ),
    ])
}

fn event() -> Result<()> {
    let mut bench = bench()?;
    let report = Packet::report(MEMBER, GROUP);
    bench.run(&report.frame())?;
    let events = bench.events()?;
    ensure!(events.len() == 1, "{} events", events.len());
    let (header, packet) = &events[0];
    ensure!(header.mac == CLIENT_MAC, "MAC {:?}", header.mac);
    ensure!(*packet == report.bytes(), "packet {packet:?}");
    ensure!(header.ifindex == 1, "interface {}", header.ifindex);
    ensure!(header.time != 0);
    Ok(())
}
