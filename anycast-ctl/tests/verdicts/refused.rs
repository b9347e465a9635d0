//! What the policy refuses, however many rules and senders there are, and whoever is new to it.
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use std::{
    net::Ipv6Addr,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anycast_common::abi::{
    event::kind,
    maps::{DEFAULT_DENY, PolicyRule, policy},
    roles::ROUTER,
};
use anycast_ctl::shell::dataplane::Limits;
use anyhow::{Context as _, Result, ensure};
use nix::libc;
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
    router::{allowed, refused, rule},
};

const HOST: &str = "fe80::66";
const GROUP: &str = "2001:db8:a::53";
const TIMES: u32 = 100_000;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "refused: a flood of one Report is counted to the last",
            counted,
        )
        .test("refused: what looks like it and is not valid", alike)
        .test(
            "refused: what comes by turns is counted as what it is",
            by_turns,
        )
        .test("refused: on one interface, allowed on another", interfaces)
        .test(
            "refused: as the rules in order say, whatever they are",
            in_order,
        )
        .test(
            "refused: a new policy applies at once and as a whole",
            replaced,
        )
        .test("limits: senders that are new to a rule", new_senders)
}

fn numbered(id: u32, rule: PolicyRule) -> PolicyRule {
    PolicyRule { id, ..rule }
}

fn any(action: u8) -> PolicyRule {
    rule(("::", 0), ("::", 0), action)
}

fn hits(bench: &mut Bench) -> Result<Vec<(usize, u64)>> {
    let hits = bench.dataplane.maps().policy_hits()?;
    Ok((0..).zip(hits).filter(|hit| hit.1 > 0).collect())
}

fn counted() -> Result<()> {
    let mut bench = Bench::new(ROUTER, true)?;
    let deny = numbered(4, rule((HOST, 128), ("::", 0), policy::DENY));
    let report = Packet::report(HOST, GROUP);
    let done = Packet::mld(HOST, "ff02::2", 132, GROUP);
    let (mut reports, mut dones, mut by_rule, mut by_default) = (0, 0, 0, 0);
    for (rules, is_rule) in [(&[deny][..], true), (&[], false), (&[deny], true)] {
        bench.dataplane.maps().set_policy(rules)?;
        for (frame, counter) in [(&report, &mut reports), (&done, &mut dones)] {
            ensure!(bench.repeat(&frame.frame(), TIMES)? == Verdict::Drop);
            *counter += u64::from(TIMES);
            *(if is_rule {
                &mut by_rule
            } else {
                &mut by_default
            }) += u64::from(TIMES);
        }
        let counters = bench.counters()?;
        let found = (counters["mld_report_denied"], counters["mld_done_denied"]);
        ensure!(found == (reports, dones), "{found:?}");
        let wanted = [(4, by_rule), (DEFAULT_DENY as usize, by_default)];
        let wanted: Vec<_> = wanted.into_iter().filter(|hit| hit.1 > 0).collect();
        let found = hits(&mut bench)?;
        ensure!(found == wanted, "{found:?}, expected {wanted:?}");
    }
    bench.events()?;
    // Who is allowed now was refused a moment ago.
    bench.dataplane.maps().set_policy(&[any(policy::ALLOW)])?;
    bench.table(&[allowed(
        "the same host",
        report,
        &[("mld_report_allowed", 1)],
    )])
}

