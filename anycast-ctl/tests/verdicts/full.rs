//! The table of pinned flows, when there are more than it has room for.

use anycast_common::abi::{
    flow_table::{SLOTS, sets},
    roles::CORRESPONDENT,
};
use anycast_ctl::shell::dataplane::{Limits, Settings, Sizes};
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{A, B, C, LATER, bind},
    harness::{Bench, Verdict},
    packets::{ACK, Packet, SYN},
};

/// Room for these.
const FLOWS: u32 = 1024;
/// Connections that are open, and packets that would open others.
const OPEN: u16 = 300;
const FLOOD: u16 = 6000;

pub fn tests(suite: Suite) -> Suite {
    suite.test("correspondent: a flood of new flows ends no session", flood)
}

fn flood() -> Result<()> {
    let mut bench = Bench::with(Settings {
        roles: CORRESPONDENT,
        require_router_alert: true,
        limits: Limits::NONE,
        sizes: Sizes {
            flows: FLOWS,
            ..Sizes::default()
        },
    })?;
    bind(&mut bench, C, LATER)?;
    let client = |number: u16, flags| Packet::tcp(A, B, (1024 + number, 80), flags).frame();
    let member = |number: u16| Packet::tcp(C, A, (80, 1024 + number), ACK).frame();
    for number in 0..OPEN {
        bench.run(&client(number, SYN))?;
        bench.run(&member(number))?;
        bench.run(&client(number, ACK))?;
    }
    let before = bench.counters()?;
    ensure!(before["flow_evicted"] == 0, "there was room");
    // The member answers, but nobody is there.
    for number in OPEN..OPEN + FLOOD {
        bench.run(&client(number, SYN))?;
        bench.run(&member(number))?;
    }
    let flooded = bench.counters()?;
    let gain = |name| flooded[name] - before[name];
    ensure!(gain("flow_pinned") == u64::from(FLOOD));
    // All that have no room.
    let slots = u64::from(sets(FLOWS)) * SLOTS as u64;
    let pinned = u64::from(OPEN) + u64::from(FLOOD);
    let evicted = gain("flow_evicted");
    ensure!(evicted >= pinned - slots, "{evicted} gave way");
    let left = bench.dataplane.maps().flow_reader().flows().len() as u64;
    ensure!(left == pinned - evicted, "{left} flows are left");

    for number in 0..OPEN {
        let (verdict, after) = bench.run(&client(number, ACK))?;
        let wanted = Packet::tcp(A, C, (1024 + number, 80), ACK).frame();
        ensure!(verdict == Verdict::Pass && after == wanted, "flow {number}");
        bench.run(&member(number))?;
    }
    let after = bench.counters()?;
    ensure!(
        after["flow_pinned"] == flooded["flow_pinned"],
        "an open connection lost its place"
    );
    Ok(())
}
