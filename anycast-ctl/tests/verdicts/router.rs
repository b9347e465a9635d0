//! MLD at a router: draft host-anycast 4.2, 4.3 and section 5, RFC 2710, RFC 3810 6.2.

use anycast_common::abi::{
    counters::Counter,
    event::{REFUSAL_BURST, kind},
    maps::{DEFAULT_DENY, PolicyRule, policy},
    roles::ROUTER,
};
use anycast_ctl::core::rate::Rate;
use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{
        Namespace, Pass,
        netlink::{self, End},
    },
};

use crate::{
    harness::{Bench, Row, TWO, Verdict},
    packets::{CLIENT_MAC, Packet, address},
};

const MEMBER: &str = "fe80::11";
const GROUP: &str = "2001:db8:a::53";

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("router: checks of a Report, each with its counter", checks)
        .test(
            "router: what is not an anycast Report passes untouched",
            others,
        )
        .test("router: Router Alert can be made optional", lenient)
        .test("router: first match wins, default deny", policy_order)
        .test("router: the event carries the packet and the MAC", event)
        .test("router: each rule counts what it decides", hits)
        .test("router: a source has a rate, others have theirs", rate)
        .test(
            "router: what the policy refuses needs no token",
            denied_rate,
        )
        .test(
            "router: a rate is for one interface, one MAC and one source",
            separate,
        )
        .test("router: forged senders forget nobody's rate", forged)
        .test(
            "router: a flood shows few examples, with their reason",
            examples,
        )
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

