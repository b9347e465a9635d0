//! Flows on trial at a correspondent: bound, and not answered yet.

use std::{collections::BTreeMap, time::Duration};

use anycast_common::abi::{
    counters::Counter,
    event::{Header, TrialFailed, kind},
    maps::{Flow, FlowKey, state, trial, unattended},
};
use anycast_ctl::{core::Time, shell::clock};
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;
use zerocopy::FromBytes as _;

use crate::{
    correspondent::{
        A, B, BACK, C, FOLLOWS, LATER, PINS, PORTS, bench, bind, from, leads, row, to,
    },
    harness::{self, Bench, Row, Verdict},
    packets::{ACK, Packet, RST, SYN, address},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "trial: a flow that nobody answers is open again",
            unanswered,
        )
        .test("trial: its time begins with what is to be answered", begins)
        .test("trial: what ends it", ends)
        .test("trial: a reset of a led flow opens it again", reset)
        .test(
            "trial: so does a reset from B, until C has answered",
            reset_by_anycast,
        )
        .test("trial: few failures of a pair are told", told)
}

/// The only flow that was noted, open or bound.
fn flow(bench: &mut Bench) -> Result<(FlowKey, Flow)> {
    let flows = bench.dataplane.maps().flow_reader().all_flows();
    match flows[..] {
        [flow] => Ok(flow),
        _ => anyhow::bail!("flows: {flows:?}"),
    }
}

pub(super) fn ago(time: Duration) -> u64 {
    clock::now().before(time).as_nanos()
}

/// The only flow changes so.
fn set(bench: &mut Bench, change: impl FnOnce(Flow) -> Flow) -> Result<()> {
    let (key, flow) = flow(bench)?;
    bench.dataplane.maps().set_flow(&key, &change(flow));
    Ok(())
}

const PATIENCE: Duration = Duration::from_nanos(trial::PATIENCE);
const LATE: Duration = Duration::from_nanos(trial::LATE);
/// The slowest timer of kernels, which the programs' clock may be late by.
const TICK: Duration = Duration::from_millis(10);
/// For what runs between two looks at the clock.
const MARGIN: Duration = Duration::from_millis(700);

const UNANSWERED: &[(&str, u64)] = &[("flow_trial_unanswered", 1)];
const FAILED: &[u8] = &[kind::TRIAL_FAILED];

/// A packet of a client whose flow's trial fails with it.
fn fails(name: &'static str, packet: &Packet) -> Row {
    Row {
        events: FAILED,
        ..row(name, packet, UNANSWERED)
    }
}

fn unanswered() -> Result<()> {
    let tcp = Packet::tcp(A, B, PORTS, ACK);
    let udp = |port| Packet::udp(A, B, (port, 53), b"query");
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    for (first, next) in [
        (Packet::tcp(A, B, PORTS, SYN), tcp),
        (udp(40000), udp(40000)),
    ] {
        bench.table(&[to(C, "the first packet", &first, PINS)])?;
        let tried = |age| {
            move |flow| Flow {
                tried_at: ago(age),
                last_out: ago(age),
                ..flow
            }
        };
        set(&mut bench, tried(PATIENCE - MARGIN))?;
        bench.table(&[to(C, "the client is patient", &next, FOLLOWS)])?;
        let answered = |flow| Flow {
            answered: 1,
            ..tried(PATIENCE * 2)(flow)
        };
        set(&mut bench, answered)?;
        bench.table(&[to(C, "it was answered", &next, FOLLOWS)])?;
        let over = |flow| Flow {
            answered: 0,
            ..tried(PATIENCE + TICK)(flow)
        };
        set(&mut bench, over)?;
        let before = bench.counters()?;
        bench.run(&next.frame())?;
        let (key, open) = flow(&mut bench)?;
        ensure!(
            open.state == state::OPEN && open.care_of == [0; 16],
            "{open:?}"
        );
        tells(&mut bench, &before, Counter::FlowTrialUnanswered, &key)?;
        bench.table(&[row("it stays open", &next, &[])])?;
        ensure!(flow(&mut bench)?.1.state == state::OPEN);
        bench.dataplane.maps().remove_flow(&key)?;
    }
    Ok(())
}

/// The one event says which flow was bound to C, and why it is so no longer.
fn tells(
    bench: &mut Bench,
    before: &BTreeMap<&str, u64>,
    why: Counter,
    key: &FlowKey,
) -> Result<()> {
    let counted = bench.counters()?[why.name()] - before[why.name()];
    ensure!(counted == 1, "{counted}");
    let events = bench.events()?;
    let [(header, record)] = &events[..] else {
        anyhow::bail!("events: {events:?}");
    };
    let Header { kind, reason, .. } = *header;
    ensure!(
        (kind, reason) == (kind::TRIAL_FAILED, why as u8),
        "{header:?}"
    );
    let failed = TrialFailed::read_from_bytes(record)
        .ok()
        .context("the record")?;
    ensure!(
        failed.flow == *key && failed.care_of == address(C).octets(),
        "{failed:?}"
    );
    Ok(())
}

