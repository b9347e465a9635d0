//! Resets that a host makes by itself, of a connection that it does not know: where a member's programs do not run, it
//! says so of connections that live.

use anycast_common::abi::{
    event::kind,
    maps::{Flow, FlowKey, state, trial},
};
use anycast_ctl::shell::clock;
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{
        A, B, BACK, C, FOLLOWS, LATER, PINS, PORTS, bench, bind, from, leads, row, to,
    },
    harness::{Bench, Row, Verdict},
    member::{self, out},
    packets::{ACK, Packet, RST, SYN},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "disowned: C resets a flow that it had answered, which stays for a while",
            answered,
        )
        .test(
            "disowned: C resets a flow that it never answered, which is open again",
            unanswered,
        )
        .test("disowned: resets that are believed", believed)
        .test(
            "disowned: an answer may be ahead of what the client sent by C",
            ahead,
        )
        .test("disowned: a member says it from B", by_member)
}

fn reset(flags: u8, sequence: u32) -> Packet {
    Packet::tcp(C, A, BACK, flags).numbered(sequence, 2, b"")
}

fn dropped(name: &'static str, packet: &Packet, counts: &'static [(&'static str, u64)]) -> Row {
    Row {
        verdict: Verdict::Drop,
        ..row(name, packet, counts)
    }
}

const HELD: &[(&str, u64)] = &[("flow_reset_held", 1)];
const OPENED: &[(&str, u64)] = &[("flow_trial_reset", 1)];

fn held(name: &'static str, packet: &Packet) -> Row {
    dropped(name, packet, HELD)
}

fn opened(name: &'static str, packet: &Packet) -> Row {
    Row {
        events: &[kind::TRIAL_FAILED],
        ..dropped(name, packet, OPENED)
    }
}

fn the_flow(bench: &mut Bench) -> Result<(FlowKey, Flow)> {
    let flows = bench.dataplane.maps().flow_reader().flows();
    flows.into_iter().next().context("no flow is bound")
}

/// The client has been trying for so long.
fn tried(bench: &mut Bench, nanoseconds: u64) -> Result<()> {
    let (key, flow) = the_flow(bench)?;
    let tried_at = clock::now().as_nanos() - nanoseconds;
    bench
        .dataplane
        .maps()
        .set_flow(&key, &Flow { tried_at, ..flow });
    Ok(())
}

fn answered() -> Result<()> {
    const SECOND: u64 = 1_000_000_000;
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    let data = Packet::tcp(A, B, PORTS, ACK);
    let answer = Packet::tcp(C, A, BACK, ACK);
    bench.table(&[
        to(C, "a flow", &Packet::tcp(A, B, PORTS, SYN), PINS),
        from("its answer", &Packet::tcp(C, A, BACK, SYN | ACK)),
        held("C does not know it", &reset(RST, 2)),
        held("nor another time", &reset(RST, 2)),
        to(C, "the client tries again by C", &data, FOLLOWS),
        from("which answers", &answer),
    ])?;
    // It is on trial no more.
    tried(&mut bench, 60 * SECOND)?;
    bench.table(&[
        to(C, "and the flow goes on", &data, FOLLOWS),
        held("C does not know it again", &reset(RST, 2)),
        held(
            "it says so of a SYN, too",
            &Packet::tcp(C, A, BACK, RST | ACK).numbered(0, 2, b""),
        ),
        to(C, "the client tries by C", &data, FOLLOWS),
    ])?;
    let (_, flow) = the_flow(&mut bench)?;
    ensure!((flow.state, flow.answered) == (state::BOUND_DOUBTED, 0));
    ensure!(
        (flow.client_closed, flow.member_closed) == (0, 0),
        "{flow:?}"
    );
    tried(&mut bench, trial::DOUBT - SECOND)?;
    bench.table(&[to(C, "not for long enough", &data, FOLLOWS)])?;
    // The clock of the programs is a coarse one.
    tried(&mut bench, trial::DOUBT + SECOND)?;
    bench.table(&[
        Row {
            events: &[kind::TRIAL_FAILED],
            ..row("and by B at last", &data, &[("flow_trial_unanswered", 1)])
        },
        row("to its end", &data, &[]),
    ])
}

fn unanswered() -> Result<()> {
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    let syn = Packet::tcp(A, B, PORTS, SYN);
    bench.table(&[
        to(C, "a SYN by the binding", &syn, PINS),
        opened("nobody listens at C", &reset(RST | ACK, 0)),
        row("the next SYN goes to B", &syn, &[]),
    ])?;
    let led = |flags| Packet::tcp(C, A, (80, 40001), flags);
    bench.table(&[
        leads("a canary", &led(ACK)),
        opened("C does not know its flow", &led(RST)),
        row("which goes by B", &Packet::tcp(A, B, (40001, 80), ACK), &[]),
    ])
}

fn believed() -> Result<()> {
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    let ends = |bench: &mut Bench| -> Result<_> {
        let (_, flow) = the_flow(bench)?;
        Ok((flow.client_closed, flow.member_closed))
    };
    let opens = [
        to(C, "a flow", &Packet::tcp(A, B, PORTS, SYN), PINS),
        from("its answer", &Packet::tcp(C, A, BACK, SYN | ACK)),
    ];
    bench.table(&opens)?;
    bench.table(&[from("an application's reset by C", &reset(RST | ACK, 25))])?;
    ensure!(ends(&mut bench)? == (3, 3));
    let goes_on = Packet::tcp(A, B, PORTS, ACK).numbered(25, 25, b"more");
    let and_on = Packet::tcp(C, A, BACK, ACK).numbered(25, 29, b"more");
    bench.table(&[
        to(C, "was none, for the client goes on", &goes_on, FOLLOWS),
        from("and so does C", &and_on),
    ])?;
    ensure!(ends(&mut bench)? == (0, 0));
    // What a member's host makes by itself leaves from B.
    bench.table(&[row(
        "a bare reset by B, of another flow",
        &Packet::tcp(B, A, (80, 40001), RST).numbered(29, 0, b""),
        &[],
    )])?;
    ensure!(ends(&mut bench)? == (0, 0));
    bench.table(&[row(
        "of this flow",
        &Packet::tcp(B, A, BACK, RST).numbered(29, 0, b""),
        &[],
    )])?;
    ensure!(ends(&mut bench)? == (3, 3));
    Ok(())
}

/// The client sent something by B before it sent something again by C.
fn ahead() -> Result<()> {
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    let led = |acknowledged| Packet::tcp(C, A, BACK, ACK).numbered(1, acknowledged, b"data");
    bench.table(&[
        leads("a canary", &led(1000)),
        to(
            C,
            "the client sends something again",
            &Packet::tcp(A, B, PORTS, ACK).numbered(1000, 1, b"lost"),
            FOLLOWS,
        ),
    ])?;
    let end = 1000 + 4 + trial::AHEAD;
    for (acknowledged, answers) in [(999, 0), (end + 1, 0), (end, 1)] {
        bench.table(&[from("C has more than that", &led(acknowledged))])?;
        let (_, flow) = the_flow(&mut bench)?;
        ensure!(flow.answered == answers, "{acknowledged}: {flow:?}");
    }
    Ok(())
}

fn by_member() -> Result<()> {
    let mut bench = member::bench()?;
    let answer = |flags, sequence| Packet::tcp(B, A, BACK, flags).numbered(sequence, 2, b"");
    bench.run(&Packet::tcp(A, C, PORTS, SYN).frame())?;
    for row in [
        out("nobody listens", &answer(RST | ACK, 0), false),
        out("an answer", &answer(SYN | ACK, 1), true),
        out("no socket any more", &answer(RST, 2), false),
        out("an application's reset", &answer(RST | ACK, 2), true),
    ] {
        bench.egress_row(&row)?;
    }
    Ok(())
}
