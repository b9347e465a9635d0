//! How often a router hears one sender, and what it counts and shows of floods.

use anycast_common::abi::{
    counters::Counter,
    event::{REFUSAL_BURST, kind},
    maps::{DEFAULT_DENY, PolicyRule, policy},
    roles::ROUTER,
};
use anycast_ctl::{core::rate::Rate, shell::dataplane::Limits};
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
    packets::{CLIENT_MAC, Packet},
    router::{GROUP, MEMBER, allowed, bench, passed, refused, rule},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("router: each rule counts what it decides", hits)
        .test("router: a source has a rate, others have theirs", rate)
        .test(
            "router: who has spent the tokens of a slower rate waits for those of the quicker one",
            quicker,
        )
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

/// Control: the same rate given once more.
fn quicker() -> Result<()> {
    let mut bench = limited()?;
    let accepted = |name| {
        allowed(
            name,
            Packet::report(MEMBER, GROUP),
            &[("mld_report_allowed", 1)],
        )
    };
    let beyond = |name| {
        let report = Packet::report(MEMBER, GROUP);
        refused(name, report, &[("mld_rate_limited", 1)])
    };
    let set = |bench: &mut Bench, reports| {
        let limits = Limits {
            reports,
            ..Limits::NONE
        };
        bench.dataplane.maps().set_limits(&limits)
    };
    bench.table(&[accepted("the first"), accepted("the second")])?;
    set(&mut bench, TWO)?;
    bench.table(&[beyond("the third")])?;
    let every = TWO.every / 60;
    set(&mut bench, Rate { every, ..TWO })?;
    bench.table(&[
        accepted("by the quicker rate"),
        beyond("and no more than the least"),
    ])
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