/// Frames that differ from one that was refused a moment ago in one thing, which is said of them.
fn alike() -> Result<()> {
    let mut bench = Bench::new(ROUTER, true)?;
    let report = || Packet::report(HOST, GROUP);
    let mut bad_checksum = report().frame();
    bad_checksum[14 + 40 + 8 + 2] ^= 1;
    let mut swapped = report().frame();
    swapped.swap(14 + 8 + 12, 14 + 8 + 14);
    swapped.swap(14 + 8 + 13, 14 + 8 + 15);
    let rows = [
        (bad_checksum, "mld_bad_checksum"),
        // The checksum does not see it, the policy does.
        (swapped, "mld_report_denied"),
        (
            report().with(|p| p.hop_limit = 2).frame(),
            "mld_bad_hop_limit",
        ),
        (
            report().with(|p| p.payload.truncate(20)).frame(),
            "mld_truncated",
        ),
        (
            report().with(|p| p.extensions[0].1[6] = 2).frame(),
            "mld_report_denied",
        ),
        (
            report().with(|p| p.extensions[0].1[5] = 1).frame(),
            "mld_no_router_alert",
        ),
        (
            Packet::report("2001:db8::66", GROUP).frame(),
            "mld_bad_source",
        ),
        (Packet::report(HOST, "fe80::1").frame(), "mld_bad_address"),
        (Packet::report(HOST, "ff02::1").frame(), "mld_multicast"),
        (
            Packet::mld(HOST, "ff02::1", 131, GROUP).frame(),
            "mld_bad_destination",
        ),
    ];
    for (number, (frame, counter)) in rows.iter().enumerate() {
        ensure!(bench.repeat(&report().frame(), 1000)? == Verdict::Drop);
        let before = bench.counters()?;
        bench.repeat(frame, 1000)?;
        let after = bench.counters()?;
        let changed: Vec<_> = after
            .iter()
            .filter(|(name, value)| **value != before[**name])
            .map(|(name, value)| (*name, value - before[name]))
            .collect();
        ensure!(changed == [(*counter, 1000)], "row {number}: {changed:?}");
    }
    Ok(())
}

/// One of each kind before the next, so that examples of all kinds run out within one tick of the kernel's clock.
fn by_turns() -> Result<()> {
    const TURNS: u64 = 3000;
    let mut bench = Bench::new(ROUTER, true)?;
    let report = Packet::report(HOST, GROUP).frame();
    let done = Packet::mld(HOST, "ff02::2", 132, GROUP).frame();
    let mut bad_checksum = Packet::report("fe80::67", GROUP).frame();
    bad_checksum[14 + 40 + 8 + 2] ^= 1;
    for _ in 0..TURNS {
        for frame in [&report, &done, &bad_checksum] {
            ensure!(bench.run(frame)?.0 == Verdict::Drop);
        }
    }
    let counters = bench.counters()?;
    let names = ["mld_report_denied", "mld_done_denied", "mld_bad_checksum"];
    let found = names.map(|name| counters[name]);
    ensure!(found == [TURNS; 3], "{found:?}");
    Ok(())
}

fn interfaces() -> Result<()> {
    let namespace = Namespace::create(&format!("refused-{}", std::process::id()))?;
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
        let ifindex = netlink::index(&namespace, name)?;
        places.push((ifindex, Pass::attach(&namespace, name)?));
    }
    namespace.run(|| {
        let mut bench = Bench::new(ROUTER, true)?;
        let (first, second) = (places[0].0, places[1].0);
        let only = PolicyRule {
            ifindex: second,
            ..any(policy::ALLOW)
        };
        bench.dataplane.maps().set_policy(&[only])?;
        let frame = Packet::report(HOST, GROUP).frame();
        for _ in 0..1000 {
            bench.ingress = first;
            ensure!(bench.run(&frame)?.0 == Verdict::Drop);
            bench.ingress = second;
            ensure!(bench.run(&frame)?.0 == Verdict::Pass);
        }
        Ok(())
    })
}

