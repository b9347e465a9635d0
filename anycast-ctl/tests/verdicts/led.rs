//! Flows of which a member's packet is the first that its correspondent sees, and those that such a packet binds.

use anycast_common::abi::maps::state;
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{
        A, B, BACK, C, C2, EARLIER, FOLLOWS, LATER, PINS, PORTS, bench, bind, from, leads, row, to,
    },
    packets::{ACK, Packet, RST, SYN, address},
};

pub fn tests(suite: Suite) -> Suite {
    suite.test(
        "correspondent: a member leads its flows while its binding lives",
        leading,
    )
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
        row("a SYN of the member's own", &answer(PORTS, SYN), &[]),
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
