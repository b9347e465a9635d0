//! Gateways that did not hear each other for a while.

use anycast_common::abi::{event::TrialFailed, maps::Flow};

use super::{
    bench::{Fleet, flow, key},
    *,
};
use crate::core::notice::FleetReady;

/// Cuts a gateway off from the bus, or connects it again.
pub fn wire(fleet: &mut Fleet, place: usize, is: bool) {
    fleet.gateways[place].wired = is;
    fleet.at(place, |gateway, now, _| gateway.bus_connected(now, is));
}

#[test]
fn who_was_cut_off_catches_up_and_so_do_the_others() {
    let mut fleet = Fleet::ready(3);
    wire(&mut fleet, 2, false);
    // Flows that are silent from now on: nothing tells of them a second time.
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.gateways[2].flows.insert(key(2), flow(now, CARE_OF));
    let peer = fleet.tests(0);
    fleet.update(0, &peer, 1);
    fleet.pass(30_000);
    for (place, ports) in [(0, [true, false]), (1, [true, false]), (2, [false, true])] {
        let known = [1, 2].map(|port| fleet.gateways[place].flows.contains_key(&key(port)));
        assert_eq!(known, ports, "{place}");
    }
    let peer = fleet.tests(0);
    fleet.update(0, &peer, 2);
    wire(&mut fleet, 2, true);
    fleet.pass(5000);
    for gateway in &fleet.gateways {
        assert!(
            [1, 2]
                .map(key)
                .iter()
                .all(|key| gateway.flows.contains_key(key))
        );
        assert_eq!(gateway.bindings(fleet.now), [CARE_OF]);
    }
}

#[test]
fn who_started_without_the_bus_catches_up_when_it_comes() {
    let mut fleet = Fleet::ready(2);
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    let new = fleet.start(1, 0);
    wire(&mut fleet, new, false);
    fleet.pass(16_000);
    assert!(fleet.gateways[new].is_ready());
    assert!(fleet.gateways[new].flows.is_empty());
    wire(&mut fleet, new, true);
    fleet.pass(5000);
    assert!(fleet.gateways[new].flows.contains_key(&key(1)));
    let status = fleet.gateways[new]
        .bench
        .correspondent
        .bus()
        .unwrap()
        .status(fleet.now);
    assert_eq!(status.ready.map(|(_, how)| how), Some(FleetReady::Snapshot));
}

/// What silent flows and bindings are known to each of three gateways.
fn known(fleet: &Fleet, ports: [u16; 2]) -> Vec<([bool; 2], usize)> {
    let of = |gateway: &super::bench::Gateway| {
        let flows = ports.map(|port| gateway.flows.contains_key(&key(port)));
        (flows, gateway.bindings(fleet.now).len())
    };
    fleet.gateways.iter().map(of).collect()
}

#[test]
fn a_binding_that_was_renewed_meanwhile_lives_as_long_as_elsewhere() {
    for renewed in [true, false] {
        let mut fleet = Fleet::ready(2);
        let peer = fleet.tests(0);
        fleet.update(0, &peer, 1);
        fleet.pass(400);
        wire(&mut fleet, 1, false);
        fleet.pass(8000);
        if renewed {
            fleet.update(0, &peer, 2);
        }
        fleet.pass(100);
        wire(&mut fleet, 1, true);
        fleet.pass(9000);
        let now = fleet.now;
        let other = &mut fleet.gateways[1];
        let bound = other.bindings(now).len();
        assert_eq!(bound, usize::from(renewed));
        // So the programs are told.
        for address in [ANYCAST, CARE_OF] {
            let until = other.until[&(CLIENT, address)];
            assert_eq!(until > now, renewed, "{address} {until:?}");
        }
        // And what was said before is said too late.
        other.bench.update(now, &peer, peer.good(2));
        let refused = other.count(Counter::BindingUpdateBadSequence);
        assert_eq!(refused, u64::from(renewed));
    }
}

#[test]
fn a_bus_that_fell_apart_is_caught_up_with_although_nobody_lost_his_connection() {
    let mut fleet = Fleet::ready(3);
    fleet.gateways[2].wired = false;
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.gateways[2].flows.insert(key(2), flow(now, CARE_OF));
    fleet.pass(60_000);
    let peer = fleet.tests(0);
    fleet.update(0, &peer, 1);
    fleet.pass(1000);
    let apart = [([true, false], 1), ([true, false], 1), ([false, true], 0)];
    assert_eq!(known(&fleet, [1, 2]), apart);
    fleet.gateways[2].wired = true;
    fleet.pass(6000);
    assert_eq!(known(&fleet, [1, 2]), [([true, true], 1); 3]);
    // One that was forgotten meanwhile, too.
    fleet.gateways[2].wired = false;
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(3), flow(now, CARE_OF));
    fleet.gateways[2].flows.insert(key(4), flow(now, CARE_OF));
    fleet.pass(320_000);
    fleet.gateways[2].wired = true;
    fleet.pass(6000);
    assert_eq!(known(&fleet, [3, 4]), [([true, true], 0); 3]);
}