/// As many rules as there can be, and packets that many of them match. The frames come one by one, so
/// that both ways to refuse them are taken.
fn in_order() -> Result<()> {
    let mut random = Random(1);
    let mut bench = Bench::new(ROUTER, true)?;
    for count in [1, 2, 64, 65, 255] {
        let rules: Vec<_> = (0..count).map(|id| random.rule(id)).collect();
        bench.dataplane.maps().set_policy(&rules)?;
        for _ in 0..400 {
            let (source, group, host) = (random.source(), random.group(), random.below(3) as u8);
            let mut frame = Packet::report(&source.to_string(), &group.to_string()).frame();
            frame[11] = host;
            let mac = [2, 0, 0, 0, 0, host];
            let within = |address: Ipv6Addr, prefix: [u8; 16], mask: [u8; 16]| {
                address.to_bits() & u128::from_be_bytes(mask) == u128::from_be_bytes(prefix)
            };
            // Where no interface is given, frames come by the first.
            let first = rules.iter().find(|rule| {
                within(source, rule.source, rule.source_mask)
                    && within(group, rule.anycast, rule.anycast_mask)
                    && (rule.match_mac == 0 || rule.mac == mac)
                    && (rule.ifindex == 0 || rule.ifindex == 1)
            });
            let number = first.map_or(DEFAULT_DENY, |rule| rule.id);
            let verdict = match first.map(|rule| rule.action) {
                Some(policy::ALLOW) => Verdict::Pass,
                _ => Verdict::Drop,
            };
            for _ in 0..2 {
                let before = bench.dataplane.maps().policy_hits()?;
                ensure!(bench.run(&frame)?.0 == verdict, "{source} {group} {mac:?}");
                let after = bench.dataplane.maps().policy_hits()?;
                let hit: Vec<_> = (0..).zip(after.iter().zip(&before)).collect();
                let hit: Vec<u32> = hit.iter().filter(|h| h.1.0 != h.1.1).map(|h| h.0).collect();
                ensure!(
                    hit == [number],
                    "{source} {group} {mac:?}: rules {hit:?}, not {number}"
                );
            }
        }
        bench.events()?;
    }
    Ok(())
}

/// The generator of the bench's anchors.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) % limit
    }

    fn source(&mut self) -> Ipv6Addr {
        let (a, b) = (self.below(3) as u16, self.below(12) as u16);
        Ipv6Addr::new(0xfe80, a, 0, 0, 0, 0, a, b)
    }

    fn group(&mut self) -> Ipv6Addr {
        let (a, b) = (self.below(3) as u16, self.below(12) as u16);
        Ipv6Addr::new(0x2001, 0xdb8, a, 0, 0, 0, 0, b)
    }

    fn rule(&mut self, id: u32) -> PolicyRule {
        let lengths = [0, 10, 30, 48, 64, 124, 126, 128];
        let length = |random: &mut Self| lengths[random.below(8) as usize];
        let (source, group) = (self.source(), self.group());
        let (of_source, of_group) = (length(self), length(self));
        let base = |address: Ipv6Addr, length: u8| {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).to_string()
        };
        let action = if self.below(2) == 0 {
            policy::ALLOW
        } else {
            policy::DENY
        };
        PolicyRule {
            id,
            match_mac: u8::from(self.below(2) == 0),
            mac: [2, 0, 0, 0, 0, self.below(3) as u8],
            ifindex: self.below(3),
            ..rule(
                (&base(source, of_source), of_source),
                (&base(group, of_group), of_group),
                action,
            )
        }
    }
}

