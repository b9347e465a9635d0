//! Bound flows, sweep after sweep.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use anycast_common::{
    abi::maps::{Flow, FlowKey, state},
    wire::ipv6,
};
use zerocopy::FromZeros as _;

use super::{limits::*, sweep::*, waiting::*};
use crate::core::{Time, notice::FailureCause};

const SECOND: u64 = 1_000_000_000;

fn key(protocol: u8) -> FlowKey {
    FlowKey {
        client: [1; 16],
        anycast: [2; 16],
        client_port: [0, 1],
        service_port: [0, 2],
        protocol,
        reserved: [0; 3],
    }
}

fn flow(last_out: u64, last_in: u64) -> Flow {
    Flow {
        care_of: [3; 16],
        pinned_at: SECOND,
        last_out: last_out * SECOND,
        last_in: last_in * SECOND,
        state: state::BOUND_FIRST,
        ..Flow::new_zeroed()
    }
}

fn at(second: u64) -> Time {
    Time::from_nanos(second * SECOND)
}

/// No answer comes by another way.
fn nowhere(_: &FlowKey, _: &Flow) -> bool {
    false
}

fn ends(sweeper: &mut Sweeper, now: u64, protocol: u8, flow: Flow) -> Option<End> {
    let sweep = sweeper.sweep(at(now), &[(key(protocol), flow)], nowhere);
    assert_eq!(sweep.in_use.len(), usize::from(sweep.ended.is_empty()));
    sweep.ended.first().map(|(.., end)| *end)
}

#[test]
fn idle_times_differ_by_protocol() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    for (protocol, limit) in [(6, 7440), (17, 300), (58, 60), (132, 600)] {
        assert_eq!(
            ends(&mut sweeper, 99 + limit, protocol, flow(100, 100)),
            None
        );
        assert_eq!(
            ends(&mut sweeper, 100 + limit, protocol, flow(100, 100)),
            Some(End::Idle)
        );
    }
}

#[test]
fn a_sweep_is_put_off_until_the_last_one_is_long_ago_or_something_calls_for_it() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    sweeper.sweep(at(100), &[], nowhere);
    sweeper.put_off(at(111), at(112));
    assert_eq!(sweeper.deadline(), Some(at(112)));
    sweeper.put_off(at(112), at(113));
    assert_eq!(sweeper.deadline(), Some(at(112)));
    sweeper.hint(at(111));
    assert_eq!(sweeper.deadline(), Some(at(111)));
}

#[test]
fn a_connection_that_both_ends_closed_goes_early() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    let mut closed = flow(100, 100);
    closed.client_closed = 1;
    assert_eq!(ends(&mut sweeper, 161, 6, closed), None);
    closed.member_closed = 1;
    assert_eq!(ends(&mut sweeper, 159, 6, closed), None);
    assert_eq!(ends(&mut sweeper, 160, 6, closed), Some(End::Closed));
}

#[test]
fn one_packet_after_a_long_silence_is_not_a_failure() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    assert_eq!(ends(&mut sweeper, 4000, 6, flow(4000, 100)), None);
    assert_eq!(ends(&mut sweeper, 4100, 6, flow(4000, 100)), None);
    assert_eq!(ends(&mut sweeper, 4110, 6, flow(4000, 4101)), None);
}

#[test]
fn the_acknowledgement_that_ends_an_exchange_waits_for_no_answer() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    let mut acknowledged = flow(100, 100);
    acknowledged.last_out += SECOND / 25;
    assert_eq!(ends(&mut sweeper, 110, 6, acknowledged), None);
    // An hour later a sweep comes between a packet and its answer.
    assert_eq!(ends(&mut sweeper, 4000, 6, flow(4000, 100)), None);
    assert_eq!(ends(&mut sweeper, 4010, 6, flow(4001, 4001)), None);
}

#[test]
fn the_longest_delay_of_an_acknowledgement_begins_no_silence() {
    let delay = u64::try_from(ACK_DELAY.as_nanos()).expect("short");
    for (delay, end) in [(delay, None), (delay + 1, Some(End::Failed))] {
        let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
        let mut acknowledged = flow(100, 100);
        acknowledged.last_out += delay;
        assert_eq!(ends(&mut sweeper, 101, 6, acknowledged), None);
        // Had the silence begun then, this would be its end.
        assert_eq!(ends(&mut sweeper, 132, 6, flow(132, 100)), end, "{delay}");
    }
}

