//! What ends before its time, at all gateways.

use anycast_common::abi::{event::TrialFailed, maps::Flow};

use super::{
    apart::wire,
    bench::{Fleet, flow, key},
    *,
};

/// All flows to the member.
fn of_member() -> Selection {
    Selection {
        care_of: Some(CARE_OF),
        ..Selection::default()
    }
}

/// An operator ends them at a gateway, and the flows there as the shell does.
fn flush(fleet: &mut Fleet, place: usize) {
    fleet.at(place, |gateway, now, actions| {
        gateway.flush(now, &of_member(), actions);
    });
    let flows = &mut fleet.gateways[place].flows;
    flows.retain(|_, flow| flow.care_of != CARE_OF.octets());
}

/// Lets time pass, while both ends of a flow are heard at a gateway that knows it.
fn go_on(fleet: &mut Fleet, place: usize, port: u16, milliseconds: u64) {
    for _ in 0..milliseconds / 100 {
        let now = fleet.now.as_nanos();
        if let Some(flow) = fleet.gateways[place].flows.get_mut(&key(port)) {
            (flow.last_out, flow.last_in) = (now, now);
        }
        fleet.pass(100);
    }
}

/// The ports of the flows to the member that are known to each gateway.
fn bound(fleet: &Fleet) -> Vec<Vec<u16>> {
    let of = |gateway: &super::bench::Gateway| {
        let flows = gateway.flows.iter();
        let flows = flows.filter(|(_, flow)| flow.care_of == CARE_OF.octets());
        let mut ports: Vec<_> = flows
            .map(|(key, _)| u16::from_be_bytes(key.client_port))
            .collect();
        ports.sort_unstable();
        ports
    };
    fleet.gateways.iter().map(of).collect()
}

#[test]
fn a_flow_in_use_ends_where_an_operator_says_so_at_another_gateway() {
    let mut fleet = Fleet::ready(3);
    // Between the reading of flows and what is done by it, packets go on.
    fleet.judging = 500;
    let now = fleet.now;
    for port in [1, 2] {
        fleet.gateways[1]
            .flows
            .insert(key(port), flow(now, CARE_OF));
    }
    go_on(&mut fleet, 1, 1, 3000);
    assert_eq!(bound(&fleet), [[1, 2], [1, 2], [1, 2]]);
    flush(&mut fleet, 0);
    go_on(&mut fleet, 1, 1, 30_000);
    assert_eq!(bound(&fleet), [[0; 0]; 3]);
    // What is bound anew is known to all.
    let now = fleet.now;
    fleet.gateways[1].flows.insert(key(1), flow(now, CARE_OF));
    go_on(&mut fleet, 1, 1, 1500);
    assert_eq!(bound(&fleet), [[1], [1], [1]]);
}

#[test]
fn what_is_told_of_a_reading_is_as_old_as_it_is() {
    let mut fleet = Fleet::ready(2);
    let began = fleet.now;
    let read = std::sync::Arc::new(vec![(key(9), flow(began, CARE_OF))]);
    fleet.pass(100);
    flush(&mut fleet, 0);
    // A million flows take so long, and a gateway may hear of the end when it reads them already.
    fleet.pass(4000);
    fleet.at(1, |gateway, now, actions| {
        gateway.flows(now, began, &read, actions)
    });
    fleet.pass(100);
    assert_eq!(bound(&fleet), [[0; 0]; 2], "it was silent since the end");
    // The control: one that was heard since then.
    let began = fleet.now;
    let read = std::sync::Arc::new(vec![(key(8), flow(began, CARE_OF))]);
    fleet.at(1, |gateway, now, actions| {
        gateway.flows(now, began, &read, actions)
    });
    fleet.pass(100);
    assert_eq!(bound(&fleet), [&[8][..], &[]]);
}

#[test]
fn flows_are_read_again_when_the_last_ones_are_told() {
    let mut fleet = Fleet::ready(1);
    let began = fleet.now;
    let flows = (0..20_000).map(|port| (key(port), flow(began, CARE_OF)));
    let flows = std::sync::Arc::new(flows.collect());
    fleet.pass(2000);
    fleet.at(0, |gateway, now, actions| {
        gateway.flows(now, began, &flows, actions);
        // Something calls for the next reading meanwhile.
        gateway.sweeper.no_later_than(now);
        while gateway.judging.is_some() {
            let mut actions = Actions::new();
            gateway.poll(now, &mut actions);
            let reads = |action: &Action| matches!(action, Action::ReadFlows { .. });
            assert_eq!(actions.iter().any(reads), gateway.judging.is_none());
        }
    });
}

