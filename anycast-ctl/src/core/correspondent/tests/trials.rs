//! Flows that fail on trial.

use anycast_common::abi::{event::TrialFailed, maps::FlowKey};

use super::*;
use crate::core::correspondent::trials::Trials;

fn failed() -> TrialFailed {
    TrialFailed {
        flow: FlowKey {
            client: CLIENT.octets(),
            anycast: ANYCAST.octets(),
            client_port: 4000_u16.to_be_bytes(),
            service_port: 53_u16.to_be_bytes(),
            protocol: 17,
            reserved: [0; 3],
        },
        care_of: CARE_OF.octets(),
    }
}

fn notice(left_alone: Option<u64>) -> Action {
    Action::Notice(Notice::TrialFailed {
        client: CLIENT,
        anycast: ANYCAST,
        care_of: CARE_OF,
        protocol: 17,
        client_port: 4000,
        service_port: 53,
        reason: REASON,
        left_alone,
    })
}

const REASON: &str = "flow_trial_unanswered";

#[test]
fn a_pair_that_fails_on_trial_is_left_alone_for_a_time_that_doubles() {
    let mut bench = Bench::new(settings());
    let (mut now, mut sequence) = (at(10), 0);
    for alone in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
        bench.poll(now);
        sequence += 1;
        let bound = bench.bind(now, CLIENT, CARE_OF, sequence);
        assert_eq!(bound.changes(), [BindingChange::Created], "{alone}");
        let mut actions = Vec::new();
        bench
            .correspondent
            .trial_failed(now, &failed(), REASON, &mut actions);
        assert!(actions.contains(&notice(Some(alone))), "{actions:?}");
        let failed = Output { actions };
        assert_eq!(failed.changes(), [BindingChange::Failed]);
        sequence += 1;
        let refused = bench.bind(now, CLIENT, CARE_OF, sequence);
        assert_eq!(refused.refusals(), ["binding_update_left_alone"]);
        assert_eq!(refused.data_plane(), []);
        now += Duration::from_secs(alone);
    }
    // Another member was never concerned.
    let other = bench.bind(now, CLIENT, OTHER_CARE_OF, 1);
    assert_eq!(other.changes(), [BindingChange::Created]);
}

#[test]
fn one_flow_of_a_pair_that_answers_others_proves_nothing() {
    let mut bench = Bench::new(settings());
    bench.bind(at(10), CLIENT, CARE_OF, 1);
    let used = Use {
        flows: 1,
        answered: at(11),
    };
    let pinned = [((CLIENT, CARE_OF), used)].into_iter().collect();
    bench.correspondent.used(at(12), pinned, &mut Vec::new());
    let mut actions = Vec::new();
    bench
        .correspondent
        .trial_failed(at(13), &failed(), REASON, &mut actions);
    assert_eq!(actions, [notice(None)]);
    assert_eq!(bench.count(Counter::TrialFailed), 1);
    assert_eq!(bench.correspondent.bindings(at(13)).len(), 1);
}

#[test]
fn a_pair_that_is_left_alone_fails_no_further_and_is_forgotten_an_hour_later() {
    const MINUTE: Duration = Duration::from_mins(1);
    let mut trials = Trials::new(1);
    let fails = |trials: &mut Trials, now| trials.failed(now, CLIENT, CARE_OF, ANYCAST);
    assert_eq!(fails(&mut trials, at(0)), Some(MINUTE));
    // What another of its flows says changes nothing.
    assert_eq!(fails(&mut trials, at(59)), None);
    assert!(trials.is_alone(at(59), CLIENT, CARE_OF));
    assert!(!trials.is_alone(at(60), CLIENT, CARE_OF));
    assert_eq!(fails(&mut trials, at(60 + 3599)), Some(2 * MINUTE));
    assert_eq!(fails(&mut trials, at(3659 + 120 + 3600)), Some(MINUTE));
}

#[test]
fn as_many_pairs_are_left_alone_as_there_is_room_for() {
    let mut trials = Trials::new(1);
    let other = OTHER_CARE_OF;
    assert!(trials.failed(at(0), CLIENT, CARE_OF, ANYCAST).is_some());
    assert_eq!(trials.failed(at(1), CLIENT, other, ANYCAST), None);
    assert!(!trials.is_alone(at(1), CLIENT, other));
    assert!(trials.is_alone(at(1), CLIENT, CARE_OF));
    // Who was forgotten gives way.
    assert!(
        trials
            .failed(at(60 + 3600), CLIENT, other, ANYCAST)
            .is_some()
    );
}

#[test]
fn who_is_left_alone_is_told_by_anycast_address() {
    let mut trials = Trials::new(8);
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 2);
    trials.failed(at(0), CLIENT, CARE_OF, ANYCAST);
    trials.failed(at(0), CLIENT, OTHER_CARE_OF, other);
    assert_eq!(trials.of(at(1), CLIENT, ANYCAST), [CARE_OF]);
    assert_eq!(trials.of(at(1), CLIENT, other), [OTHER_CARE_OF]);
    assert!(trials.of(at(61), CLIENT, ANYCAST).is_empty());
}
