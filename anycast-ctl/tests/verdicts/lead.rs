//! The member leads: which of its packets leave from C while a flow comes by B.

use std::time::{Duration, Instant};

use anycast_common::abi::{event::kind, maps::canary};
use anycast_ctl::core::{MapAction, Time};
use anyhow::{Result, bail, ensure};
use xtask::{kernel_tests::Suite, net::wait};

use crate::{
    harness::{Bench, Row, Verdict},
    member::{self, A, B, BACK, C, LONGEST, PORTS, out, rewritten, row, serve},
    packets::{ACK, FIN, Packet, RST, SYN, address},
};

/// A binding that outlives every test.
const BOUND: Time = Time::from_nanos(u64::MAX / 2);
const PACE: Duration = Duration::from_nanos(canary::PACE);
/// So long after a flow came over packets of its client may be late ones, less what the programs' clock may be behind.
const LATE: Duration = Duration::from_millis(90);
/// Something else may run in between.
const TRIES: usize = 10;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("lead: one packet of an established flow leaves from C", tcp)
        .test("lead: one packet of a flow without connections", udp)
        .test("lead: which flows are never led", never)
        .test("lead: a flow comes over", comes_over)
        .test("lead: a client that resets what came from C", reset)
        .test("lead: how many canaries a flow sends", bounded)
        .test("lead: after a binding for which none worked", pause)
}

fn lead(bench: &mut Bench, until: Time) -> Result<()> {
    bench.dataplane.maps().apply(&MapAction::LeadClient {
        client: address(A),
        anycast: address(B),
        care_of: address(C),
        until,
    })?;
    Ok(())
}

/// A member that knows the client, so that its flows are noted.
fn known() -> Result<Bench> {
    let mut bench = member::bench()?;
    serve(&mut bench, true)?;
    let first = Packet::udp(A, B, (1, 2), b"anything");
    bench.table(&[Row {
        events: &[kind::NEW_CLIENT],
        ..row("a client is noted", &first, &[("member_new_client", 1)])
    }])?;
    // What a controller says. Otherwise a client is reported again after a second, which a busy machine may take.
    bench.dataplane.maps().apply(&MapAction::QuietClient {
        client: address(A),
        anycast: address(B),
        until: BOUND,
    })?;
    Ok(bench)
}

fn from_client(flags: u8, sequence: u32, acknowledged: u32) -> Packet {
    Packet::tcp(A, B, PORTS, flags).numbered(sequence, acknowledged, b"")
}

fn answer(flags: u8, sequence: u32, data: &[u8]) -> Packet {
    Packet::tcp(B, A, BACK, flags).numbered(sequence, 101, data)
}

fn led(name: &'static str, packet: &Packet) -> Row {
    Row {
        counts: &[("member_to_care_of", 1), ("member_canary", 1)],
        ..out(name, packet, true)
    }
}

/// The client opens a connection by B.
fn open(bench: &mut Bench) -> Result<()> {
    bench.table(&[row("SYN", &from_client(SYN, 100, 0), &[])])?;
    bench.egress_row(&out("SYN+ACK", &answer(SYN | ACK, 500, b""), false))?;
    bench.table(&[row("ACK", &from_client(ACK, 101, 501), &[])])
}

/// A member that is bound to the client, with a connection by B.
fn bound() -> Result<Bench> {
    let mut bench = known()?;
    lead(&mut bench, BOUND)?;
    open(&mut bench)?;
    Ok(bench)
}

fn tcp() -> Result<()> {
    let mut bench = bound()?;
    for row in [
        out("SYN+ACK once more", &answer(SYN | ACK, 500, b""), false),
        out("what was sent before", &answer(ACK, 500, b"x"), false),
        out("FIN", &answer(FIN | ACK, 501, b""), false),
    ] {
        bench.egress_row(&row)?;
    }
    let mut bench = bound()?;
    bench.merged = 40;
    let merged = out("many packets at once", &answer(ACK, 501, b"abc"), false);
    bench.egress_row(&merged)?;

    let mut bench = bound()?;
    bench.egress_row(&led("data", &answer(ACK, 501, b"abc")))?;
    for row in [
        out("more data", &answer(ACK, 504, b"def"), false),
        out("an acknowledgement", &answer(ACK, 507, b""), false),
        out("what was lost", &answer(ACK, 501, b"abc"), false),
    ] {
        bench.egress_row(&row)?;
    }
    let mut bench = bound()?;
    bench.egress_row(&led("a mere acknowledgement", &answer(ACK, 501, b"")))
}

