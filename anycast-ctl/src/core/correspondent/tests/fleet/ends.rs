//! What ends before its time, at all gateways.

use anycast_common::abi::{event::TrialFailed, maps::Flow};

use super::{
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
        fleet.gateways[1].flows.insert(key(port), flow(now, CARE_OF));
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
fn what_another_gateway_still_tells_does_not_come_back() {
    let mut fleet = Fleet::ready(2);
    fleet.delay = 900;
    let now = fleet.now;
    let unanswered = Flow {
        answered: 0,
        last_in: 0,
        ..flow(now, CARE_OF)
    };
    for (key, known) in [(key(1), flow(now, CARE_OF)), (key(2), unanswered)] {
        fleet.gateways[1].flows.insert(key, known);
    }
    // They are told, and are on their way.
    fleet.pass(550);
    let failed = TrialFailed {
        flow: key(2),
        care_of: CARE_OF.octets(),
    };
    let adopted = fleet.gateways[0].flows.len();
    fleet.at(0, |gateway, now, actions| {
        gateway.trial_failed(now, &failed, "flow_unanswered", actions);
    });
    flush(&mut fleet, 0);
    fleet.gateways[0].flows.remove(&key(2));
    fleet.pass(6000);
    assert_eq!(bound(&fleet), [[0; 0]; 2], "{adopted} before");
    assert!(adopted < 2, "nothing was on its way");
}