/// An acknowledgement alone is not answered, and what was given up long ago is not waited for.
fn begins() -> Result<()> {
    let mut bench = bench()?;
    let out = Packet::tcp(A, B, PORTS, ACK);
    let mere = out.clone().numbered(100, 1, b"");
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        leads("the member leads", &Packet::tcp(C, A, BACK, ACK)),
        to(C, "an acknowledgement by C", &mere, FOLLOWS),
    ])?;
    let (_, led) = flow(&mut bench)?;
    ensure!((led.tried, led.tried_at) == (1, 0), "{led:?}");
    bench.table(&[to(C, "data by C", &out, FOLLOWS)])?;
    let (_, asked) = flow(&mut bench)?;
    ensure!(asked.tried_at != 0, "{asked:?}");
    bench.table(&[to(C, "more of it", &out, FOLLOWS)])?;
    ensure!(flow(&mut bench)?.1.tried_at == asked.tried_at);
    let paused = |last_out| {
        move |flow| Flow {
            tried_at: ago(PATIENCE * 100),
            last_out: ago(last_out),
            ..flow
        }
    };
    let pause = Duration::from_nanos(unattended::PAUSE);
    set(&mut bench, paused(pause + TICK))?;
    bench.table(&[to(C, "after a long silence", &out, FOLLOWS)])?;
    ensure!(Time::from_nanos(flow(&mut bench)?.1.tried_at) + MARGIN * 10 > clock::now());
    set(&mut bench, paused(pause + TICK))?;
    bench.table(&[fails("nothing is asked after the silence", &mere)])?;
    set(&mut bench, |flow| Flow {
        care_of: address(C).octets(),
        state: state::BOUND_FIRST,
        ..paused(pause - MARGIN)(flow)
    })?;
    bench.table(&[fails("after one that is not as long", &out)])?;
    // A datagram asks, whatever is in it.
    let (key, _) = flow(&mut bench)?;
    bench.dataplane.maps().remove_flow(&key)?;
    bench.table(&[
        leads("the member leads", &Packet::udp(C, A, BACK, b"answer")),
        to(
            C,
            "a datagram by C",
            &Packet::udp(A, B, PORTS, b""),
            FOLLOWS,
        ),
    ])?;
    ensure!(flow(&mut bench)?.1.tried_at != 0);
    Ok(())
}

/// The numbers of the client's data by C go over the end of the sequence space.
fn ends() -> Result<()> {
    const FIRST: u32 = 0xffff_fff8;
    let out = Packet::tcp(A, B, PORTS, ACK).numbered(FIRST, 1, &[0; 23]);
    let answer =
        |flags, acknowledged| Packet::tcp(C, A, BACK, flags).numbered(1, acknowledged, b"");
    let next = FIRST.wrapping_add(23);
    // Before the client sent by C, it may have sent more by B.
    let beyond = next.wrapping_add(trial::AHEAD + 1);
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    for (name, flags, acknowledged, ended) in [
        ("what was sent before it", ACK, FIRST.wrapping_sub(1), false),
        ("what was not sent yet", ACK, beyond, false),
        ("without ACK", 0, next, false),
        ("nothing of it", ACK, FIRST, true),
        ("a part", ACK, FIRST.wrapping_add(9), true),
        ("all", ACK, next, true),
    ] {
        // It proves nothing before the client has sent by C.
        bench.table(&[leads(name, &answer(ACK, next))])?;
        ensure!(flow(&mut bench)?.1.answered == 0, "{name}");
        bench.table(&[to(C, name, &out, FOLLOWS)])?;
        ensure!(flow(&mut bench)?.1.answered == 0, "{name}");
        bench.table(&[from(name, &answer(flags, acknowledged))])?;
        let (key, noted) = flow(&mut bench)?;
        ensure!((noted.answered != 0) == ended, "{name}: {noted:?}");
        bench.dataplane.maps().remove_flow(&key)?;
    }
    // Of what has no numbers, any packet.
    let datagram = Packet::udp(C, A, BACK, b"answer");
    bench.table(&[leads("a datagram of the member", &datagram)])?;
    bench.table(&[from("one more", &datagram)])?;
    ensure!(flow(&mut bench)?.1.answered == 0);
    bench.table(&[
        to(C, "the client's", &Packet::udp(A, B, PORTS, b"q"), FOLLOWS),
        from("and its answer", &datagram),
    ])?;
    ensure!(flow(&mut bench)?.1.answered == 1);
    Ok(())
}

