//! ICMPv6 errors that say that a care-of address cannot be reached, and what the controller hears of them.

use std::time::{Duration, Instant};

use anycast_common::abi::event::{UNREACHABLE_EVERY, kind};
use anycast_ctl::core::Time;
use anyhow::{Result, ensure};
use xtask::{kernel_tests::Suite, net::wait};

use crate::{
    harness::bind,
    icmp_error::{
        A, ADDRESS, B, C, HOP, PORT, PORTS, PROHIBITED, TRANSLATED, UNREACHABLE, coded,
        correspondent, dropped, error, flows, marked, row,
    },
    packets::{ACK, Packet, SYN},
};

/// The slowest timer of kernels.
const TICK: Duration = Duration::from_millis(10);
/// For a machine that is busy with other things.
const AGAIN: Duration = Duration::from_secs(60);

pub fn tests(suite: Suite) -> Suite {
    suite.test(
        "errors: a care-of address that cannot be reached is told once for all its flows",
        unreachable,
    )
}

/// Codes 0, 3 and 6 tell of C, the others of one flow or one sender.
fn unreachable() -> Result<()> {
    const TOLD: &[u8] = &[kind::CARE_OF_UNREACHABLE];
    let mut bench = correspondent()?;
    let seen = flows(A, C);
    for code in [PROHIBITED, 2, PORT, 5, 7] {
        let says = |packet, from: &Packet| coded(code, error(HOP, packet, UNREACHABLE, from));
        let (before, after) = (says(A, &seen[0]), says(A, &flows(A, B)[0]));
        bench.table(&[row("of the flow", &before, &after, TRANSLATED)])?;
    }
    ensure!(marked(&mut bench) == 0);
    let says = |code, packet| coded(code, error(HOP, A, UNREACHABLE, packet));
    let started = Instant::now();
    bench.table(&[dropped("the first", &says(ADDRESS, &seen[0]), TOLD)])?;
    ensure!(marked(&mut bench) == 1);
    // No event of its own for each flow, and few for many errors: as many as the time that all takes allows, which is
    // measured, since this machine may be slow. The clock of the programs is late by a timer tick at most.
    for _ in 0..50 {
        for (packet, code) in seen.iter().zip([0, 6, ADDRESS, 0]) {
            bench.run(&says(code, packet).frame())?;
        }
    }
    let took = started.elapsed();
    let told = bench.events()?.len();
    let every = Duration::from_nanos(UNREACHABLE_EVERY);
    let most = (took + TICK).as_nanos() / every.as_nanos();
    ensure!(
        u128::try_from(told)? <= most,
        "{told} events in {took:?}, no more than {most} are due"
    );
    ensure!(marked(&mut bench) == seen.len());
    wait::poll(AGAIN, every / 10, "it is told again", || {
        bench.run(&says(ADDRESS, &seen[0]).frame())?;
        let events = bench.events()?;
        Ok(events
            .iter()
            .any(|(header, _)| header.kind == TOLD[0])
            .then_some(()))
    })?;
    // Another C is told at once, and the record holds the whole error.
    bind(
        &mut bench,
        (A, "2001:db8:a::54"),
        "2001:db8:20::c2",
        Time::from_nanos(u64::MAX / 2),
    )?;
    bench.run(&Packet::tcp(A, "2001:db8:a::54", PORTS, SYN).frame())?;
    let other = says(0, &Packet::tcp(A, "2001:db8:20::c2", PORTS, ACK));
    bench.run(&other.frame())?;
    let events = bench.events()?;
    ensure!(
        matches!(&events[..], [(header, packet)] if header.kind == TOLD[0] && *packet == other.bytes()),
        "{events:?}"
    );
    Ok(())
}
