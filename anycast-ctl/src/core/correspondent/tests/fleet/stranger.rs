//! Somebody without the secret, who reads and writes on the bus.

use super::{
    bench::{Fleet, flow, key},
    *,
};

/// A fleet that has said all that there is to say.
fn talkative() -> Fleet {
    let mut fleet = Fleet::ready(2);
    let peer = fleet.tests(0);
    fleet.update(0, &peer, 1);
    let now = fleet.now;
    fleet.gateways[0].flows.insert(key(1), flow(now, CARE_OF));
    fleet.pass(1000);
    fleet.start(1, 0);
    fleet.pass(4000);
    fleet.at(0, |gateway, now, actions| {
        gateway.flush(now, &Selection::default(), actions);
    });
    fleet.pass(1000);
    fleet
}

#[test]
fn what_was_recorded_is_not_taken_again() {
    let mut fleet = talkative();
    let recorded = fleet.recorded.clone();
    let before: Vec<_> = fleet.gateways.iter().map(|it| it.taken()).collect();
    for octets in &recorded {
        fleet.say(octets);
    }
    let after: Vec<_> = fleet.gateways.iter().map(|it| it.taken()).collect();
    assert_eq!(before, after);
    for gateway in &fleet.gateways {
        let reasons = [
            Counter::FleetMessageReplayed,
            Counter::FleetMessageUnproven,
            Counter::FleetMessageNotOurs,
            Counter::FleetUpdateRefused,
        ];
        let refused: u64 = reasons.iter().map(|reason| gateway.count(*reason)).sum();
        assert!(refused > 0);
        assert!(gateway.bindings(fleet.now).is_empty());
    }
}

#[test]
fn who_has_just_started_takes_no_recordings_either() {
    let recorded = talkative().recorded;
    // The same fleet, later: none of those who spoke live any more.
    let mut fleet = Fleet::later();
    fleet.start(1, 0);
    for octets in &recorded {
        fleet.say(octets);
        fleet.pass(50);
    }
    let gateway = &fleet.gateways[0];
    // Heartbeats are authentic, but nothing shows that they are of now.
    let heartbeats = gateway.count(Counter::FleetMessageAccepted);
    let adopted = gateway.taken() - heartbeats;
    assert_eq!(adopted, 0);
    assert!(gateway.flows.is_empty() && gateway.steers.is_empty());
    assert!(gateway.count(Counter::FleetMessageUnproven) > 0);
    let joined = |notice: &&Notice| matches!(notice, Notice::FleetPeer { .. });
    assert_eq!(gateway.notices.iter().filter(joined).count(), 0);
    assert!(
        gateway
            .bench
            .correspondent
            .bus()
            .unwrap()
            .status(fleet.now)
            .peers
            .is_empty()
    );
}

#[test]
fn a_recorded_update_binds_nothing_at_a_gateway_that_knows_no_numbers() {
    let mut fleet = Fleet::ready(2);
    let peer = fleet.tests(0);
    let update = fleet.update(0, &peer, 1);
    fleet.pass(400);
    let holds = |octets: &&Vec<u8>| octets.windows(update.len()).any(|part| part == update);
    let recorded: Vec<_> = fleet.recorded.iter().filter(holds).cloned().collect();
    assert_eq!(recorded.len(), 1);
    // The binding is over, and its nonces are not.
    fleet.pass(20_000);
    let new = fleet.start(1, 0);
    // Before anybody is heard, and when all are.
    for _ in 0..2 {
        fleet.say(&recorded[0]);
        fleet.pass(4000);
        let gateway = &fleet.gateways[new];
        assert!(gateway.bindings(fleet.now).is_empty());
        assert!(gateway.steers.is_empty());
    }
    let gateway = &fleet.gateways[new];
    assert!(gateway.is_ready());
    assert_eq!(gateway.count(Counter::FleetMessageUnproven), 1);
    assert_eq!(gateway.count(Counter::FleetMessageReplayed), 1);
    // It is the gateway that says it now that counts: nothing else is wrong with the update.
    fleet.at(0, |gateway, now, actions| {
        gateway.tell_update(now, &update, actions)
    });
    fleet.pass(400);
    assert_eq!(fleet.gateways[new].bindings(fleet.now), [CARE_OF]);
}

#[test]
fn what_was_changed_or_made_up_is_not_taken() {
    let mut fleet = talkative();
    let before: Vec<_> = fleet.gateways.iter().map(|it| it.taken()).collect();
    let mut recorded = fleet.recorded.clone();
    recorded.sort();
    recorded.dedup_by_key(|octets| (octets.len(), octets[1]));
    let mut said = 0;
    for octets in recorded.iter().take(40) {
        for place in (0..octets.len()).step_by(7) {
            let mut changed = octets.clone();
            changed[place] ^= 0x10;
            fleet.say(&changed);
            said += 1;
        }
    }
    for made_up in [&[][..], &[1], &[1, 1], &[1, 2], &[2; 100], &[1; 4000]] {
        fleet.say(made_up);
        said += 1;
    }
    let after: Vec<_> = fleet.gateways.iter().map(|it| it.taken()).collect();
    assert_eq!(before, after);
    for gateway in &fleet.gateways {
        let reasons = [
            Counter::FleetMessageMalformed,
            Counter::FleetMessageForged,
            Counter::FleetOtherSecret,
            Counter::FleetUpdateRefused,
        ];
        let refused: u64 = reasons.iter().map(|reason| gateway.count(*reason)).sum();
        assert!(refused >= said, "{refused} of {said}");
    }
}

#[test]
fn a_gateway_with_another_secret_is_named_and_not_heard() {
    let mut fleet = Fleet::ready(1);
    let other = fleet.start(2, 0);
    fleet.pass(6000);
    for (place, name) in [(0, "g1"), (other, "g0")] {
        let gateway = &fleet.gateways[place];
        assert_eq!(gateway.count(Counter::FleetMessageAccepted), 0);
        let status = gateway.bench.correspondent.bus().unwrap().status(fleet.now);
        assert_eq!(status.peers, []);
        let [stranger] = status.strangers.as_slice() else {
            panic!("{status:?}");
        };
        assert_eq!(stranger.name, name);
        let told = |notice: &&Notice| matches!(notice, Notice::FleetStranger { .. });
        assert_eq!(gateway.notices.iter().filter(told).count(), 1);
    }
}

/// Somebody with the secret is bounded, too.
#[test]
fn gateways_that_are_too_many_are_refused() {
    let mut fleet = Fleet::new(80);
    fleet.pass(3000);
    for gateway in &fleet.gateways {
        let status = gateway.bench.correspondent.bus().unwrap().status(fleet.now);
        assert!(status.peers.len() <= 64);
        assert!(gateway.count(Counter::FleetFull) > 0);
    }
}
