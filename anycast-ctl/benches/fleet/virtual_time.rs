//! Gateways in virtual time.

use std::{sync::Arc, time::Duration};

use anycast_common::abi::maps::{Flow, FlowKey};
use anycast_ctl::core::{Action, MapAction, Time, controller::Input};
use anyhow::{Result, ensure};

use super::{
    common::median,
    gateways::Fleet,
    machines::step,
    memory,
    parts::{COUNTS, flow, updates_of},
};

/// A client that is in use is bound anew so often.
const RENEWED: f64 = 16.0;
/// Bound flows of a gateway. Of ten one is in use.
const FLOWS: [usize; 4] = [20_000, 60_000, 100_000, 300_000];
const IN_USE: usize = 10;
const ROUNDS: usize = 5;
const SECOND: Duration = Duration::from_secs(1);

pub fn run() -> Result<()> {
    COUNTS.into_iter().try_for_each(triples)
}

fn triples(count: usize) -> Result<()> {
    let mut fleet = Fleet {
        now: Time::ZERO + Duration::from_secs(3600),
        gateways: Vec::new(),
        busy: Vec::new(),
        octets: 0,
    };
    fleet.start(count);
    fleet.start(count);
    fleet.pass(Duration::from_secs(5));
    let now = fleet.now;
    let updates = updates_of(&mut fleet.gateways[0], now, count);
    let (actions, own) = step(&mut fleet.gateways[0], now, &updates);
    let (busy, octets) = (fleet.busy[1], fleet.octets);
    drop(fleet.deliver(0, actions));
    let took = fleet.busy[1] - busy;
    let told = fleet.octets - octets;
    // What waits until the others have heard is done then.
    fleet.pass(SECOND);
    let each = took.as_secs_f64() / count as f64;
    println!("{count} triples, in virtual time, each machine on one core");
    let rate = count as f64 / RENEWED;
    println!(
        "  a Binding Update of another gateway: {:.2} us, {} octets; at {rate:.0} a second {:.1} % of a core",
        each * 1e6,
        told / count,
        each * rate * 100.0
    );
    println!(
        "  one of its own, verified, acknowledged and told: {:.2} us",
        own.as_secs_f64() / count as f64 * 1e6
    );
    fleet.start(count);
    let (start, octets, busy) = (fleet.now, fleet.octets, fleet.busy.clone());
    let done = fleet.pass(Duration::from_secs(8));
    let known = |action: &&Action| matches!(action, Action::Map(MapAction::SetCareOf { .. }));
    let known = done.iter().filter(known).count();
    ensure!(known == count, "the snapshot has {known} of {count}");
    let spent = |place: usize| {
        (fleet.busy[place] - busy.get(place).copied().unwrap_or_default()).as_secs_f64()
    };
    println!(
        "  a snapshot: {} octets a triple; {:.2} s of who gives it and {:.2} s of who takes it, within {:.0} s",
        (fleet.octets - octets) / count,
        spent(0).max(spent(1)),
        spent(2),
        (fleet.now - start).as_secs_f64()
    );
    // What is free again with them is what they held.
    let [snapshot, updates] = [(), ()].map(|()| {
        let held = memory::live();
        drop(fleet.gateways.pop());
        (held - memory::live()) / count
    });
    println!(
        "  a triple in memory: {updates} octets by a Binding Update, {snapshot} by a snapshot"
    );
    if count == COUNTS[0] {
        readings(&mut fleet);
    }
    Ok(())
}

/// What it costs to read flows and to tell the others what they have to hear of.
fn readings(fleet: &mut Fleet) {
    for count in FLOWS {
        let mut flows: Vec<_> = (0..count).map(|number| flow(fleet.now, number)).collect();
        let [mut all, mut longest, mut recent] = [const { Vec::new() }; 3];
        for round in 0..count / 20_000 + 1 + ROUNDS {
            fleet.now += SECOND;
            for (_, flow) in flows.iter_mut().skip(round % IN_USE).step_by(IN_USE) {
                flow.last_out = fleet.now.as_nanos();
                flow.last_in = fleet.now.as_nanos();
            }
            let (took, turn) = judge(fleet, &flows);
            all.push(took);
            longest.push(turn);
            fleet.now += SECOND / 2;
            let used = flows.iter().skip(round % IN_USE).step_by(IN_USE);
            let used: Vec<_> = used.copied().collect();
            let busy = fleet.busy[0];
            drop(fleet.handle(0, Input::RecentFlows(&used)));
            recent.push(fleet.busy[0] - busy);
        }
        let [all, longest, recent] =
            [all, longest, recent].map(|mut took| median(took.split_off(took.len() - ROUNDS)));
        println!(
            "  {count} flows: {all:.1?} to judge all, at most {longest:.1?} at once, {recent:.1?} for the one in \
             {IN_USE} that is in use"
        );
    }
}

/// How long it takes to judge all, and the longest part of it.
fn judge(fleet: &mut Fleet, flows: &[(FlowKey, Flow)]) -> (Duration, Duration) {
    let (now, flows) = (fleet.now, Arc::new(flows.to_vec()));
    let begun = fleet.busy[0];
    let mut busy = begun;
    let (began, flows) = (now, &flows);
    drop(fleet.handle(0, Input::Flows { began, flows }));
    let mut longest = fleet.busy[0] - busy;
    while fleet.gateways[0].deadline().is_some_and(|due| due <= now) {
        busy = fleet.busy[0];
        drop(fleet.poll(0));
        longest = longest.max(fleet.busy[0] - busy);
    }
    (fleet.busy[0] - begun, longest)
}
