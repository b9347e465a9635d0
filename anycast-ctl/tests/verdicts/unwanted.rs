//! Port Unreachables and resets of a host that got a packet to which a rule should have been applied: of the client
//! about packets of C, and of C about packets of the client. And what a member makes of errors about its own flows.

use anycast_common::abi::event::kind;
use anycast_ctl::core::{MapAction, Time};
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{
        A, B, BACK, C, EARLIER, FOLLOWS, LATER, PINS, PORTS, bench, bind, from, row, to,
    },
    harness::{Bench, Row, Verdict},
    icmp_error::{HOP, PORT, TOO_BIG, TRANSLATED, UNREACHABLE, coded, error, row as changed},
    member::{self, out, serve},
    packets::{ACK, Packet, RST, SYN, address},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "unwanted: a client gets what C sent itself, so its flow is open again",
            by_client,
        )
        .test("unwanted: of which flows a client's word is taken", whose)
        .test(
            "unwanted: C gets what its member's programs should have",
            by_care_of,
        )
        .test("unwanted: a canary by UDP that the client refuses", canary)
        .test("unwanted: errors about what a member sent itself", own)
}

fn query() -> Packet {
    Packet::udp(A, B, PORTS, b"query")
}

/// The client's host has no socket for this packet of C.
fn refused(packet: &Packet) -> Packet {
    coded(PORT, error(A, C, UNREACHABLE, packet))
}

const ELSEWHERE: &[(&str, u64)] = &[("flow_answered_elsewhere", 1)];

fn elsewhere(name: &'static str, packet: &Packet) -> Row {
    Row {
        events: &[kind::TRIAL_FAILED],
        ..row(name, packet, ELSEWHERE)
    }
}

fn dropped(name: &'static str, packet: &Packet, counts: &'static [(&'static str, u64)]) -> Row {
    Row {
        verdict: Verdict::Drop,
        ..row(name, packet, counts)
    }
}

fn by_client() -> Result<()> {
    let answer = Packet::udp(C, A, BACK, b"answer");
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        to(C, "a flow by the binding", &query(), PINS),
        elsewhere("the client has no socket for C", &refused(&answer)),
        row("the next goes to B", &query(), &[]),
    ])?;
    let (syn, segment) = (Packet::tcp(A, B, PORTS, SYN), Packet::tcp(A, B, PORTS, ACK));
    let reset = Packet::tcp(A, C, PORTS, RST);
    bench.table(&[
        to(C, "a connection", &syn, PINS),
        elsewhere("the client knows none with C", &reset),
        row("its next SYN goes to B", &syn, &[]),
    ])?;
    // What was answered by this way stays for a while.
    let mut bench = self::bench()?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        to(C, "another connection", &syn, PINS),
        from("which is answered", &Packet::tcp(C, A, BACK, SYN | ACK)),
        elsewhere("the client knows none with C", &reset),
        to(C, "but goes on", &segment, FOLLOWS),
        from("with an answer", &Packet::tcp(C, A, BACK, ACK)),
    ])?;
    let flows = bench.dataplane.maps().flow_reader().flows();
    let (_, flow) = flows.first().context("no flow is bound")?;
    ensure!(flow.answered == 1, "{flow:?}");
    Ok(())
}

fn whose() -> Result<()> {
    let canary = Packet::udp(C, A, BACK, b"answer");
    let mut bench = bench()?;
    let says = refused(&canary);
    bench.table(&[row("C is nobody's", &says, &[])])?;
    bind(&mut bench, C, LATER)?;
    let other = coded(PORT, error(HOP, C, UNREACHABLE, &canary));
    let with_ack = Packet::tcp(A, C, PORTS, RST | ACK);
    bench.table(&[
        elsewhere("a canary that was not seen here", &says),
        row("another host says so", &other, &[]),
        row("a reset with ACK", &with_ack, &[]),
        row("another error", &error(A, C, TOO_BIG, &canary), &[]),
    ])?;
    // What C sends is not led any more, so it may have come by this way.
    bind(&mut bench, C, EARLIER)?;
    bench.table(&[row("its time is over", &says, &[])])
}

