//! What gateways know of each other.

use anycast_common::abi::maps::Flow;

use super::{
    apart::wire,
    bench::{Fleet, flow, key},
    *,
};
use crate::core::notice::{FleetChange, FleetReady};

#[test]
fn an_update_at_one_binds_at_all_and_says_so() {
    let mut fleet = Fleet::ready(3);
    // Both tests at different gateways, and the update at a third.
    let now = fleet.now;
    let mut peer = fleet.tests(0);
    peer.care_of_test = fleet.gateways[1].bench.care_of_test(now, CARE_OF);
    fleet.update(2, &peer, 7);
    fleet.pass(400);
    for (place, origin) in [(0, "fleet"), (1, "fleet"), (2, "own")] {
        let gateway = &fleet.gateways[place];
        let bindings = gateway.bench.correspondent.bindings(fleet.now);
        let [binding] = bindings.as_slice() else {
            panic!("{place}: {bindings:?}");
        };
        assert_eq!((binding.sequence, binding.origin.name()), (7, origin));
        assert_eq!(gateway.steers.get(&(CLIENT, ANYCAST)), Some(&CARE_OF));
    }
    // The number counts everywhere.
    fleet.update(0, &peer, 7);
    assert_eq!(
        fleet.gateways[0].count(Counter::BindingUpdateBadSequence),
        1
    );
    // And so does the end.
    let octets = peer.sealed(peer.deletion_named(8));
    let now = fleet.now;
    let output = fleet.gateways[1].bench.octets(now, &octets);
    let packets: Vec<_> = output.actions;
    fleet.at(1, |_, _, actions| actions.extend(packets));
    fleet.pass(400);
    for gateway in &fleet.gateways {
        assert!(gateway.bindings(fleet.now).is_empty());
        assert!(gateway.steers.is_empty());
    }
}

#[test]
fn flows_of_one_are_known_to_all_within_a_second() {
    let mut fleet = Fleet::ready(3);
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.pass(1000);
    for gateway in &fleet.gateways {
        assert!(gateway.flows.contains_key(&key(1)));
    }
    // Nobody tells what he has heard: a sweep later there is nothing to say but that all live.
    let said = fleet.recorded.len();
    fleet.pass(2000);
    assert!(
        fleet.recorded.len() - said <= 6,
        "{}",
        fleet.recorded.len() - said
    );
}

#[test]
fn many_flows_that_are_silent_do_not_keep_others_from_hearing_of_one_that_is_answered() {
    let mut fleet = Fleet::ready(2);
    let now = fleet.now;
    for port in 0..60_000 {
        let mut other = key(port);
        for service in 1..=2 {
            other.service_port = [1, service];
            fleet.gateways[0].flows.insert(other, flow(now, CARE_OF));
        }
    }
    // All are told, and have been silent for a while.
    fleet.pass(10_000);
    assert_eq!(fleet.gateways[1].flows.len(), 120_000);
    let mut new = Flow {
        answered: 0,
        last_in: 0,
        ..flow(fleet.now, CARE_OF)
    };
    fleet.gateways[0].flows.insert(key(1), new);
    fleet.pass(700);
    assert_eq!(
        fleet.gateways[1]
            .flows
            .get(&key(1))
            .map(|flow| flow.last_in),
        Some(0)
    );
    // The answer is known long before a trial is over.
    (new.answered, new.last_in) = (1, fleet.now.as_nanos());
    fleet.gateways[0].flows.insert(key(1), new);
    fleet.pass(700);
    let known = fleet.gateways[1]
        .flows
        .get(&key(1))
        .map(|flow| flow.last_in);
    assert!(known.is_some_and(|heard| heard > 0), "{known:?}");
}

