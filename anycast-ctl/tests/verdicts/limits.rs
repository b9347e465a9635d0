//! Who may ask for the controller: floods of messages to clients, and of new clients.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anycast_common::abi::{event::kind, maps::BUCKETS_ROW, roles::CORRESPONDENT};
use anycast_ctl::{core::rate::Rate, shell::dataplane::Limits};
use anyhow::{Result, ensure};
use xtask::{kernel_tests::Suite, net::wait};

use crate::{
    correspondent::for_controller,
    harness::{Bench, Row, TWO, Verdict, stay},
    packets::{ACK, Packet, SYN},
};

const A: &str = "2001:db8:1::100";
const B: &str = "2001:db8:a::53";
const C: &str = "2001:db8:20::c1";
const PORTS: (u16, u16) = (40000, 80);
const HOME_TEST_INIT: u8 = 1;
const CARE_OF_TEST_INIT: u8 = 2;
const BINDING_UPDATE: u8 = 5;

/// Where a frame has the type of a Mobility Header that is not behind other headers.
const MH_TYPE: usize = 14 + 40 + 2;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("limits: messages to one client", to_client)
        .test("limits: messages from one /64", from_prefix)
        .test(
            "limits: who sent a packet is not held up by messages to others",
            unsolicited,
        )
        .test("limits: no other client pays for a flooded one", others)
        .test(
            "limits: a flood of Test Inits leaves half of the ring",
            ring,
        )
        .test("limits: tokens grow again", growth)
        .test(
            "limits: who has spent the tokens of a slower rate waits for those of the quicker one",
            quicker,
        )
}

/// For a machine that is busy with other things.
const GROWTH: Duration = Duration::from_secs(60);

fn bench(limits: Limits) -> Result<Bench> {
    let mut bench = Bench::with_limits(CORRESPONDENT, true, limits)?;
    let maps = bench.dataplane.maps();
    maps.set_client_prefixes(&["2001:db8:1::/48".parse()?])?;
    maps.set_anycast_prefixes(&["2001:db8:a::/48".parse()?])?;
    Ok(bench)
}

pub(super) fn message(source: &str, client: &str, mh_type: u8) -> Packet {
    Packet::mobility(source, client, mh_type)
}

pub(super) fn punted(name: &'static str, packet: &Packet) -> Row {
    let frame = packet.frame();
    let mh_type = frame[MH_TYPE];
    Row {
        name,
        verdict: Verdict::Drop,
        becomes: None,
        counts: for_controller(mh_type),
        events: &[kind::MOBILITY],
        frame,
    }
}

pub(super) fn refused(
    name: &'static str,
    packet: &Packet,
    counts: &'static [(&'static str, u64)],
) -> Row {
    Row {
        counts,
        events: &[],
        ..punted(name, packet)
    }
}

/// A packet of the client to the anycast address, which no binding steers.
fn sends(bench: &mut Bench, client: &str) -> Result<()> {
    bench.run(&Packet::tcp(client, B, PORTS, SYN).frame())?;
    Ok(())
}

/// The client with this number, and a /64 of its own.
fn client(number: u32) -> String {
    let [high, low] = [number >> 16, number & 0xffff].map(|half| u16::try_from(half).unwrap_or(0));
    Ipv6Addr::new(0x2001, 0xdb8, 1, low, 0, 0, high, 7).to_string()
}

fn to_client() -> Result<()> {
    let mut bench = bench(Limits {
        to_client: TWO,
        ..Limits::NONE
    })?;
    let beyond = &[("test_init_client_limited", 1)];
    let update = message(B, A, BINDING_UPDATE);
    sends(&mut bench, A)?;
    bench.table(&[
        refused(
            "a Home Test Init from where nobody may be bound, which costs no token",
            &message("2001:db8:f00::1", A, HOME_TEST_INIT),
            &[("mobility_source_not_allowed", 1)],
        ),
        refused(
            "a Binding Update from there",
            &message("2001:db8:f00::1", A, BINDING_UPDATE),
            &[("mobility_source_not_allowed", 1)],
        ),
        punted("a Home Test Init", &message(B, A, HOME_TEST_INIT)),
        punted("a second", &message(B, A, HOME_TEST_INIT)),
        refused("a third one", &message(B, A, HOME_TEST_INIT), beyond),
        refused("a type that nobody knows", &message(B, A, 99), beyond),
        punted("a Care-of Test Init", &message(C, A, CARE_OF_TEST_INIT)),
        punted("a second", &message(C, A, CARE_OF_TEST_INIT)),
        refused(
            "a third from its /64",
            &message("2001:db8:20::c9", A, CARE_OF_TEST_INIT),
            beyond,
        ),
        punted(
            "one from another /64",
            &message("2001:db8:f00::1", A, CARE_OF_TEST_INIT),
        ),
        punted("another client", &message(B, &client(1), HOME_TEST_INIT)),
        punted("the Binding Update", &update),
        punted("its repetition", &update),
        refused(
            "Binding Updates have their end too",
            &update,
            &[("binding_update_client_limited", 1)],
        ),
    ])
}