/// A member's programs let such a reset leave from B. As long as C has answered nothing, it says no more than one of C.
fn reset_by_anycast() -> Result<()> {
    let out = Packet::tcp(A, B, PORTS, ACK);
    let answer = |flags| Packet::tcp(C, A, BACK, flags).numbered(1, 5, b"");
    let bare = Packet::tcp(B, A, BACK, RST).numbered(5, 0, b"");
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        row("of a flow that nobody knows", &bare, &[]),
        leads("what may be forged leads", &answer(ACK)),
        to(C, "the client follows", &out, FOLLOWS),
    ])?;
    let before = bench.counters()?;
    let (verdict, frame) = bench.run(&bare.frame())?;
    ensure!(
        verdict == Verdict::Drop && frame == bare.frame(),
        "{verdict:?}"
    );
    let (key, opened) = flow(&mut bench)?;
    ensure!(opened.state == state::OPEN, "{opened:?}");
    tells(&mut bench, &before, Counter::FlowTrialReset, &key)?;
    // The segments behind the one that was reset were on their way to C.
    let held = |name| Row {
        verdict: Verdict::Drop,
        ..row(name, &bare, &[("flow_reset_held", 1)])
    };
    let told = Packet::tcp(B, A, BACK, RST | ACK).numbered(5, 0, b"");
    bench.table(&[
        held("so is the reset of the next segment"),
        row("the client goes to B", &out, &[]),
        held("and the reset of one more"),
        row("who acknowledges knows the connection", &told, &[]),
    ])?;
    let since = |time| {
        move |flow| Flow {
            last_out: ago(time),
            ..flow
        }
    };
    set(&mut bench, since(LATE - MARGIN))?;
    bench.table(&[held("for as long as they may be on their way")])?;
    set(&mut bench, since(LATE + TICK))?;
    bench.table(&[row("then the client is told by B", &bare, &[])])?;
    // Nothing of it went by C.
    set(&mut bench, |flow| Flow {
        last_out: ago(MARGIN),
        tried: 0,
        ..flow
    })?;
    bench.table(&[row("so it is of a flow that was never tried", &bare, &[])])?;
    // What C has answered is its own.
    bench.table(&[
        leads("it leads again", &answer(ACK)),
        to(
            C,
            "the client's data",
            &out.clone().numbered(1, 1, b"data"),
            FOLLOWS,
        ),
        from("are acknowledged", &answer(ACK)),
        row("the member's reset is the client's", &bare, &[]),
    ])
}

/// Without its ACK bit a reset says that C does not know the connection.
fn reset() -> Result<()> {
    let out = Packet::tcp(A, B, PORTS, ACK);
    let answer = |flags| Packet::tcp(C, A, BACK, flags).numbered(1, 5, b"");
    let bare = answer(RST);
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        leads("the member leads", &answer(ACK)),
        to(C, "the client follows", &out, FOLLOWS),
    ])?;
    let before = bench.counters()?;
    let (verdict, frame) = bench.run(&bare.frame())?;
    ensure!(
        verdict == Verdict::Drop && frame == bare.frame(),
        "{verdict:?}"
    );
    let (key, opened) = flow(&mut bench)?;
    ensure!(opened.state == state::OPEN, "{opened:?}");
    tells(&mut bench, &before, Counter::FlowTrialReset, &key)?;
    bench.table(&[
        row("the client goes to B", &out, &[]),
        row("a reset of an open flow is not ours", &bare, &[]),
        leads("the member may try again", &answer(ACK)),
        to(C, "and the client follows", &out, FOLLOWS),
        from("a reset that acknowledges ends it", &answer(RST | ACK)),
    ])?;
    ensure!(flow(&mut bench)?.1.state == state::BOUND_LED);

    bench.dataplane.maps().remove_flow(&key)?;
    bench.table(&[
        leads("a flow whose trial is over", &answer(ACK)),
        to(
            C,
            "the client's",
            &out.clone().numbered(1, 1, b"data"),
            FOLLOWS,
        ),
        from("its answer", &answer(ACK)),
        Row {
            verdict: Verdict::Drop,
            ..row("is on trial again", &bare, &[("flow_reset_held", 1)])
        },
    ])
}

/// Of a client and a care-of address, a full bucket and one in a second; another pair has its own.
fn told() -> Result<()> {
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    let other = "2001:db8:1::101";
    harness::bind(&mut bench, (other, B), C, LATER)?;
    for (client, expected) in [(A, 5), (other, 5)] {
        let started = clock::now();
        for port in 1..=40 {
            let ports = (port, 80);
            bench.run(&Packet::tcp(C, client, (80, port), ACK).frame())?;
            bench.run(&Packet::tcp(client, B, ports, ACK).frame())?;
            bench.run(&Packet::tcp(C, client, (80, port), RST).frame())?;
        }
        let told = bench.events()?.len();
        let more = (clock::now().since(started) + TICK).as_secs();
        let most = expected + usize::try_from(more)?;
        ensure!(
            (expected..=most).contains(&told),
            "{told} of {expected} to {most} events"
        );
    }
    let counters = bench.counters()?;
    ensure!(counters["flow_trial_reset"] == 80, "{counters:?}");
    Ok(())
}
