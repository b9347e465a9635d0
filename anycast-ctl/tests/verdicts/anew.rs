//! Connections that take the ports of earlier ones, and pins that go on while the controller judges them.

use std::time::Duration;

use anycast_ctl::core::MapAction;
use anyhow::{Context as _, Result, ensure};
use xtask::{kernel_tests::Suite, net::wait};

use crate::{
    correspondent::{
        A, B, BACK, C, C2, EARLIER, FOLLOWS, LATER, PINS, PORTS, bench, bind, from_at, row, to,
    },
    harness::Bench,
    packets::{ACK, FIN, Packet, SYN},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "correspondent: a SYN decides anew what both ends closed or nobody answered",
            restart,
        )
        .test(
            "correspondent: a pin that began anew or was answered is not removed, unless somebody ends it",
            removal,
        )
}

fn restart() -> Result<()> {
    let mut bench = bench()?;
    let syn = Packet::tcp(A, B, PORTS, SYN);
    let anew: &[(&str, u64)] = &[
        ("flow_restarted", 1),
        ("flow_pinned", 1),
        ("correspondent_to_care_of", 1),
        ("forwarded_by_kernel", 1),
    ];
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        to(C, "the first connection", &syn, PINS),
        to(C, "its SYN again", &syn, FOLLOWS),
    ])?;
    bind(&mut bench, C2, LATER)?;
    bench.table(&[
        to(C2, "and when nobody answered and C2 is bound", &syn, anew),
        from_at(C2, "the answer", &Packet::tcp(C2, A, BACK, SYN | ACK)),
    ])?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        to(C2, "its data", &Packet::tcp(A, B, PORTS, ACK), FOLLOWS),
        to(C2, "one forged SYN ends nothing", &syn, FOLLOWS),
        to(C2, "its FIN", &Packet::tcp(A, B, PORTS, FIN | ACK), FOLLOWS),
        to(C2, "a SYN after one FIN", &syn, FOLLOWS),
        from_at(C2, "the other FIN", &Packet::tcp(C2, A, BACK, FIN | ACK)),
        to(C, "the next connection on the same ports", &syn, anew),
    ])?;
    bind(&mut bench, C, EARLIER)?;
    let ends: &[(&str, u64)] = &[("flow_restarted", 1), ("flow_open", 1)];
    bench.table(&[row("and after the binding", &syn, ends)])
}

/// The controller judges what it has read a moment ago.
fn removal() -> Result<()> {
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    let remove = |bench: &mut Bench, (key, flow)| {
        let action = MapAction::RemoveFlow { key, flow };
        bench.dataplane.maps().apply(&action)?;
        anyhow::Ok(bench.dataplane.maps().flow_reader().flows().len())
    };
    bench.run(&Packet::tcp(A, B, PORTS, SYN).frame())?;
    let end = |bench: &mut Bench, (key, flow)| {
        let action = MapAction::EndFlow { key, flow };
        bench.dataplane.maps().apply(&action)?;
        anyhow::Ok(bench.dataplane.maps().flow_reader().flows().len())
    };
    let pins = |bench: &mut Bench| {
        bench
            .dataplane
            .maps()
            .flow_reader()
            .flows()
            .into_iter()
            .next()
    };
    let read = pins(&mut bench).context("no pin")?;
    bench.run(&Packet::tcp(C, A, BACK, ACK).frame())?;
    ensure!(remove(&mut bench, read)? == 1, "it was answered");

    let read = pins(&mut bench).context("no pin")?;
    // The clock of pins has ticks of some milliseconds.
    wait::poll(
        Duration::from_secs(1),
        Duration::from_millis(5),
        "a new pin",
        || {
            bench.run(&Packet::tcp(A, B, PORTS, FIN | ACK).frame())?;
            bench.run(&Packet::tcp(C, A, BACK, FIN | ACK).frame())?;
            bench.run(&Packet::tcp(A, B, PORTS, SYN).frame())?;
            let renewed = pins(&mut bench).context("no pin")?;
            Ok((renewed.1.pinned_at != read.1.pinned_at).then_some(()))
        },
    )?;
    let (key, mut stale) = read;
    stale.last_in = 0;
    ensure!(remove(&mut bench, (key, stale))? == 1, "it began anew");
    let ended = end(&mut bench, (key, stale))?;
    ensure!(ended == 1, "who ends a flow ends no later one");
    let read = pins(&mut bench).context("no pin")?;
    bench.run(&Packet::tcp(A, B, PORTS, ACK).frame())?;
    ensure!(remove(&mut bench, read)? == 0, "the client alone goes on");
    ensure!(remove(&mut bench, read)? == 0, "once more is no error");

    bench.run(&Packet::tcp(A, B, PORTS, SYN).frame())?;
    let read = pins(&mut bench).context("no pin")?;
    bench.run(&Packet::tcp(C, A, BACK, SYN | ACK).frame())?;
    ensure!(remove(&mut bench, read)? == 1, "it is in use");
    let ended = end(&mut bench, read)?;
    ensure!(ended == 0, "who ends a flow ends one that is in use");
    Ok(())
}