#[test]
fn a_gateway_steers_nothing_until_it_knows_what_the_others_do() {
    let mut fleet = Fleet::ready(2);
    let peer = fleet.tests(0);
    fleet.update(0, &peer, 1);
    let now = fleet.now;
    // The flow is older than the binding, and of another member.
    fleet.gateways[0]
        .flows
        .insert(key(1), flow(now, OTHER_CARE_OF));
    fleet.pass(1000);
    let new = fleet.start(1, 0);
    // An update comes before the snapshot is there.
    fleet.update(1, &peer, 2);
    while !fleet.gateways[new].is_ready() {
        assert!(fleet.gateways[new].steers.is_empty());
        fleet.pass(50);
        assert!(fleet.now < at(3610), "it is never ready");
    }
    let gateway = &fleet.gateways[new];
    assert_eq!(gateway.steers.get(&(CLIENT, ANYCAST)), Some(&CARE_OF));
    assert_eq!(gateway.flows[&key(1)].care_of, OTHER_CARE_OF.octets());
    let by_snapshot = |notice: &Notice| {
        let how = FleetReady::Snapshot;
        *notice == Notice::FleetReady { how }
    };
    assert!(gateway.notices.iter().any(by_snapshot));
    // It takes the time of the snapshot, and not more.
    assert!(fleet.now < at(3607), "{:?}", fleet.now);
}

#[test]
fn what_is_lost_is_told_again_while_the_flow_goes_on() {
    let mut fleet = Fleet::ready(3);
    (fleet.lost, fleet.delay) = (40, 100);
    for round in 0..20 {
        let now = fleet.now;
        for port in 0..50 {
            let mut going = flow(now, CARE_OF);
            going.pinned_at = at(3600).as_nanos();
            fleet.gateways[0].flows.insert(key(port), going);
        }
        fleet.pass(2000 + round);
    }
    for gateway in &fleet.gateways {
        assert_eq!(gateway.flows.len(), 50);
    }
}

#[test]
fn who_is_alone_or_without_a_bus_is_ready_by_himself() {
    let mut fleet = Fleet::new(1);
    fleet.pass(2900);
    assert!(!fleet.gateways[0].is_ready());
    fleet.pass(500);
    assert!(fleet.gateways[0].is_ready());
    let mut fleet = Fleet::new(1);
    fleet.at(0, |gateway, now, _| gateway.bus_connected(now, false));
    fleet.pass(14_000);
    assert!(!fleet.gateways[0].is_ready());
    fleet.pass(1500);
    assert!(fleet.gateways[0].is_ready());
}

#[test]
fn ends_are_ends_everywhere() {
    let mut fleet = Fleet::ready(2);
    let peer = fleet.tests(0);
    fleet.update(0, &peer, 1);
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.gateways[0]
        .flows
        .insert(key(2), flow(now, OTHER_CARE_OF));
    fleet.pass(1000);
    let which = Selection {
        care_of: Some(CARE_OF),
        ..Selection::default()
    };
    fleet.at(0, |gateway, now, actions| {
        assert_eq!(gateway.flush(now, &which, actions), 1);
    });
    fleet.pass(1000);
    let other = &fleet.gateways[1];
    assert!(other.bindings(fleet.now).is_empty());
    assert!(other.steers.is_empty());
    let left: Vec<_> = other.flows.keys().copied().collect();
    assert_eq!(left, [key(2)]);
}

#[test]
fn a_member_that_answers_here_has_not_failed() {
    let mut fleet = Fleet::ready(2);
    let now = fleet.now;
    fleet.gateways[1].flows.insert(key(1), flow(now, CARE_OF));
    fleet.at(0, |gateway, now, actions| {
        let failed = crate::core::fleet::End::Failed(CARE_OF);
        gateway.tell_end(now, now, &failed, actions);
    });
    fleet.pass(1000);
    assert_eq!(fleet.gateways[1].count(Counter::FleetEndContradicted), 1);
    assert!(fleet.gateways[1].flows.contains_key(&key(1)));
    // Of another, nothing was heard for long. An idle connection, and one whose client waits, and a datagram's.
    fleet.pass(5000);
    let now = fleet.now;
    let waiting = Flow {
        last_out: now.as_nanos(),
        ..fleet.gateways[1].flows[&key(1)]
    };
    let mut datagram = key(3);
    datagram.protocol = 17;
    let idle = fleet.gateways[1].flows[&key(1)];
    fleet.gateways[1]
        .flows
        .extend([(key(2), waiting), (datagram, idle)]);
    fleet.at(0, |gateway, now, actions| {
        let failed = crate::core::fleet::End::Failed(CARE_OF);
        gateway.tell_end(now, now, &failed, actions);
    });
    fleet.pass(1000);
    let left: Vec<_> = fleet.gateways[1].flows.keys().copied().collect();
    assert_eq!(left, [key(1)]);
    // Where it failed, it does not come back when it is told again, but for what goes on.
    fleet.gateways[0].flows.clear();
    let (idle, now) = (fleet.gateways[1].flows[&key(1)], fleet.now);
    let goes_on = Flow {
        last_in: now.as_nanos(),
        ..idle
    };
    fleet.gateways[1].flows.insert(key(4), goes_on);
    fleet.pass(320_000);
    let back: Vec<_> = fleet.gateways[0].flows.keys().copied().collect();
    assert_eq!(back, [key(4)]);
}