/// One host that both policies allow, each by another rule, and one that neither does.
fn replaced() -> Result<()> {
    let mut bench = Bench::new(ROUTER, true)?;
    let fill = |id| numbered(id, rule(("fe80::f:0", 112), ("::", 0), policy::DENY));
    let policies = [7, 200].map(|place: u32| {
        let mut rules: Vec<_> = (0..=place).map(fill).collect();
        rules[place as usize] = numbered(place, rule((HOST, 128), ("::", 0), policy::ALLOW));
        rules
    });
    bench.dataplane.maps().set_policy(&policies[0])?;
    let program = bench.dataplane.xdp(ROUTER)?.fd()?.try_clone()?;
    let ended = AtomicBool::new(false);
    let go_on = || -> Result<()> {
        let report = |source| Packet::report(source, GROUP).frame();
        let (welcome, stranger) = (report(HOST), report("fe80::99"));
        while !ended.load(Ordering::Relaxed) {
            for (frame, wanted) in [(&welcome, 2), (&stranger, 1)] {
                let action = run(program.as_fd(), frame)?;
                ensure!(action == wanted, "XDP action {action}");
            }
        }
        Ok(())
    };
    let (ran, set) = thread::scope(|scope| {
        let running = scope.spawn(go_on);
        let set = (0..2000).try_for_each(|round| -> Result<()> {
            bench.dataplane.maps().set_policy(&policies[round % 2])?;
            bench.events()?;
            Ok(())
        });
        ended.store(true, Ordering::Relaxed);
        (running.join(), set)
    });
    set?;
    ran.ok().context("the thread ended early")??;
    let counters = bench.counters()?;
    ensure!(counters["mld_report_allowed"] > 100, "{counters:?}");
    let found: Vec<_> = hits(&mut bench)?.iter().map(|hit| hit.0).collect();
    ensure!(found == [7, 200, DEFAULT_DENY as usize], "rules {found:?}");
    Ok(())
}

/// Runs the program once and gives the XDP action: beside whoever writes its maps.
fn run(program: BorrowedFd<'_>, frame: &[u8]) -> Result<u32> {
    /// The beginning of `union bpf_attr` for this command.
    #[repr(C, align(8))]
    struct Attributes {
        program: i32,
        action: u32,
        length: u32,
        length_out: u32,
        frame: u64,
        frame_out: u64,
        repeat: u32,
        duration: u32,
    }
    const BPF_PROG_TEST_RUN: libc::c_int = 10;
    let mut attributes = Attributes {
        program: program.as_raw_fd(),
        action: 0,
        length: u32::try_from(frame.len())?,
        length_out: 0,
        frame: frame.as_ptr() as u64,
        frame_out: 0,
        repeat: 1,
        duration: 0,
    };
    // SAFETY: the kernel reads the frame and writes to the attributes, as long as they are said to be.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            &raw mut attributes,
            size_of::<Attributes>(),
        )
    };
    nix::errno::Errno::result(result)?;
    Ok(attributes.action)
}

fn new_senders() -> Result<()> {
    let limits = Limits {
        new_senders: TWO,
        ..Limits::NONE
    };
    let mut bench = Bench::with_limits(ROUTER, true, limits)?;
    bench.dataplane.maps().set_policy(&[
        numbered(0, rule(("fe80::1:0", 112), ("::", 0), policy::ALLOW)),
        numbered(1, rule(("fe80::", 64), ("2001:db8:a::", 48), policy::ALLOW)),
    ])?;
    let report = |source: &str| Packet::report(source, GROUP);
    let accepted = |name, source| allowed(name, report(source), &[("mld_report_allowed", 1)]);
    let beyond = |name, source| refused(name, report(source), &[("mld_new_sender_limited", 1)]);
    let mut other_mac = report("fe80::11").frame();
    other_mac[11] = CLIENT_MAC[5] + 1;
    bench.table(&[
        accepted("the first", "fe80::11"),
        accepted("the second", "fe80::12"),
        beyond("one more", "fe80::13"),
        Row {
            frame: other_mac,
            ..beyond("a MAC that was not seen with this source", "fe80::11")
        },
        accepted("one that is known", "fe80::11"),
        accepted("one that another rule allows", "fe80::1:1"),
    ])?;
    // A flood of senders that the rule would allow.
    for number in 0x2000..0x3000_u16 {
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number).to_string();
        bench.run(&report(&source).frame())?;
    }
    bench.events()?;
    ensure!(bench.counters()?["mld_new_sender_limited"] == 2 + 0x1000);
    let senders = bench.dataplane.maps().senders();
    ensure!(senders == 3, "{senders} senders");
    bench.table(&[
        accepted("who was known before the flood", "fe80::12"),
        Row {
            events: &[kind::MLD],
            ..accepted("and with another rule", "fe80::1:1")
        },
    ])
}