/// The clock of the data plane is coarse: of what it notes for the same time, either may have come first.
#[test]
fn only_an_answer_that_is_later_than_an_error_contradicts_it() {
    let sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    for (later, doubted) in [(0, true), (1, false)] {
        let told = Flow {
            unreachable_at: 100 * SECOND,
            last_in: 100 * SECOND + later,
            ..flow(101, 100)
        };
        assert_eq!(sweeper.hinted(&key(6), &told).is_some(), doubted, "{later}");
    }
}

#[test]
fn retries_without_an_answer_are_a_failure() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    assert_eq!(ends(&mut sweeper, 200, 6, flow(199, 190)), None);
    assert_eq!(ends(&mut sweeper, 210, 6, flow(205, 190)), None);
    assert_eq!(ends(&mut sweeper, 228, 6, flow(220, 190)), None);
    assert_eq!(
        ends(&mut sweeper, 229, 6, flow(220, 190)),
        Some(End::Failed)
    );
}

#[test]
fn an_answer_begins_the_count_anew() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    assert_eq!(ends(&mut sweeper, 200, 17, flow(199, 190)), None);
    assert_eq!(ends(&mut sweeper, 225, 17, flow(224, 220)), None);
    assert_eq!(ends(&mut sweeper, 240, 17, flow(239, 220)), None);
    assert_eq!(
        ends(&mut sweeper, 255, 17, flow(254, 220)),
        Some(End::Failed)
    );
}

#[test]
fn udp_that_was_never_answered_is_left_alone() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    for second in (100..400).step_by(10) {
        assert_eq!(ends(&mut sweeper, second, 17, flow(second, 0)), None);
    }
    assert_eq!(ends(&mut sweeper, 100, 6, flow(99, 0)), None);
    assert_eq!(ends(&mut sweeper, 130, 6, flow(129, 0)), Some(End::Failed));
}

/// A flow of its own to the care-of address that ends with this octet.
fn numbered(port: u8, care_of: u8, mut flow: Flow) -> (FlowKey, Flow) {
    flow.care_of = [care_of; 16];
    let key = FlowKey {
        client_port: [0, port],
        ..key(ipv6::NEXT_HEADER_TCP)
    };
    (key, flow)
}

#[test]
fn one_stuck_service_is_not_the_failure_of_its_host() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    let flows = |now| {
        [
            numbered(1, 3, flow(now, 190)),
            numbered(2, 3, flow(now, now)),
        ]
    };
    sweeper.sweep(at(200), &flows(200), nowhere);
    let sweep = sweeper.sweep(at(230), &flows(229), nowhere);
    let ended: Vec<_> = sweep
        .ended
        .iter()
        .map(|(key, _, end)| (*key, *end))
        .collect();
    assert_eq!(ended, [(flows(0)[0].0, End::Failed)]);
    assert!(sweep.failed.is_empty(), "{:?}", sweep.failed);
    assert_eq!(sweep.in_use.len(), 1);
}

#[test]
fn silence_where_answers_go_another_way_ends_nothing_but_an_error_does() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    let elsewhere = |key: &FlowKey, _: &Flow| key == &numbered(1, 3, flow(0, 0)).0;
    let flows = |now| {
        let flow = Flow {
            answered: 1,
            ..flow(now, 190)
        };
        [numbered(1, 3, flow), numbered(2, 3, flow)]
    };
    sweeper.sweep(at(200), &flows(200), elsewhere);
    let sweep = sweeper.sweep(at(230), &flows(229), elsewhere);
    let ended: Vec<_> = sweep
        .ended
        .iter()
        .map(|(key, _, end)| (*key, *end))
        .collect();
    assert_eq!(ended, [(flows(0)[1].0, End::Failed)]);
    assert!(sweep.failed.is_empty(), "{:?}", sweep.failed);
    // What was heard stays what it was.
    let used: Vec<_> = sweep.in_use.values().map(|used| used.answered).collect();
    assert_eq!(used, [at(190)]);
    // The way there is closed, says a router.
    let unreachable = |now| {
        let [(key, flow), _] = flows(now);
        let unreachable_at = 231 * SECOND;
        [(
            key,
            Flow {
                unreachable_at,
                ..flow
            },
        )]
    };
    for second in 232..236 {
        let sweep = sweeper.sweep(at(second), &unreachable(second), elsewhere);
        if let [(_, _, end)] = sweep.ended[..] {
            assert_eq!(end, End::Unreachable);
            return;
        }
    }
    panic!("the error counts for nothing");
}

