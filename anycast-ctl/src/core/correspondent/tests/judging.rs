//! Many flows are judged in parts, between which messages are answered.

use anycast_common::abi::maps::{Flow, FlowKey, state};
use zerocopy::FromZeros as _;

use super::*;

/// More than are judged in one turn.
const MANY: u32 = 20_000;
/// A time at which a TCP connection that was silent since the beginning is idle.
const LATE: u64 = 8000;

/// Connections of which every second was silent since the beginning.
fn flows() -> Vec<(FlowKey, Flow)> {
    let flow = |number: u32| {
        let key = FlowKey {
            client: CLIENT.octets(),
            anycast: ANYCAST.octets(),
            client_port: [1, 2],
            service_port: u16::try_from(number).unwrap().to_be_bytes(),
            protocol: ipv6::NEXT_HEADER_TCP,
            ..FlowKey::new_zeroed()
        };
        let heard = at(if number.is_multiple_of(2) {
            1
        } else {
            LATE - 1
        })
        .as_nanos();
        let flow = Flow {
            care_of: CARE_OF.octets(),
            pinned_at: 1,
            last_out: heard,
            last_in: heard,
            answered: 1,
            state: state::BOUND_FIRST,
            ..Flow::new_zeroed()
        };
        (key, flow)
    };
    (0..MANY).map(flow).collect()
}

fn removed(actions: &[Action]) -> usize {
    let is_removed = |action: &&Action| matches!(action, Action::Map(MapAction::RemoveFlow { .. }));
    actions.iter().filter(is_removed).count()
}

#[test]
fn messages_are_answered_between_the_parts() {
    let mut bench = Bench::new(settings());
    let now = at(LATE);
    bench.poll(now);
    let peer = bench.peer(now);
    let mut actions = Vec::new();
    bench
        .correspondent
        .flows(now, now, &Arc::new(flows()), &mut actions);
    assert_eq!(removed(&actions), 0, "the first part decides nothing");
    assert!(
        bench.correspondent.deadline() <= Some(now),
        "it goes on at once"
    );
    assert_eq!(bench.update(now, &peer, peer.good(1)).ack().status, 0);
    let (mut ended, mut turns) = (0, 1);
    while bench.correspondent.deadline() <= Some(now) {
        let output = bench.poll(now);
        assert!(!output.reads_flows(), "these are not judged yet");
        ended += removed(&output.actions);
        turns += 1;
    }
    // Each is looked at three times where there is no fleet.
    assert_eq!((ended, turns), (10_000, 3 * 20_000 / 1024 + 1));
    let used = bench.correspondent.in_use.flows.get(&(CLIENT, CARE_OF));
    assert_eq!(used.map(|used| used.flows), Some(10_000));
}

#[test]
fn a_reading_hurries_once_something_waits_for_the_next() {
    let mut bench = Bench::new(settings());
    bench.poll(at(10));
    let octets = failure::error(CLIENT, CARE_OF, icmpv6::DESTINATION_UNREACHABLE);
    let error = ipv6::Packet::parse(&octets).unwrap();
    bench.correspondent.unreachable(at(11), &error);
    assert_eq!(bench.correspondent.deadline(), Some(at(11)));
    assert!(bench.poll(at(11)).actions.contains(&Action::HurryFlows));
    // Once is enough.
    let due = bench.correspondent.deadline();
    assert!(due.is_none_or(|due| due > at(11)), "{due:?}");
    bench.correspondent.unreachable(at(11), &error);
    assert!(!bench.poll(at(11)).actions.contains(&Action::HurryFlows));
    let mut actions = Vec::new();
    bench
        .correspondent
        .flows(at(12), at(10), &Arc::default(), &mut actions);
    assert!(
        bench
            .poll(at(12))
            .actions
            .contains(&Action::ReadFlows { soon: true })
    );
    // That one hurries by itself.
    bench.correspondent.unreachable(at(12), &error);
    assert_eq!(bench.poll(at(13)).actions, []);
}

#[test]
fn who_stops_judges_all_that_it_has_read() {
    let mut bench = Bench::new(settings());
    bench.poll(at(LATE));
    let mut actions = Vec::new();
    let now = at(LATE);
    bench
        .correspondent
        .flows(now, now, &Arc::new(flows()), &mut actions);
    bench.correspondent.shutdown(now, &mut actions);
    assert_eq!(removed(&actions), 10_000);
}

#[test]
fn a_reading_that_nobody_asked_for_loses_none() {
    let mut bench = Bench::new(settings());
    let now = at(LATE);
    bench.poll(now);
    let mut actions = Vec::new();
    bench
        .correspondent
        .flows(now, now, &Arc::new(flows()), &mut actions);
    assert_eq!(removed(&actions), 0);
    bench
        .correspondent
        .flows(now, now, &Arc::default(), &mut actions);
    assert_eq!(removed(&actions), 10_000);
    assert_eq!(
        bench.correspondent.in_use.flows.len(),
        0,
        "the second one found none"
    );
}