fn from_prefix() -> Result<()> {
    let mut bench = bench(Limits {
        from_prefix: TWO,
        ..Limits::NONE
    })?;
    let init = |source: &str, number| message(source, &client(number), CARE_OF_TEST_INIT);
    let update = |source: &str, number| message(source, &client(number), BINDING_UPDATE);
    for number in 1..=4 {
        sends(&mut bench, &client(number))?;
    }
    bench.table(&[
        punted("the first", &init(C, 1)),
        punted("the second", &init("2001:db8:20::c2", 2)),
        refused(
            "the third of a /64, to another client",
            &init("2001:db8:20::c3", 3),
            &[("test_init_prefix_limited", 1)],
        ),
        punted("another /64", &init("2001:db8:21::c1", 3)),
        punted("the first Binding Update", &update(B, 1)),
        punted("the second", &update(B, 2)),
        refused(
            "the third",
            &update(B, 3),
            &[("binding_update_prefix_limited", 1)],
        ),
        punted("to one that sent nothing", &init(C, 9)),
    ])
}

/// The whole buckets: forged messages to anybody share one, and only that.
fn unsolicited() -> Result<()> {
    stay()?;
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
    let cpus = u32::try_from(cpus)?;
    let mut bench = bench(Limits {
        unsolicited: Rate {
            burst: 2 * cpus,
            ..TWO
        },
        solicited: TWO,
        ..Limits::NONE
    })?;
    let init = |number| message(B, &client(number), HOME_TEST_INIT);
    let update = |number| message(B, &client(number), BINDING_UPDATE);
    sends(&mut bench, &client(1))?;
    bench.table(&[
        punted("nobody asked for it", &init(2)),
        punted("nor for this", &init(3)),
        refused(
            "too many of them",
            &init(4),
            &[("test_init_unsolicited_limited", 1)],
        ),
        punted("a client that sent a packet", &init(1)),
        punted("Binding Updates apart", &update(2)),
        punted("one more", &update(3)),
        refused(
            "too many of them, too",
            &update(4),
            &[("binding_update_unsolicited_limited", 1)],
        ),
    ])?;
    // What does not go to an anycast address, or does not come from a client, is no reason.
    let elsewhere = Packet::tcp(&client(5), "2001:db8:b::1", PORTS, ACK);
    let stranger = Packet::tcp("2001:db8:9::1", B, PORTS, ACK);
    bench.run(&elsewhere.frame())?;
    bench.run(&stranger.frame())?;
    bench.table(&[refused(
        "it sent a packet to somebody else",
        &init(5),
        &[("test_init_unsolicited_limited", 1)],
    )])?;
    // A flood of what nobody asked for: any source, any client.
    for number in 1000..6000 {
        let source = Ipv6Addr::from_bits(u128::from(number) << 64 | 0x2001 << 112).to_string();
        bench.run(&message(&source, &client(number), 1 + (number % 2) as u8).frame())?;
    }
    bench.table(&[
        punted("its other test", &message(C, &client(1), CARE_OF_TEST_INIT)),
        refused(
            "more than the controller can bear",
            &init(1),
            &[("test_init_rate_limited", 1)],
        ),
        punted("its Binding Update", &update(1)),
        punted("and again", &update(1)),
        refused(
            "more of them, too",
            &update(1),
            &[("binding_update_rate_limited", 1)],
        ),
    ])
}