#[test]
fn a_connection_that_was_back_before_anybody_saw_it_go_is_caught_up_with() {
    let mut fleet = Fleet::ready(3);
    fleet.gateways[2].wired = false;
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.gateways[2].flows.insert(key(2), flow(now, CARE_OF));
    fleet.pass(5000);
    // All of them still hear each other, as far as they know.
    fleet.gateways[2].wired = true;
    fleet.pass(6000);
    let apart = [([true, false], 0), ([true, false], 0), ([false, true], 0)];
    assert_eq!(known(&fleet, [1, 2]), apart);
    wire(&mut fleet, 2, true);
    fleet.pass(6000);
    assert_eq!(known(&fleet, [1, 2]), [([true, true], 0); 3]);
}

#[test]
fn what_was_lost_of_a_silent_flow_is_told_once_more() {
    let mut fleet = Fleet::ready(3);
    fleet.lost = 100;
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.pass(2000);
    fleet.lost = 0;
    let others = |fleet: &Fleet| [1, 2].map(|place| fleet.gateways[place].flows.len());
    fleet.pass(200_000);
    assert_eq!(others(&fleet), [0, 0]);
    fleet.pass(60_000);
    assert_eq!(others(&fleet), [1, 1]);
}

/// Lets a gateway start, and gives its number when the snapshot of another one was taken and is on its way.
fn under_way(fleet: &mut Fleet) -> usize {
    let now = fleet.now;
    for port in 0..30_000 {
        fleet.gateways[0]
            .flows
            .insert(key(port), flow(now, CARE_OF));
    }
    fleet.pass(1000);
    let peer = fleet.tests(0);
    fleet.update(0, &peer, 7);
    fleet.pass(1000);
    fleet.delay = 900;
    let new = fleet.start(1, 0);
    while fleet.gateways[0].count(Counter::FleetSnapshotServed) == 0 {
        fleet.pass(50);
    }
    new
}

#[test]
fn a_snapshot_that_is_long_on_its_way_makes_nothing_younger() {
    let mut fleet = Fleet::ready(2);
    let new = under_way(&mut fleet);
    let heard = fleet.gateways[0].flows[&key(1)].last_in;
    fleet.pass(14_000);
    let late = |flow: &Flow| Duration::from_nanos(flow.last_in - heard);
    let flows = fleet.gateways[new].flows.values();
    // Longest time on the way of one message.
    let late: Vec<_> = flows
        .map(late)
        .filter(|late| *late > Duration::from_millis(950))
        .collect();
    assert_eq!(fleet.gateways[new].flows.len(), 30_000);
    assert_eq!(late, []);
}

#[test]
fn what_ended_since_a_snapshot_was_taken_does_not_come_with_it() {
    let mut fleet = Fleet::ready(2);
    let new = under_way(&mut fleet);
    assert_eq!(fleet.gateways[0].bindings(fleet.now), [CARE_OF]);
    let which = Selection {
        care_of: Some(CARE_OF),
        ..Selection::default()
    };
    fleet.at(0, |gateway, now, actions| {
        assert_eq!(gateway.flush(now, &which, actions), 1);
    });
    fleet.pass(14_000);
    assert!(fleet.gateways[new].is_ready());
    assert_eq!(fleet.gateways[new].flows.len(), 0);
    assert!(fleet.gateways[new].bindings(fleet.now).is_empty());
}

/// Lets a gateway start that takes a snapshot with a binding, while something happens at another one. Gives whether it
/// has the binding when it is ready.
fn binding_after(what: impl FnOnce(&mut Fleet, usize)) -> bool {
    let mut fleet = Fleet::ready(2);
    let new = under_way(&mut fleet);
    what(&mut fleet, new);
    while !fleet.gateways[new].is_ready() {
        fleet.pass(50);
    }
    !fleet.gateways[new].bindings(fleet.now).is_empty()
}

#[test]
fn a_binding_to_a_member_that_has_failed_since_does_not_come_with_a_snapshot() {
    let failed = crate::core::fleet::End::Failed(CARE_OF);
    assert!(binding_after(|_, _| {}));
    assert!(!binding_after(|fleet, _| fleet.at(
        1,
        |gateway, now, actions| {
            gateway.tell_end(now, now, &failed, actions);
        }
    )));
    // One of whose flows the gateway knows itself that they fail.
    assert!(!binding_after(|fleet, new| fleet.at(
        new,
        |gateway, now, actions| {
            let failed = TrialFailed {
                flow: key(1),
                care_of: CARE_OF.octets(),
            };
            gateway.trial_failed(now, &failed, "flow_unanswered", actions);
        }
    )));
}