fn bench() -> Result<Bench> {
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

fn passed(name: &'static str, frame: Vec<u8>, counts: &'static [(&'static str, u64)]) -> Row {
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

fn policy_order() -> Result<()> {
    let mut bench = Bench::new(ROUTER, true)?;
    let report = || Packet::report(MEMBER, GROUP);
    let denied = |name| refused(name, report(), &[("mld_report_denied", 1)]);
    let accepted = |name| allowed(name, report(), &[("mld_report_allowed", 1)]);
    let any = |action| rule(("::", 0), ("::", 0), action);

    bench.table(&[denied("no policy at all")])?;
    let tables: [(Vec<PolicyRule>, Row); 7] = [
        (vec![any(policy::ALLOW)], accepted("everything allowed")),
        (
            vec![
                rule((MEMBER, 128), ("::", 0), policy::DENY),
                any(policy::ALLOW),
            ],
            denied("a deny before an allow"),
        ),
        (
            vec![
                any(policy::ALLOW),
                rule((MEMBER, 128), ("::", 0), policy::DENY),
            ],
            accepted("an allow before a deny"),
        ),
        (
            vec![PolicyRule {
                match_mac: 1,
                mac: CLIENT_MAC,
                ..any(policy::ALLOW)
            }],
            accepted("the right MAC"),
        ),
        (
            vec![PolicyRule {
                match_mac: 1,
                mac: [2, 0, 0, 0, 0, 9],
                ..any(policy::ALLOW)
            }],
            denied("another MAC"),
        ),
        (
            vec![PolicyRule {
                ifindex: 9999,
                ..any(policy::ALLOW)
            }],
            denied("another interface"),
        ),
        (
            (0..255)
                .map(|id| PolicyRule {
                    id,
                    ..rule(("fe80::1:0", 112), ("::", 0), policy::DENY)
                })
                .map(|rule| {
                    if rule.id == 254 {
                        any(policy::ALLOW)
                    } else {
                        rule
                    }
                })
                .collect(),
            accepted("the last of 255 rules"),
        ),
    ];
    for (rules, row) in tables {
        bench.dataplane.maps().set_policy(&rules)?;
        bench.table(&[row])?;
    }
    let too_many = vec![any(policy::ALLOW); 256];
    ensure!(bench.dataplane.maps().set_policy(&too_many).is_err());
    Ok(())
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

fn hits() -> Result<()> {
    let mut bench = Bench::new(ROUTER, true)?;
    let numbered = |id, rule| PolicyRule { id, ..rule };
    bench.dataplane.maps().set_policy(&[
        numbered(7, rule(("fe80::66", 128), ("::", 0), policy::DENY)),
        numbered(3, rule((MEMBER, 128), (GROUP, 128), policy::ALLOW)),
    ])?;
    let done = Packet::mld("fe80::66", "ff02::2", 132, GROUP);
    for packet in [
        Packet::report("fe80::66", GROUP),
        done,
        Packet::report(MEMBER, GROUP),
        Packet::report("fe80::77", GROUP),
        // Refused before the policy is asked.
        Packet::report(MEMBER, GROUP).with(|p| p.hop_limit = 2),
    ] {
        bench.run(&packet.frame())?;
    }
    let counted = |bench: &mut Bench| -> Result<Vec<(usize, u64)>> {
        let hits = bench.dataplane.maps().policy_hits()?;
        Ok(hits
            .into_iter()
            .enumerate()
            .filter(|hit| hit.1 > 0)
            .collect())
    };
    let expected = [(3, 1), (7, 2), (DEFAULT_DENY as usize, 1)];
    let found = counted(&mut bench)?;
    ensure!(found == expected, "{found:?}");
    bench.dataplane.maps().reset_policy_hits([7])?;
    let found = counted(&mut bench)?;
    ensure!(found == [(3, 1), (DEFAULT_DENY as usize, 1)], "{found:?}");
    Ok(())
}

fn limited() -> Result<Bench> {
    let mut bench = Bench::with_rate(ROUTER, true, TWO)?;
    let rules = [rule(("fe80::", 64), ("2001:db8:a::", 48), policy::ALLOW)];
    bench.dataplane.maps().set_policy(&rules)?;
    Ok(bench)
}

fn rate() -> Result<()> {
    let mut bench = limited()?;
    let report = |source, group| Packet::report(source, group);
    let mut other_mac = report(MEMBER, GROUP).frame();
    other_mac[11] = 99;
    let mut bad_checksum = report(MEMBER, GROUP).frame();
    bad_checksum[14 + 40 + 8 + 2] ^= 1;
    let accepted = |name, packet| allowed(name, packet, &[("mld_report_allowed", 1)]);
    let beyond = |name, packet| refused(name, packet, &[("mld_rate_limited", 1)]);
    bench.table(&[
        accepted("the first", report(MEMBER, GROUP)),
        allowed(
            "the second, a Done for another group",
            Packet::mld(MEMBER, "ff02::2", 132, "2001:db8:a::54"),
            &[("mld_done_allowed", 1)],
        ),
        beyond("the third", report(MEMBER, "2001:db8:a::55")),
        beyond("a Done", Packet::mld(MEMBER, "ff02::2", 132, GROUP)),
        Row {
            frame: bad_checksum,
            ..refused(
                "a bad checksum is said first",
                report(MEMBER, GROUP),
                &[("mld_bad_checksum", 1)],
            )
        },
        passed(
            "a multicast Report is not ours to limit",
            Packet::mld(MEMBER, "ff02::1:ff00:53", 131, "ff02::1:ff00:53").frame(),
            &[("mld_multicast", 1)],
        ),
        accepted("another source", report("fe80::12", GROUP)),
        Row {
            frame: other_mac,
            ..accepted("another MAC", report(MEMBER, GROUP))
        },
    ])?;
    // Interface 1 is where all of these came.
    let mut bench = limited()?;
    for _ in 0..3 {
        bench.run(&report(MEMBER, GROUP).frame())?;
    }
    ensure!(bench.counters()?["mld_rate_limited"] == 1);

    let mut quick = Bench::with_rate(ROUTER, true, Rate::per_second(20, 1))?;
    let rules = [rule((MEMBER, 128), ("::", 0), policy::ALLOW)];
    quick.dataplane.maps().set_policy(&rules)?;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while quick.counters()?["mld_report_allowed"] < 3 {
        ensure!(std::time::Instant::now() < end, "no token grew");
        quick.run(&report(MEMBER, GROUP).frame())?;
    }
    ensure!(quick.counters()?["mld_rate_limited"] > 0);
    Ok(())
}

/// What a sender has used up in one place counts nowhere else.
fn separate() -> Result<()> {
    let namespace = Namespace::create(&format!("rates-{}", std::process::id()))?;
    let end = |name| End {
        namespace: &namespace,
        name,
        mac: None,
    };
    netlink::veth(end("lan0"), end("lan1"))?;
    // Frames for a test come only by an interface with a receive queue of XDP.
    let mut places = Vec::new();
    for name in ["lan0", "lan1"] {
        netlink::up(&namespace, name)?;
        places.push((
            netlink::index(&namespace, name)?,
            Pass::attach(&namespace, name)?,
        ));
    }
    namespace.run(|| {
        let mut bench = limited()?;
        let mut senders = Vec::new();
        for source in [MEMBER, "fe80::12"] {
            let mut frame = Packet::report(source, GROUP).frame();
            for mac in [1, 2] {
                frame[11] = mac;
                senders.push(frame.clone());
            }
        }
        for (ifindex, _) in &places {
            bench.ingress = *ifindex;
            for (number, frame) in senders.iter().enumerate() {
                let mut verdicts = Vec::new();
                for _ in 0..3 {
                    verdicts.push(bench.run(frame)?.0);
                }
                ensure!(
                    verdicts == [Verdict::Pass, Verdict::Pass, Verdict::Drop],
                    "sender {number} on interface {ifindex}: {verdicts:?}"
                );
            }
        }
        let counters = bench.counters()?;
        ensure!(counters["mld_report_allowed"] == 16 && counters["mld_rate_limited"] == 8);
        let kept = bench.dataplane.maps().senders();
        ensure!(kept == 8, "{kept} senders");
        Ok(())
    })
}

fn denied_rate() -> Result<()> {
    let mut bench = limited()?;
    let outside = Packet::report(MEMBER, "2001:db8:b::1").frame();
    for _ in 0..10 {
        bench.run(&outside)?;
    }
    bench.events()?;
    ensure!(bench.counters()?["mld_report_denied"] == 10);
    bench.table(&[allowed(
        "its tokens are all there",
        Packet::report(MEMBER, GROUP),
        &[("mld_report_allowed", 1)],
    )])
}

/// The policy names one source; a million others that it refuses leave no entry.
fn forged() -> Result<()> {
    let mut bench = Bench::with_rate(ROUTER, true, TWO)?;
    let rules = [rule((MEMBER, 128), ("2001:db8:a::", 48), policy::ALLOW)];
    bench.dataplane.maps().set_policy(&rules)?;
    let report = Packet::report(MEMBER, GROUP).frame();
    for _ in 0..2 {
        bench.run(&report)?;
    }
    let mut random = 1_u32;
    for _ in 0..5000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [a, b, ..] = random.to_be_bytes();
        let source = format!("fe80::f{a:x}:{b:x}");
        let mut frame = Packet::report(&source, GROUP).frame();
        frame[6..10].copy_from_slice(&(random & 0xfeff_ffff).to_be_bytes());
        bench.run(&frame)?;
    }
    bench.events()?;
    let senders = bench.dataplane.maps().senders();
    ensure!(senders == 1, "{senders} senders");
    ensure!(bench.counters()?["mld_report_denied"] == 5000);
    bench.run(&report)?;
    ensure!(bench.counters()?["mld_rate_limited"] == 1);
    Ok(())
}

fn examples() -> Result<()> {
    let mut bench = bench()?;
    let report = Packet::report("fe80::66", GROUP);
    for _ in 0..1000 {
        bench.run(&report.frame())?;
    }
    bench.run(&Packet::report("2001:db8::66", GROUP).frame())?;
    let events = bench.events()?;
    // A CPU has its own share, and the test may move; a second may pass.
    let cpus = std::thread::available_parallelism()?.get();
    let most = (usize::try_from(REFUSAL_BURST)? + 2) * cpus;
    let reason = |counter: Counter| {
        events
            .iter()
            .filter(|(header, _)| u32::from(header.reason) == counter as u32)
            .collect::<Vec<_>>()
    };
    let denied = reason(Counter::MldReportDenied);
    ensure!(
        denied.len() >= usize::try_from(REFUSAL_BURST)? && denied.len() <= most,
        "{} examples",
        denied.len()
    );
    let (header, packet) = denied[0];
    ensure!(header.kind == kind::REFUSED && header.mac == CLIENT_MAC);
    ensure!(*packet == report.bytes(), "packet {packet:?}");
    // A flood for one reason leaves another its own.
    ensure!(reason(Counter::MldBadSource).len() == 1, "{events:?}");
    ensure!(bench.counters()?["mld_report_denied"] == 1000);
    Ok(())
}