fn udp() -> Result<()> {
    let mut bench = known()?;
    lead(&mut bench, BOUND)?;
    let query = Packet::udp(A, B, PORTS, b"query");
    let answer = Packet::udp(B, A, BACK, b"answer");
    bench.table(&[row("the first", &query, &[])])?;
    bench.egress_row(&out("its answer", &answer, false))?;
    bench.table(&[row("the second", &query, &[])])?;
    bench.egress_row(&led("its answer", &answer))?;
    bench.egress_row(&out("more of it", &answer, false))
}

fn never() -> Result<()> {
    let data = answer(ACK, 501, b"abc");
    // Half open.
    let mut bench = known()?;
    lead(&mut bench, BOUND)?;
    bench.table(&[row("SYN", &from_client(SYN, 100, 0), &[])])?;
    bench.egress_row(&out("SYN+ACK", &answer(SYN | ACK, 500, b""), false))?;
    let guess = from_client(ACK, 101, 2_000_000_000);
    bench.table(&[row("who did not see it acknowledges", &guess, &[])])?;
    bench.egress_row(&out("half open", &data, false))?;
    // Older than what is known.
    let mut bench = known()?;
    lead(&mut bench, BOUND)?;
    for _ in 0..2 {
        bench.table(&[row("in mid-stream", &from_client(ACK, 101, 501), &[])])?;
        bench.egress_row(&out("its answer", &data, false))?;
    }
    // The last segment of a connection, and the control: the same while one end has not closed it.
    let fin = answer(FIN | ACK, 501, b"");
    let last = |acknowledged| Packet::tcp(B, A, BACK, ACK).numbered(502, acknowledged, b"");
    let mut bench = bound()?;
    bench.egress_row(&out("FIN", &fin, false))?;
    let closes = from_client(FIN | ACK, 101, 502);
    bench.table(&[row("the client's FIN", &closes, &[])])?;
    bench.egress_row(&out("closed by both", &last(102), false))?;
    let mut bench = bound()?;
    bench.egress_row(&out("FIN", &fin, false))?;
    bench.egress_row(&led("closed by one", &last(101)))?;
    // Opened by this host.
    let mut bench = known()?;
    lead(&mut bench, BOUND)?;
    let query = Packet::udp(B, A, (5353, 53), b"query");
    let reply = Packet::udp(A, B, (53, 5353), b"answer");
    for _ in 0..3 {
        bench.egress_row(&out("a query of this host", &query, false))?;
        bench.table(&[row("its answer", &reply, &[])])?;
    }
    // Not bound, or not any more.
    for until in [None, Some(Time::from_nanos(1))] {
        let mut bench = known()?;
        if let Some(until) = until {
            lead(&mut bench, until)?;
        }
        open(&mut bench)?;
        bench.egress_row(&out("without a binding", &data, false))?;
    }
    // A client that is not known takes no room.
    let mut bench = member::bench()?;
    bench.table(&[row("SYN", &from_client(SYN, 100, 0), &[])])?;
    lead(&mut bench, BOUND)?;
    bench.egress_row(&out("SYN+ACK", &answer(SYN | ACK, 500, b""), false))?;
    bench.table(&[row("ACK", &from_client(ACK, 101, 501), &[])])?;
    bench.egress_row(&out("not noted", &data, false))
}

/// Packets by C of a flow that came by B until now.
fn over(name: &'static str) -> Row {
    Row {
        counts: &[("member_from_care_of", 1), ("member_flow_led", 1)],
        ..rewritten(name, &by_care_of(ACK))
    }
}

fn by_care_of(flags: u8) -> Packet {
    Packet::tcp(A, C, PORTS, flags).numbered(101, 504, b"")
}

fn comes_over() -> Result<()> {
    for _ in 0..TRIES {
        if comes_over_in_time()? {
            return Ok(());
        }
    }
    bail!("the machine never ran a few packets in {LATE:?}")
}

