//! How long a correspondent remembers that a flow is open, so that no binding moves it.

use std::time::Duration;

use anycast_common::abi::maps::{Flow, trial};
use anycast_ctl::shell::clock;
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{A, B, C, LATER, PINS, bench, bind, row, to},
    harness::{self, Bench},
    packets::{ACK, Packet, SYN, UDP},
    trial::ago,
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("trial: how long an open flow is remembered", remembered)
        .test(
            "trial: a socket that speaks to several, each from its first datagram on",
            of_each,
        )
}

/// One tick of the programs' clock of flows, and so long may this machine be busy with other things.
const FLOW_TICK: Duration = Duration::from_nanos(1 << 30);

/// One socket, as resolvers and tunnels have it: what is noted of a flow to one address says nothing of another.
fn of_each() -> Result<()> {
    const SECOND: &str = "2001:db8:a::54";
    let mut bench = bench()?;
    let to_each = [B, SECOND].map(|to| Packet::udp(A, to, (40000, 53), b"query"));
    let [first, second] = &to_each;
    let open: &[(&str, u64)] = &[("flow_open", 1)];
    bench.table(&[
        row("to one", first, open),
        row("to another, a moment later", second, open),
    ])?;
    for anycast in [B, SECOND] {
        harness::bind(&mut bench, (A, anycast), C, LATER)?;
    }
    bench.table(&[
        row("that to one goes on", first, &[]),
        row("and so does that to the other", second, &[]),
        to(
            C,
            "while a new one is bound",
            &Packet::udp(A, B, (40001, 53), b"query"),
            PINS,
        ),
    ])
}

/// TCP's after its last SYN, others' after their last packet.
fn remembered() -> Result<()> {
    let mut bench = bench()?;
    let udp = Packet::udp(A, B, (40000, 53), b"query");
    let tcp = |port, flags| Packet::tcp(A, B, (port, 80), flags);
    let open: &[(&str, u64)] = &[("flow_open", 1)];
    bench.table(&[
        row("UDP", &udp, open),
        row("TCP", &tcp(40001, SYN), open),
        row("another", &tcp(40002, SYN), open),
    ])?;
    bind(&mut bench, C, LATER)?;
    let age = |bench: &mut Bench, [udp, tcp]: [u32; 2]| -> Result<()> {
        for (key, flow) in bench.dataplane.maps().flow_reader().all_flows() {
            let ticks = if key.protocol == UDP { udp } else { tcp };
            let aged = Flow {
                last_out: ago(FLOW_TICK * ticks),
                ..flow
            };
            bench.dataplane.maps().set_flow(&key, &aged);
        }
        // Packets of open flows pass for a quarter of a second without a look at the table.
        Ok(bench.dataplane.maps().next_hops_changed()?)
    };
    // What is heard before its time is over goes on, for longer than that. Once more where the machine was busy.
    for attempt in 0.. {
        ensure!(attempt < 20, "this machine is too busy");
        age(&mut bench, [trial::OPEN_OTHER - 2, trial::OPEN_TCP - 2])?;
        let began = clock::now();
        let mut heard = began;
        let mut slow = false;
        while clock::now().since(began) < 4 * FLOW_TICK {
            bench.run(&tcp(40002, ACK).frame())?;
            for packet in [&udp, &tcp(40001, SYN)] {
                bench.run(&packet.frame())?;
            }
            slow |= clock::now().since(heard) > FLOW_TICK;
            heard = clock::now();
        }
        if !slow {
            break;
        }
    }
    bench.table(&[
        row("a datagram of a flow that goes on", &udp, &[]),
        row("the SYN that came again and again", &tcp(40001, SYN), &[]),
        to(
            C,
            "segments without SYN keep nothing",
            &tcp(40002, SYN),
            PINS,
        ),
    ])?;
    age(&mut bench, [trial::OPEN_OTHER + 2, trial::OPEN_TCP + 2])?;
    bench.table(&[
        to(C, "after its last datagram", &udp, PINS),
        to(C, "after its last SYN", &tcp(40001, SYN), PINS),
    ])
}