#[test]
fn what_another_gateway_still_tells_does_not_come_back() {
    let mut fleet = Fleet::ready(2);
    // A flow that is answered: not the pair is left alone when another one fails on trial.
    let answered = flow(fleet.now, OTHER_CARE_OF);
    fleet.gateways[0].flows.insert(key(3), answered);
    fleet.pass(9000);
    fleet.delay = 900;
    let now = fleet.now;
    let unanswered = Flow {
        answered: 0,
        last_in: 0,
        ..flow(now, OTHER_CARE_OF)
    };
    for (key, known) in [(key(1), flow(now, CARE_OF)), (key(2), unanswered)] {
        fleet.gateways[1].flows.insert(key, known);
    }
    let known = |fleet: &Fleet| {
        let of = |place: usize| {
            [1, 2, 3].map(|port| fleet.gateways[place].flows.contains_key(&key(port)))
        };
        [of(0), of(1)]
    };
    // They are told, and are on their way.
    let said = fleet.recorded.len();
    let told = |fleet: &Fleet| fleet.recorded[said..].iter().any(|octets| octets[1] == 3);
    while !told(&fleet) {
        fleet.pass(50);
    }
    assert_eq!(known(&fleet), [[false, false, true], [true; 3]]);
    let failed = TrialFailed {
        flow: key(2),
        care_of: OTHER_CARE_OF.octets(),
    };
    fleet.at(0, |gateway, now, actions| {
        gateway.trial_failed(now, &failed, "flow_unanswered", actions);
    });
    flush(&mut fleet, 0);
    fleet.pass(6000);
    assert_eq!(known(&fleet), [[false, false, true]; 2]);
}

/// Flows that are bound to the member, and those that still are when a gateway that was cut off for a while has come
/// back, at which something ended meanwhile. The first flow is in use at another gateway all the time, and a third one
/// begins there after the end.
fn after_a_gap(ends: impl FnOnce(&mut Fleet)) -> (Fleet, Vec<Vec<u16>>) {
    let mut fleet = Fleet::ready(3);
    let peer = fleet.tests(0);
    fleet.update(1, &peer, 1);
    let now = fleet.now;
    for port in [1, 2] {
        fleet.gateways[1]
            .flows
            .insert(key(port), flow(now, CARE_OF));
    }
    go_on(&mut fleet, 1, 1, 3000);
    assert_eq!(bound(&fleet), [[1, 2], [1, 2], [1, 2]]);
    wire(&mut fleet, 0, false);
    go_on(&mut fleet, 1, 1, 5000);
    ends(&mut fleet);
    go_on(&mut fleet, 1, 1, 5000);
    let now = fleet.now;
    fleet.gateways[1].flows.insert(key(3), flow(now, CARE_OF));
    fleet.update(1, &peer, 2);
    go_on(&mut fleet, 1, 1, 2000);
    wire(&mut fleet, 0, true);
    go_on(&mut fleet, 1, 1, 5000);
    // What it does not take at once because of the end is told as it goes on.
    go_on(&mut fleet, 1, 3, 12_000);
    let bound = bound(&fleet);
    (fleet, bound)
}

#[test]
fn a_flush_while_a_gateway_is_cut_off_is_told_when_it_is_back() {
    let (_, left) = after_a_gap(|_| {});
    assert_eq!(left, [[1, 2, 3], [1, 2, 3], [1, 2, 3]]);
    let (fleet, left) = after_a_gap(|fleet| flush(fleet, 0));
    assert_eq!(left, [[3], [3], [3]]);
    // The binding was renewed since.
    assert_eq!(fleet.gateways[1].count(Counter::BindingFlushed), 0);
    assert_eq!(fleet.gateways[1].count(Counter::FleetEnds), 1);
}

#[test]
fn a_trial_that_failed_while_a_gateway_was_cut_off_is_told_when_it_is_back() {
    let mut fleet = Fleet::ready(2);
    let unanswered = Flow {
        answered: 0,
        last_in: 0,
        ..flow(fleet.now, CARE_OF)
    };
    fleet.gateways[1].flows.insert(key(1), unanswered);
    fleet.pass(1000);
    wire(&mut fleet, 0, false);
    let failed = TrialFailed {
        flow: key(1),
        care_of: CARE_OF.octets(),
    };
    fleet.at(0, |gateway, now, actions| {
        gateway.trial_failed(now, &failed, "flow_unanswered", actions);
    });
    fleet.gateways[0].flows.remove(&key(1));
    fleet.pass(20_000);
    // It is back for a moment that is too short to tell.
    wire(&mut fleet, 0, true);
    fleet.pass(300);
    wire(&mut fleet, 0, false);
    fleet.pass(20_000);
    assert_eq!(bound(&fleet), [vec![], vec![1]]);
    wire(&mut fleet, 0, true);
    fleet.pass(10_000);
    assert_eq!(bound(&fleet), [[0; 0]; 2]);
}