#[test]
fn who_is_no_longer_heard_is_lost_and_may_come_back() {
    let mut fleet = Fleet::ready(2);
    let changes = |fleet: &Fleet| {
        let notices = fleet.gateways[0].notices.iter();
        let changes = notices.filter_map(|notice| match notice {
            Notice::FleetPeer { change, .. } => Some(*change),
            _ => None,
        });
        changes.collect::<Vec<_>>()
    };
    assert_eq!(changes(&fleet), [FleetChange::Joined]);
    fleet.gateways[1].wired = false;
    fleet.pass(60_000);
    fleet.gateways[1].wired = true;
    fleet.pass(4000);
    use FleetChange::{Joined, Lost};
    assert_eq!(changes(&fleet), [Joined, Lost, Joined]);
    let peer = fleet.tests(1);
    fleet.update(1, &peer, 1);
    fleet.pass(400);
    assert_eq!(fleet.gateways[0].bindings(fleet.now), [CARE_OF]);
}

/// The clock of one gateway is ahead, by how many seconds. Gives how many updates with its tokens the other took, and
/// the warnings of both.
fn clocks(ahead: u64) -> (u64, Vec<i64>) {
    let mut fleet = Fleet::new(1);
    fleet.start(1, ahead);
    fleet.pass(5000);
    let peer = fleet.tests(1);
    fleet.update(0, &peer, 1);
    fleet.pass(20_000);
    let notices = fleet.gateways.iter().flat_map(|gateway| &gateway.notices);
    let warnings = notices.filter_map(|notice| match notice {
        Notice::FleetClock { ahead_seconds, .. } => Some(*ahead_seconds),
        _ => None,
    });
    let accepted = fleet.gateways[0].count(Counter::BindingUpdateAccepted);
    (accepted, warnings.collect())
}

#[test]
fn clocks_that_differ_are_told_once_by_all_and_cost_nothing_while_they_can() {
    assert_eq!(clocks(20), (1, vec![]));
    assert_eq!(clocks(40), (1, vec![40, -40]));
    assert_eq!(clocks(600), (0, vec![600, -600]));
}

#[test]
fn a_member_whose_answers_pass_another_gateway_is_not_silent_because_the_bus_is_gone() {
    let mut fleet = Fleet::ready(2);
    let known = flow(fleet.now, CARE_OF);
    fleet.gateways[0].flows.insert(key(2), known);
    fleet.gateways[1].flows.insert(key(1), known);
    fleet.pass(1000);
    // The first gateway sees what the client sends, and the second what the member answers to one of the flows.
    let go_on = |fleet: &mut Fleet, time: u64| {
        for _ in 0..time * 2 {
            fleet.pass(500);
            let now = fleet.now.as_nanos();
            for port in [1, 2] {
                if let Some(known) = fleet.gateways[0].flows.get_mut(&key(port)) {
                    known.last_out = now;
                }
            }
            if let Some(known) = fleet.gateways[1].flows.get_mut(&key(1)) {
                known.last_in = now;
            }
        }
    };
    go_on(&mut fleet, 5);
    for place in [0, 1] {
        wire(&mut fleet, place, false);
    }
    go_on(&mut fleet, 60);
    let known = [1, 2].map(|port| fleet.gateways[0].flows.contains_key(&key(port)));
    assert_eq!(known, [true, false]);
}