/// A hundred clients are flooded until nothing comes through to them. Five thousand others get what
/// they should: a place in one row may be shared, hardly ever that in both.
fn others() -> Result<()> {
    let mut bench = bench(Limits {
        to_client: TWO,
        ..Limits::NONE
    })?;
    for number in 0..100 {
        let frame = message(B, &client(number), HOME_TEST_INIT).frame();
        for _ in 0..5 {
            bench.run(&frame)?;
        }
    }
    bench.events()?;
    ensure!(bench.counters()?["test_init_client_limited"] == 300);
    for number in 1000..6000 {
        bench.run(&message(B, &client(number), HOME_TEST_INIT).frame())?;
    }
    let punted = bench.events()?.len();
    ensure!(punted >= 4999, "{punted} of 5000: {:?}", bench.counters()?);
    // By now all of the /64 share each bucket with somebody who has no token left. There is no limit for it.
    for number in 10_000..10_000 + 3 * BUCKETS_ROW {
        bench.run(&message(B, &client(number), HOME_TEST_INIT).frame())?;
        if number % 4000 == 0 {
            bench.events()?;
        }
    }
    let limited = bench.counters()?["test_init_prefix_limited"];
    ensure!(limited == 0, "{limited} messages of the /64 were refused");
    Ok(())
}

fn ring() -> Result<()> {
    let mut bench = bench(Limits::NONE)?;
    let init = message(B, A, HOME_TEST_INIT).frame();
    while bench.counters()?["test_init_ring_busy"] == 0 {
        ensure!(bench.counters()?["punt_ring_full"] == 0, "the ring is full");
        bench.run(&init)?;
    }
    let before = bench.counters()?["mobility_punted"];
    let update = message(B, A, BINDING_UPDATE).frame();
    for _ in 0..1000 {
        bench.run(&update)?;
        bench.run(&init)?;
    }
    let counters = bench.counters()?;
    let updates = counters["mobility_punted"] - before;
    ensure!(updates == 1000, "{updates} Binding Updates");
    ensure!(counters["test_init_ring_busy"] == 1001, "{counters:?}");
    bench.events()?;
    bench.table(&[punted(
        "when the controller has read on",
        &message(B, A, HOME_TEST_INIT),
    )])
}

/// Control: the same rate given once more.
fn quicker() -> Result<()> {
    let slow = Limits {
        to_client: TWO,
        from_prefix: TWO,
        ..Limits::NONE
    };
    let quick = |rate: Rate| Rate {
        every: rate.every / 60,
        ..rate
    };
    let mut bench = bench(slow)?;
    let init = |name| punted(name, &message(B, A, HOME_TEST_INIT));
    let refused = |name, counts| refused(name, &message(B, A, HOME_TEST_INIT), counts);
    bench.table(&[init("a Home Test Init"), init("a second")])?;
    bench.dataplane.maps().set_limits(&slow)?;
    bench.table(&[refused("a third", &[("test_init_client_limited", 1)])])?;
    bench.dataplane.maps().set_limits(&Limits {
        to_client: quick(slow.to_client),
        from_prefix: quick(slow.from_prefix),
        ..slow
    })?;
    bench.table(&[
        init("by the quicker rates"),
        init("and a second"),
        refused("and no more", &[("test_init_client_limited", 1)]),
    ])
}

fn growth() -> Result<()> {
    const ROUNDS: u64 = 200;
    let rate = Rate::per_second(5, 1);
    let mut bench = bench(Limits {
        to_client: rate,
        ..Limits::NONE
    })?;
    let init = message(B, A, HOME_TEST_INIT).frame();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        bench.run(&init)?;
    }
    let passed = bench.counters()?["mobility_punted"];
    let few = |passed: u64, took: Duration| -> Result<()> {
        // However slow this machine is, no more tokens grow in a time. The clock of the programs is late by a timer
        // tick at most, which may be another token.
        let most = 2 + took.as_nanos() / rate.every.as_nanos();
        ensure!(
            u128::from(passed) <= most,
            "{passed} passed in {took:?}, of {most}"
        );
        Ok(())
    };
    few(passed, start.elapsed())?;
    let refused = bench.counters()?["test_init_client_limited"];
    ensure!(
        passed > 0 && refused > 0 && passed + refused == ROUNDS,
        "{passed} passed, {refused} refused"
    );
    wait::poll(GROWTH, rate.every / 4, "a token grows", || {
        bench.run(&init)?;
        Ok((bench.counters()?["mobility_punted"] > passed).then_some(()))
    })?;
    few(bench.counters()?["mobility_punted"], start.elapsed())
}