#[test]
fn a_member_that_failed_while_a_gateway_was_cut_off_is_told_when_it_is_back() {
    for answers in [false, true] {
        let mut fleet = Fleet::ready(2);
        let mut datagram = key(1);
        datagram.protocol = 17;
        let known = flow(fleet.now, CARE_OF);
        fleet.gateways[1].flows.insert(datagram, known);
        fleet.gateways[1].flows.insert(key(2), known);
        fleet.pass(5000);
        wire(&mut fleet, 0, false);
        let failed = crate::core::fleet::End::Failed(CARE_OF);
        fleet.at(0, |gateway, now, actions| {
            gateway.tell_end(now, now, &failed, actions)
        });
        fleet.gateways[0].flows.clear();
        fleet.pass(1000);
        if answers {
            // The member is heard after that, long before the other gateway hears that it failed.
            let now = fleet.now.as_nanos();
            fleet.gateways[1].flows.get_mut(&key(2)).unwrap().last_in = now;
        }
        fleet.pass(10_000);
        wire(&mut fleet, 0, true);
        fleet.pass(2000);
        let other = &fleet.gateways[1];
        assert_eq!(other.flows.contains_key(&datagram), answers);
        assert!(other.flows.contains_key(&key(2)), "a connection that waits");
        let contradicted = other.count(Counter::FleetEndContradicted);
        assert_eq!(contradicted, u64::from(answers));
    }
}

/// Two gateways with a binding, and a flow on trial that fails at the first of them. The second one may know of another
/// flow that the member answered.
fn after_a_trial(answered: bool) -> (Fleet, Peer) {
    let mut fleet = Fleet::ready(2);
    if answered {
        let now = fleet.now;
        fleet.gateways[1].flows.insert(key(2), flow(now, CARE_OF));
        fleet.pass(1000);
        // The first one has lost it, and judges its flows.
        fleet.gateways[0].flows.clear();
        fleet.pass(8000);
    }
    let peer = fleet.tests(0);
    fleet.update(0, &peer, 1);
    fleet.pass(3500);
    assert_eq!(fleet.gateways[1].bindings(fleet.now), [CARE_OF]);
    let failed = TrialFailed {
        flow: key(1),
        care_of: CARE_OF.octets(),
    };
    fleet.at(0, |gateway, now, actions| {
        gateway.trial_failed(now, &failed, "flow_unanswered", actions);
    });
    fleet.pass(400);
    assert!(fleet.gateways[0].bindings(fleet.now).is_empty());
    (fleet, peer)
}

#[test]
fn a_pair_that_one_gateway_leaves_alone_all_leave_alone_for_as_long() {
    let (mut fleet, _) = after_a_trial(false);
    assert!(fleet.gateways[1].bindings(fleet.now).is_empty());
    assert!(fleet.gateways[1].steers.is_empty());
    let (mut began, mut sequence) = (fleet.now, 1);
    // It doubles when it fails again.
    for seconds in [60, 120] {
        fleet.pass(seconds * 1000 - 3000);
        let peer = fleet.tests(1);
        sequence += 1;
        let refused = fleet.gateways[1].count(Counter::BindingUpdateLeftAlone);
        fleet.update(1, &peer, sequence);
        let now = fleet.gateways[1].count(Counter::BindingUpdateLeftAlone);
        assert_eq!(now, refused + 1, "{seconds}");
        fleet.pass(3000);
        sequence += 1;
        fleet.update(1, &peer, sequence);
        fleet.pass(400);
        for gateway in &fleet.gateways {
            assert_eq!(gateway.bindings(fleet.now), [CARE_OF], "{seconds}");
        }
        assert!(fleet.now - began < Duration::from_secs(seconds + 2));
        fleet.pass(3000);
        let failed = TrialFailed {
            flow: key(1),
            care_of: CARE_OF.octets(),
        };
        fleet.at(0, |gateway, now, actions| {
            gateway.trial_failed(now, &failed, "flow_unanswered", actions);
        });
        fleet.pass(400);
        began = fleet.now;
    }
}

#[test]
fn a_pair_that_works_at_another_gateway_is_not_left_alone_there() {
    let (mut fleet, peer) = after_a_trial(true);
    let other = &fleet.gateways[1];
    assert_eq!(other.bindings(fleet.now), [CARE_OF]);
    assert_eq!(other.count(Counter::FleetEndContradicted), 1);
    fleet.update(1, &peer, 2);
    fleet.pass(400);
    assert_eq!(fleet.gateways[1].bindings(fleet.now), [CARE_OF]);
    assert_eq!(fleet.gateways[1].count(Counter::BindingUpdateLeftAlone), 0);
}
