//! What a member notes of a connection: how far it came, and who has closed it. A drain waits for what is left.

use anycast_common::abi::maps::{closed, stage};
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    harness::Bench,
    member::{A, B, BACK, C, PORTS, bench, row},
    packets::{ACK, FIN, Packet, RST, SYN},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("member: who has closed a connection", closing)
        .test("member: what nobody believes closes no connection", forged)
        .test("member: when a connection is one", established)
}

/// Segments of a connection on which the client counts from 100 and the member from 500.
#[derive(Clone, Copy)]
enum Segment {
    /// From the client by C: flags, sequence number, what it acknowledges.
    In(u8, u32, u32),
    /// The member's answer.
    Out(u8, u32, u32),
}

use Segment::{In, Out};

const OPENING: [Segment; 3] = [In(SYN, 100, 0), Out(SYN | ACK, 500, 101), In(ACK, 101, 501)];
/// Who has closed the connection.
const NOBODY: (bool, bool) = (false, false);
const CLIENT: (bool, bool) = (true, false);
const MEMBER: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

fn send(bench: &mut Bench, segment: Segment) -> Result<()> {
    match segment {
        In(flags, sequence, acknowledged) => {
            let packet = Packet::tcp(A, C, PORTS, flags).numbered(sequence, acknowledged, b"");
            bench.run(&packet.frame())?;
        }
        Out(flags, sequence, acknowledged) => {
            let packet = Packet::tcp(B, A, BACK, flags).numbered(sequence, acknowledged, b"");
            bench.egress(&packet.frame())?;
        }
    }
    Ok(())
}

/// Who has closed the one connection that there is, and its stage.
fn noted(bench: &mut Bench) -> Result<((bool, bool), u8)> {
    let flows = bench.dataplane.maps().flow_reader().member_flows();
    let [(_, flow)] = &flows[..] else {
        anyhow::bail!("flows: {flows:?}");
    };
    let ended = |bits: u8| bits & (closed::ENDED | closed::RESET) != 0;
    Ok((
        (ended(flow.client_closed), ended(flow.member_closed)),
        flow.stage,
    ))
}

/// A segment, and who has closed the connection after it.
type Step = (Segment, (bool, bool));

fn courses(courses: &[(&str, &[Step])]) -> Result<()> {
    for (name, course) in courses {
        let mut bench = bench()?;
        for segment in OPENING {
            send(&mut bench, segment)?;
        }
        ensure!(noted(&mut bench)? == (NOBODY, stage::GOES_ON), "{name}");
        for (step, (segment, expected)) in course.iter().enumerate() {
            send(&mut bench, *segment)?;
            let (by, _) = noted(&mut bench)?;
            ensure!(by == *expected, "{name}, step {step}: {by:?}");
        }
    }
    Ok(())
}

fn closing() -> Result<()> {
    courses(&[
        (
            "the client first",
            &[
                (In(FIN | ACK, 101, 501), NOBODY),
                (Out(ACK, 501, 102), CLIENT),
                (Out(FIN | ACK, 501, 102), BOTH),
                (In(ACK, 102, 502), BOTH),
            ],
        ),
        (
            "the member first",
            &[
                (Out(FIN | ACK, 501, 101), MEMBER),
                (In(FIN | ACK, 101, 502), MEMBER),
                (Out(ACK, 502, 102), BOTH),
            ],
        ),
        (
            "a reset of the client, and a new connection on its ports",
            &[
                (In(RST | ACK, 101, 501), BOTH),
                (In(SYN, 9000, 0), BOTH),
                (Out(SYN | ACK, 70_000, 9001), NOBODY),
                (In(FIN | ACK, 9001, 70_001), NOBODY),
                (Out(ACK, 70_001, 9002), CLIENT),
            ],
        ),
        ("a reset of the member", &[(Out(RST | ACK, 501, 101), BOTH)]),
    ])
}

fn forged() -> Result<()> {
    courses(&[
        (
            "a reset with a made-up sequence number",
            &[(In(RST | ACK, 3_000_000_000, 501), NOBODY)],
        ),
        (
            "one that happens to be near, which the host answers (RFC 5961 section 3.2)",
            &[
                (In(RST | ACK, 2000, 501), BOTH),
                (Out(ACK, 501, 101), NOBODY),
            ],
        ),
        (
            "one that happens to be near, and the client goes on",
            &[
                (In(RST | ACK, 2000, 501), BOTH),
                (In(ACK, 101, 501), NOBODY),
            ],
        ),
        (
            "a FIN that the host does not acknowledge",
            &[
                (In(FIN | ACK, 5000, 501), NOBODY),
                (Out(ACK, 501, 101), NOBODY),
                (Out(ACK, 501, 9000), NOBODY),
                (Out(FIN | ACK, 501, 9000), MEMBER),
            ],
        ),
        (
            "a SYN",
            &[
                (In(SYN, 7000, 0), NOBODY),
                (Out(ACK, 501, 101), NOBODY),
                (In(FIN | ACK, 101, 501), NOBODY),
                (Out(FIN | ACK, 501, 102), BOTH),
            ],
        ),
    ])?;
    let mut bench = bench()?;
    for segment in OPENING {
        send(&mut bench, segment)?;
    }
    let reset = Packet::tcp(A, C, PORTS, RST | ACK).numbered(3_000_000_000, 501, b"");
    let counts = &[("member_reset_doubted", 1), ("member_from_care_of", 1)];
    let becomes = reset
        .clone()
        .with(|p| p.destination = crate::packets::address(B));
    bench.table(&[crate::harness::Row {
        becomes: Some(becomes.frame()),
        ..row("a reset that nobody believes is counted", &reset, counts)
    }])
}

fn established() -> Result<()> {
    let courses: [(&str, &[Segment], u8); 5] = [
        ("a SYN", &[In(SYN, 100, 0)], stage::OPENED),
        (
            "a SYN that is answered",
            &[In(SYN, 100, 0), Out(SYN | ACK, 500, 101)],
            stage::ANSWERED,
        ),
        ("and acknowledged", &OPENING, stage::GOES_ON),
        (
            "an acknowledgement of who did not see the answer",
            &[
                In(SYN, 100, 0),
                Out(SYN | ACK, 500, 101),
                In(ACK, 101, 2_000_000_000),
            ],
            stage::ANSWERED,
        ),
        (
            "one that was under way already",
            &[In(ACK, 101, 501), Out(ACK, 501, 101), In(ACK, 101, 501)],
            stage::GOES_ON,
        ),
    ];
    for (name, course, expected) in courses {
        let mut bench = bench()?;
        for segment in course {
            send(&mut bench, *segment)?;
        }
        let (_, stage) = noted(&mut bench)?;
        ensure!(stage == expected, "{name}: {stage}");
    }
    Ok(())
}
