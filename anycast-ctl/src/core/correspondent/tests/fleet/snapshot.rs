//! A gateway that starts takes a snapshot.

use anycast_common::{abi::maps::unattended, wire::icmpv6::DESTINATION_UNREACHABLE};

use super::{
    bench::{Fleet, flow, key},
    failure::error,
    *,
};
use crate::core::notice::FleetReady;

#[test]
fn a_snapshot_comes_over_a_bad_bus() {
    let mut fleet = Fleet::ready(2);
    let now = fleet.now;
    for port in 0..20_000 {
        fleet.gateways[0]
            .flows
            .insert(key(port), flow(now, CARE_OF));
    }
    fleet.pass(1000);
    (fleet.lost, fleet.delay) = (20, 200);
    let new = fleet.start(1, 0);
    fleet.pass(15_000);
    let gateway = &fleet.gateways[new];
    assert!(gateway.is_ready());
    assert_eq!(gateway.flows.len(), 20_000);
}

#[test]
fn who_starts_waits_for_no_second_try() {
    let mut fleet = Fleet::ready(2);
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.pass(1000);
    // Sometimes a wish comes before what shows that its sender is heard.
    for _ in 0..8 {
        let new = fleet.start(1, 0);
        fleet.pass(600);
        assert_eq!(how(&fleet, new), [FleetReady::Snapshot]);
        assert!(fleet.gateways[new].flows.contains_key(&key(1)));
    }
}

#[test]
fn a_snapshot_that_takes_longer_than_all_tries_is_taken_when_it_comes() {
    let mut fleet = Fleet::ready(3);
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.pass(1000);
    // Each answer comes after its gateway was given up, and another one asked.
    fleet.reading = 5000;
    let new = fleet.start(1, 0);
    fleet.pass(8000);
    let by_snapshot = Notice::FleetReady {
        how: FleetReady::Snapshot,
    };
    assert!(fleet.gateways[new].notices.contains(&by_snapshot));
    assert!(fleet.gateways[new].flows.contains_key(&key(1)));
}

/// How a gateway became ready, each time.
fn how(fleet: &Fleet, place: usize) -> Vec<FleetReady> {
    let notices = fleet.gateways[place].notices.iter();
    let how = notices.filter_map(|notice| match notice {
        Notice::FleetReady { how } => Some(*how),
        _ => None,
    });
    how.collect()
}

#[test]
fn a_snapshot_whose_giver_dies_is_taken_from_another_gateway() {
    let mut fleet = Fleet::ready(2);
    let now = fleet.now;
    for port in 0..20_000 {
        fleet.gateways[0]
            .flows
            .insert(key(port), flow(now, CARE_OF));
    }
    fleet.pass(1000);
    // One gives it, as late as is permitted, and is gone before the second part.
    fleet.gateways[1].wired = false;
    (fleet.reading, fleet.delay) = (8000, 900);
    let (new, started) = (fleet.start(1, 0), fleet.now);
    while fleet.gateways[new].flows.is_empty() {
        fleet.pass(50);
    }
    assert!(fleet.now > started + Duration::from_secs(8));
    fleet.gateways[0].wired = false;
    fleet.gateways[1].wired = true;
    fleet.pass(30_000);
    assert_eq!(how(&fleet, new), [FleetReady::Snapshot]);
    assert_eq!(fleet.gateways[new].flows.len(), 20_000);
}

#[test]
fn a_snapshot_that_did_not_come_is_asked_for_again() {
    let mut fleet = Fleet::ready(2);
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.pass(1000);
    // Reading takes longer than anybody waits.
    fleet.reading = 200_000;
    let new = fleet.start(1, 0);
    fleet.pass(170_000);
    assert_eq!(how(&fleet, new), [FleetReady::TimedOut], "it is said once");
    assert!(!fleet.gateways[new].flows.contains_key(&key(1)));
    fleet.reading = 0;
    fleet.pass(100_000);
    let status = fleet.gateways[new].bench.correspondent.bus().unwrap();
    let ready = status.status(fleet.now).ready;
    assert_eq!(ready.map(|(_, how)| how), Some(FleetReady::Snapshot));
    assert!(fleet.gateways[new].flows.contains_key(&key(1)));
}

#[test]
fn while_a_snapshot_comes_no_flows_are_read() {
    let mut fleet = Fleet::ready(2);
    let now = fleet.now;
    for port in 0..60_000 {
        fleet.gateways[0]
            .flows
            .insert(key(port), flow(now, CARE_OF));
    }
    fleet.pass(3000);
    fleet.delay = 700;
    let new = fleet.start(1, 0);
    let mut comes = Vec::new();
    while !fleet.gateways[new].is_ready() {
        fleet.pass(50);
        let gateway = &fleet.gateways[new];
        if !gateway.flows.is_empty() && !gateway.is_ready() {
            comes.push(gateway.readings);
        }
    }
    // It comes for longer than there is between two readings.
    assert!(comes.len() > 20, "{comes:?}");
    assert_eq!(comes.first(), comes.last(), "{comes:?}");
    // Then they are read as ever.
    fleet.pass(2000);
    let readings = fleet.gateways[new].readings;
    assert!(readings >= comes[0] + 3, "{readings}, {comes:?}");
}

#[test]
fn while_a_snapshot_comes_a_member_that_is_gone_is_found() {
    let mut fleet = Fleet::ready(2);
    let now = fleet.now;
    for port in 0..30_000 {
        fleet.gateways[0]
            .flows
            .insert(key(port), flow(now, CARE_OF));
    }
    fleet.pass(3000);
    let new = fleet.start(1, 0);
    // A flow that an earlier run has left.
    let mut left = key(1);
    left.service_port = [1, 187];
    let going = flow(fleet.now, OTHER_CARE_OF);
    fleet.gateways[new].flows.insert(left, going);
    while fleet.gateways[new].flows.len() < 2 {
        fleet.pass(50);
    }
    // The rest of it does not come for seconds.
    fleet.lost = 100;
    fleet.pass(600);
    // TCP tries again 0.2, 0.6 and 1.4 seconds after the first segment, and a router answers each.
    let (began, readings) = (fleet.now, fleet.gateways[new].readings);
    let mut read = None;
    while fleet.now < began + Duration::from_millis(3000) {
        let passed = fleet.now - began;
        if [0, 200, 600, 1400]
            .map(Duration::from_millis)
            .contains(&passed)
        {
            let now = fleet.now;
            if let Some(flow) = fleet.gateways[new].flows.get_mut(&left) {
                (flow.last_out, flow.unreachable_at) = (now.as_nanos(), now.as_nanos());
                flow.asked_at = unattended::tick(began.as_nanos());
            }
            let error = error(CLIENT, OTHER_CARE_OF, DESTINATION_UNREACHABLE);
            fleet.at(new, |gateway, now, _| {
                gateway.unreachable(now, &ipv6::Packet::parse(&error).unwrap());
            });
        }
        fleet.pass(50);
        if read.is_none() && fleet.gateways[new].readings > readings {
            read = Some(fleet.now - began);
        }
    }
    let gateway = &fleet.gateways[new];
    assert!(!gateway.is_ready(), "the snapshot came too soon");
    assert!(
        read.is_some_and(|after| after < Duration::from_millis(2500)),
        "{read:?}"
    );
    assert!(!gateway.flows.contains_key(&left), "it is still bound");
    assert_eq!(gateway.count(Counter::FlowUnreachable), 1);
}