fn by_care_of() -> Result<()> {
    let seen = Packet::udp(A, C, PORTS, b"query");
    let says = |by| coded(PORT, error(by, A, UNREACHABLE, &seen));
    let answer = Packet::udp(C, A, BACK, b"answer");
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        to(C, "a flow by the binding", &query(), PINS),
        changed(
            "a hop refuses it",
            &says(HOP),
            &coded(PORT, error(HOP, A, UNREACHABLE, &query())),
            TRANSLATED,
        ),
        Row {
            events: &[kind::TRIAL_FAILED],
            ..dropped("C does", &says(C), &[("flow_trial_reset", 1)])
        },
        row("the next goes to B", &query(), &[]),
        row(
            "about which C has nothing to say",
            &says(C),
            &[("icmp_error_no_flow", 1)],
        ),
    ])?;
    let mut bench = self::bench()?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        to(C, "a flow", &query(), PINS),
        from("that C answers", &answer),
        dropped("and refuses then", &says(C), &[("flow_reset_held", 1)]),
        to(C, "stays for a while", &query(), FOLLOWS),
    ])
}

/// A member that has sent one packet of a client's flow from C.
fn led() -> Result<Bench> {
    let mut bench = member::bench()?;
    serve(&mut bench, true)?;
    bench.run(&Packet::udp(A, B, (1, 2), b"anything").frame())?;
    bench.dataplane.maps().apply(&MapAction::LeadClient {
        client: address(A),
        anycast: address(B),
        care_of: address(C),
        until: Time::from_nanos(u64::MAX / 2),
    })?;
    let answer = Packet::udp(B, A, BACK, b"answer");
    for _ in 0..2 {
        bench.run(&query().frame())?;
        bench.egress(&answer.frame())?;
    }
    bench.events()?;
    Ok(bench)
}

fn canary() -> Result<()> {
    let answer = Packet::udp(B, A, BACK, b"answer");
    let by = |source| Packet::udp(source, A, BACK, b"answer");
    let mut bench = led()?;
    ensure!(bench.counters()?["member_canary"] == 1);
    let held: &[(&str, u64)] = &[("member_reset_held", 1), ("member_flow_returned", 1)];
    bench.table(&[
        dropped("the client refuses the canary", &refused(&by(C)), held),
        dropped(
            "and says so again",
            &refused(&by(C)),
            &[("member_reset_held", 1)],
        ),
    ])?;
    bench.egress_row(&out("answers leave from B", &answer, false))?;
    // A socket that has gone says so of what it got from B, to B.
    let says = coded(PORT, error(A, B, UNREACHABLE, &by(B)));
    bench.table(&[row("it is believed by B", &says, &[])])
}

fn own() -> Result<()> {
    let mut bench = member::bench()?;
    let sent = Packet::udp(C, A, (5353, 9000), b"of this host itself");
    let own: &[(&str, u64)] = &[("member_own_flow", 1)];
    let too_big = |packet: &Packet| error(HOP, &packet.source.to_string(), TOO_BIG, packet);
    bench.table(&[
        row("it is too big", &too_big(&sent), own),
        row("nobody wants it", &refused(&sent), own),
    ])?;
    let segment = Packet::tcp(C, A, (41000, 80), ACK);
    bench.table(&[row("of TCP", &too_big(&segment), own)])?;
    // The control: the same ports, by a client.
    bench.run(&Packet::udp(A, C, (9000, 5353), b"of a client").frame())?;
    bench.table(&[changed(
        "of a client's flow",
        &too_big(&sent),
        &too_big(&sent.clone().with(|p| p.source = address(B))),
        &[("member_icmp_error", 1)],
    )])
}
