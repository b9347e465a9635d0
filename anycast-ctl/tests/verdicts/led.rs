//! Flows of which a member's packet is the first that its correspondent sees, and those that such a packet binds.

use anycast_common::abi::maps::{Flow, FlowKey, state};
use anycast_ctl::{core::MapAction, shell::clock};
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;
use zerocopy::FromZeros as _;

use crate::{
    correspondent::{
        A, B, BACK, C, C2, EARLIER, FOLLOWS, LATER, PINS, PORTS, bench, bind, from, leads, row, to,
    },
    harness::{Bench, Row, Verdict},
    packets::{ACK, Packet, RST, SYN, address},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "correspondent: a member leads its flows while its binding lives",
            leading,
        )
        .test(
            "correspondent: a member's own connections stay as they are",
            own,
        )
}

/// What a member opens from C. Control: the same segment without its SYN, and what a client opens on the same ports.
fn own() -> Result<()> {
    let mut bench = bench()?;
    let from_c = |ports: (u16, u16), flags| Packet::tcp(C, A, (ports.1, ports.0), flags);
    let to_b = |ports, flags| Packet::tcp(A, B, ports, flags);
    let early = (40020, 80);
    bench.table(&[row(
        "nobody asks whose a SYN is before the first binding",
        &from_c(early, SYN),
        &[],
    )])?;
    bind(&mut bench, C, LATER)?;
    let held = |name, packet: &Packet| Row {
        verdict: Verdict::Drop,
        ..row(name, packet, &[("flow_reset_held", 1)])
    };
    let adopt = |bench: &mut Bench, key, answered| {
        let flow = Flow {
            care_of: address(C).octets(),
            last_in: clock::now().as_nanos(),
            state: state::BOUND_LED,
            answered,
            ..Flow::new_zeroed()
        };
        bench
            .dataplane
            .maps()
            .apply(&MapAction::AdoptFlow { key, flow })
    };
    let key = FlowKey {
        client: address(A).octets(),
        anycast: address(B).octets(),
        client_port: PORTS.0.to_be_bytes(),
        service_port: PORTS.1.to_be_bytes(),
        protocol: 6,
        reserved: [0; 3],
    };
    bench.table(&[row("its SYN", &from_c(PORTS, SYN), &[("flow_own", 1)])])?;
    // Another gateway has not seen that.
    adopt(&mut bench, key, 0)?;
    bench.table(&[
        row("its SYN again", &from_c(PORTS, SYN), &[]),
        row(
            "the client's answer",
            &Packet::tcp(A, C, PORTS, SYN | ACK),
            &[],
        ),
        row("its segments", &from_c(PORTS, ACK), &[]),
        row("the client's reset", &Packet::tcp(A, C, PORTS, RST), &[]),
        row(
            "a client's segment to B on these ports",
            &to_b(PORTS, ACK),
            &[],
        ),
        row("its reset", &from_c(PORTS, RST), &[]),
        row("a reset to B", &to_b(PORTS, RST), &[]),
        row("its segments still", &from_c(PORTS, ACK), &[]),
        to(
            C,
            "a client opens one to B on these ports",
            &to_b(PORTS, SYN),
            PINS,
        ),
        from("which is the client's", &from_c(PORTS, SYN | ACK)),
        leads("a segment whose SYN nobody saw", &from_c(early, ACK)),
        held("the client knows no such connection", &to_b(early, RST)),
        row("so it stays as it is", &from_c(early, ACK), &[]),
        leads("another", &from_c((40021, 80), ACK)),
        to(
            C,
            "which its client knows",
            &to_b((40021, 80), ACK),
            FOLLOWS,
        ),
        to(
            C,
            "so its reset is the client's",
            &to_b((40021, 80), RST),
            FOLLOWS,
        ),
        leads("another", &from_c((40022, 80), ACK)),
        to(
            C,
            "and a reset with ACK is",
            &to_b((40022, 80), RST | ACK),
            FOLLOWS,
        ),
        row(
            "another of its own",
            &from_c((40023, 80), SYN),
            &[("flow_own", 1)],
        ),
    ])?;
    // Control: what C has answered by another gateway is bound.
    let key = FlowKey {
        client_port: 40023_u16.to_be_bytes(),
        ..key
    };
    adopt(&mut bench, key, 1)?;
    bench.table(&[to(
        C,
        "which is a client's by now",
        &to_b((40023, 80), ACK),
        FOLLOWS,
    )])
}

/// Two members are bound to (A, B): C2 steers, and each leads.
fn leading() -> Result<()> {
    let mut bench = bench()?;
    let answer = |ports: (u16, u16), flags| Packet::tcp(C, A, (ports.1, ports.0), flags);
    let open = Packet::tcp(A, B, (40010, 80), SYN);
    bench.table(&[
        row("a stranger leads nobody", &answer(PORTS, ACK), &[]),
        row(
            "a flow opens before the binding",
            &open,
            &[("flow_open", 1)],
        ),
    ])?;
    bind(&mut bench, C, LATER)?;
    bind(&mut bench, C2, LATER)?;
    bench.table(&[
        row("its reset", &answer(PORTS, RST), &[]),
        row("its reset with ACK", &answer(PORTS, RST | ACK), &[]),
        row("its echo request", &Packet::echo(C, A, false, 9), &[]),
        leads("its answer binds the flow", &answer(PORTS, ACK)),
        from("the next", &answer(PORTS, ACK)),
        to(
            C,
            "the client's goes there, not to C2",
            &Packet::tcp(A, B, PORTS, ACK),
            FOLLOWS,
        ),
        row(
            "which is not C2's any more",
            &Packet::tcp(C2, A, BACK, ACK),
            &[],
        ),
        leads("a SYN|ACK does, too", &answer((40001, 80), SYN | ACK)),
        row(
            "the open flow goes to B",
            &Packet::tcp(A, B, (40010, 80), ACK),
            &[],
        ),
        leads("until its member leads it", &answer((40010, 80), ACK)),
        to(
            C,
            "and to C from then on",
            &Packet::tcp(A, B, (40010, 80), ACK),
            FOLLOWS,
        ),
        leads("UDP does", &Packet::udp(C, A, BACK, b"answer")),
        leads("an echo reply does", &Packet::echo(C, A, true, 9)),
        to(
            C2,
            "a flow that C2 is bound to by its first packet",
            &Packet::tcp(A, B, (40002, 80), SYN),
            PINS,
        ),
        row("is not led by C", &answer((40002, 80), ACK), &[]),
    ])?;
    let flows = bench.dataplane.maps().flow_reader().flows();
    let led = flows
        .iter()
        .filter(|(_, flow)| flow.state == state::BOUND_LED);
    ensure!(led.clone().count() == 5);
    ensure!(
        led.into_iter()
            .all(|(_, flow)| flow.care_of == address(C).octets())
    );
    // What is bound stays so when the time of the triple is over.
    bind(&mut bench, C, EARLIER)?;
    bench.table(&[
        from("a flow that is bound", &answer(PORTS, ACK)),
        row("another is led no more", &answer((40003, 80), ACK), &[]),
    ])
}