#[test]
fn a_host_that_answers_nobody_has_failed_for_idle_sessions_too() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    let idle = numbered(2, 3, flow(100, 100));
    let elsewhere = numbered(3, 4, flow(100, 100));
    let flows = |now| [numbered(1, 3, flow(now, 190)), idle, elsewhere];
    assert!(
        sweeper
            .sweep(at(200), &flows(200), nowhere)
            .failed
            .is_empty()
    );
    let sweep = sweeper.sweep(at(230), &flows(229), nowhere);
    let care_of = Ipv6Addr::from([3; 16]);
    assert_eq!(
        sweep.failed,
        BTreeMap::from([(care_of, FailureCause::Silence)])
    );
    assert_eq!(sweep.ended.len(), 2);
    assert_eq!(sweep.in_use.len(), 1, "what goes elsewhere stays");
}

#[test]
fn a_connection_that_never_came_about_says_nothing_of_the_host() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    let idle = numbered(2, 3, flow(100, 100));
    let flows = |now| [numbered(1, 3, flow(now, 0)), idle];
    sweeper.sweep(at(200), &flows(200), nowhere);
    let sweep = sweeper.sweep(at(230), &flows(229), nowhere);
    assert_eq!((sweep.ended.len(), sweep.failed.len()), (1, 0));
}

#[test]
fn sweeps_come_when_they_are_needed_and_keep_a_distance() {
    let mut sweeper = Sweeper::new(Limits::default(), at(5));
    assert_eq!(sweeper.deadline(), Some(at(5)));
    assert!(sweeper.due(at(5)));
    assert!(!sweeper.due(at(5)), "one is awaited");
    sweeper.sweep(at(5), &[], nowhere);
    let regular = Duration::from_millis(7500);
    assert_eq!(sweeper.deadline(), Some(at(5) + regular));
    // A silence ends between two regular sweeps.
    sweeper.sweep(at(6), &[numbered(1, 3, flow(6, 1))], nowhere);
    sweeper.sweep(at(30), &[numbered(1, 3, flow(29, 1))], nowhere);
    assert_eq!(sweeper.deadline(), Some(at(36)));
    for _ in 0..100 {
        sweeper.hint(at(30));
    }
    assert_eq!(sweeper.deadline(), Some(at(30) + LOOK));
    for _ in 0..100 {
        sweeper.no_later_than(at(30));
    }
    assert_eq!(sweeper.deadline(), Some(at(30) + DISTANCE));
}

#[test]
fn a_connection_that_nobody_answered_is_over_after_minutes() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    for (protocol, limit) in [(6, 240), (17, 240), (58, 60), (132, 240)] {
        assert_eq!(ends(&mut sweeper, 99 + limit, protocol, flow(100, 0)), None);
        let over = ends(&mut sweeper, 100 + limit, protocol, flow(100, 0));
        assert_eq!(over, Some(End::Idle), "{protocol}");
    }
}

#[test]
fn open_flows_are_not_judged() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    let open = Flow {
        care_of: [0; 16],
        state: state::OPEN,
        ..flow(100, 0)
    };
    for now in [100, 10_000] {
        let sweep = sweeper.sweep(at(now), &[(key(6), open)], nowhere);
        assert!(sweep.ended.is_empty() && sweep.in_use.is_empty());
    }
}

#[test]
fn a_flow_on_trial_says_nothing_of_how_its_pair_is_answered() {
    let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
    let mut answered = |answered| {
        let flow = Flow {
            answered,
            ..flow(100, 100)
        };
        let sweep = sweeper.sweep(at(101), &[(key(17), flow)], nowhere);
        let used: Vec<_> = sweep.in_use.into_values().collect();
        (used[0].flows, used[0].answered)
    };
    assert_eq!(answered(1), (1, at(100)));
    assert_eq!(answered(0), (1, Time::ZERO));
}
