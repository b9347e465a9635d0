//! Which flows a correspondent finds when it asks for those that were in use of late, to tell the others of a fleet.

use std::time::Duration;

use anycast_common::abi::maps::{Flow, FlowKey};
use anycast_ctl::core::{MapAction, Time};
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{A, B, C, LATER, bench, bind},
    harness::Bench,
    packets::{ACK, Packet, SYN},
    trial::ago,
};

pub fn tests(suite: Suite) -> Suite {
    suite.test("correspondent: flows that were in use of late", of_late)
}

/// What is asked for.
const LATE: Duration = Duration::from_secs(60);

fn of_late() -> Result<()> {
    let mut bench = bench()?;
    bind(&mut bench, C, LATER)?;
    // One of each age, by the time of either direction, none of which was begun of late.
    let ages = [1, 2, 120, 150, 300, 3600].map(Duration::from_secs);
    let ports = 40_000..;
    for (port, age) in ports.clone().zip(ages) {
        bench.run(&Packet::tcp(A, B, (port, 80), SYN).frame())?;
        bench.run(&Packet::tcp(C, A, (80, port), ACK).frame())?;
        let (key, flow) = find(&mut bench, port)?;
        let (last_out, last_in) = match port % 2 {
            0 => (ago(age), ago(2 * age)),
            _ => (ago(2 * age), ago(age)),
        };
        let pinned_at = last_out.min(last_in);
        let aged = Flow {
            last_out,
            last_in,
            pinned_at,
            ..flow
        };
        bench.dataplane.maps().set_flow(&key, &aged);
    }
    let late: Vec<_> = ports
        .clone()
        .zip(ages)
        .filter(|(_, age)| *age < LATE)
        .collect();
    let late: Vec<u16> = late.into_iter().map(|(port, _)| port).collect();
    ensure!(recent(&mut bench)? == late, "by their age");
    let all = bench.dataplane.maps().flow_reader().flows().len();
    ensure!(all == ages.len(), "all are there: {all}");

    // A packet is enough.
    let silent = 40_005;
    bench.run(&Packet::tcp(A, B, (silent, 80), ACK).frame())?;
    let with = [&late[..], &[silent]].concat();
    ensure!(recent(&mut bench)? == with, "one that went on");

    // Another gateway has heard of it as well, but earlier. It is in use here all the same.
    let (key, flow) = find(&mut bench, silent)?;
    let earlier = Flow {
        last_out: ago(60 * LATE),
        last_in: ago(60 * LATE),
        ..flow
    };
    let adopt = MapAction::AdoptFlow { key, flow: earlier };
    bench.dataplane.maps().apply(&adopt)?;
    ensure!(
        recent(&mut bench)? == with,
        "one of which others heard earlier"
    );
    // What others heard of late counts, too.
    let told = 40_004;
    let (key, flow) = find(&mut bench, told)?;
    let later = Flow {
        last_in: ago(Duration::ZERO),
        ..flow
    };
    let adopt = MapAction::AdoptFlow { key, flow: later };
    bench.dataplane.maps().apply(&adopt)?;
    let with = [&late[..], &[told, silent]].concat();
    ensure!(
        recent(&mut bench)? == with,
        "one of which others heard of late"
    );
    Ok(())
}

/// The clients' ports of those that are found, in order.
fn recent(bench: &mut Bench) -> Result<Vec<u16>> {
    let since = Time::from_nanos(ago(LATE));
    let found = bench.dataplane.maps().flow_reader().recent(since);
    let ports = found
        .iter()
        .map(|(key, _)| u16::from_be_bytes(key.client_port));
    Ok(ports.collect())
}

fn find(bench: &mut Bench, port: u16) -> Result<(FlowKey, Flow)> {
    let flows = bench.dataplane.maps().flow_reader().flows();
    let mut flows = flows.into_iter();
    let of = flows.find(|(key, _)| key.client_port == port.to_be_bytes());
    of.context("the flow is there")
}