/// False: what was to be late was later than that.
fn comes_over_in_time() -> Result<bool> {
    let mut bench = bound()?;
    bench.egress_row(&led("the canary", &answer(ACK, 501, b"abc")))?;
    let began = Instant::now();
    bench.table(&[over("the client's next packet comes by C")])?;
    for row in [
        out(
            "all that follows leaves from C",
            &answer(ACK, 504, b"d"),
            true,
        ),
        out("what was lost, too", &answer(ACK, 501, b"abc"), true),
    ] {
        bench.egress_row(&row)?;
    }
    let late = bench.table(&[
        row("one that was late, by B", &from_client(ACK, 101, 501), &[]),
        rewritten("by C", &by_care_of(ACK)),
    ]);
    if began.elapsed() >= LATE {
        return Ok(false);
    }
    late?;
    bench.egress_row(&out("it stays", &answer(ACK, 505, b"e"), true))?;
    // A gateway that has lost it: when packets by B are no late ones any more.
    let by_anycast = from_client(ACK, 101, 506).frame();
    while bench.counters()?["member_flow_returned"] == 0 {
        bench.run(&by_anycast)?;
        ensure!(
            began.elapsed() < wait::patience(LONGEST),
            "it never goes back"
        );
    }
    ensure!(
        began.elapsed() > PACE / 2,
        "it went back after {:?}",
        began.elapsed()
    );
    bench.egress_row(&out("answers leave from B", &answer(ACK, 506, b"f"), false))?;
    Ok(true)
}

fn reset() -> Result<()> {
    let mut bench = bound()?;
    bench.egress_row(&led("the canary", &answer(ACK, 501, b"abc")))?;
    let reset = Packet::tcp(A, C, PORTS, RST).numbered(101, 0, b"");
    bench.table(&[
        Row {
            verdict: Verdict::Drop,
            ..row(
                "the client knows no C",
                &reset,
                &[("member_reset_held", 1), ("member_flow_returned", 1)],
            )
        },
        row(
            "its connection by B goes on",
            &from_client(ACK, 101, 501),
            &[],
        ),
    ])?;
    let mut sequence = 504;
    no_canary(&mut bench, &mut sequence)
}

/// The flow sends for longer than canaries are apart, and none leaves.
fn no_canary(bench: &mut Bench, sequence: &mut u32) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < 3 * PACE {
        bench.egress_row(&out("by B", &answer(ACK, *sequence, b"x"), false))?;
        *sequence += 1;
    }
    Ok(())
}

/// Sends until a canary has left.
fn next_canary(bench: &mut Bench, sequence: &mut u32) -> Result<()> {
    let began = Instant::now();
    let before = bench.counters()?["member_canary"];
    while bench.counters()?["member_canary"] == before {
        bench.egress(&answer(ACK, *sequence, b"x").frame())?;
        *sequence += 1;
        ensure!(began.elapsed() < wait::patience(LONGEST), "no canary");
    }
    Ok(())
}

fn bounded() -> Result<()> {
    let mut bench = bound()?;
    let mut sequence = 501;
    let began = Instant::now();
    for _ in 0..canary::MOST {
        next_canary(&mut bench, &mut sequence)?;
    }
    // The clock of the programs has ticks of some milliseconds.
    let apart = PACE * u32::from(canary::MOST - 1) - Duration::from_millis(20);
    ensure!(began.elapsed() >= apart, "within {:?}", began.elapsed());
    no_canary(&mut bench, &mut sequence)
}

fn pause() -> Result<()> {
    let renewed = Time::from_nanos(u64::MAX / 4 - (1 << 40));
    // It worked: the next binding leads at once.
    let mut bench = bound()?;
    bench.egress_row(&led("the canary", &answer(ACK, 501, b"abc")))?;
    bench.table(&[over("and it works")])?;
    lead(&mut bench, renewed)?;
    let ports = (PORTS.0 + 1, PORTS.1);
    let second = |flags, sequence, acknowledged| {
        Packet::tcp(A, B, ports, flags).numbered(sequence, acknowledged, b"")
    };
    let back =
        |flags, sequence| Packet::tcp(B, A, (ports.1, ports.0), flags).numbered(sequence, 101, b"");
    bench.table(&[row("another flow", &second(SYN, 100, 0), &[])])?;
    bench.egress_row(&out("SYN+ACK", &back(SYN | ACK, 500), false))?;
    bench.table(&[row("ACK", &second(ACK, 101, 501), &[])])?;
    bench.egress_row(&led("is led", &back(ACK, 501)))?;

    // It did not: there is a pause.
    let mut bench = bound()?;
    bench.egress_row(&led("the canary", &answer(ACK, 501, b"abc")))?;
    lead(&mut bench, renewed)?;
    let mut sequence = 504;
    no_canary(&mut bench, &mut sequence)
}
