//! A care-of address fails, an operator flushes, a member deletes.

use anycast_common::{
    abi::maps::{Flow, FlowKey, state, unattended},
    wire::icmpv6::{DESTINATION_UNREACHABLE, PACKET_TOO_BIG},
};
use zerocopy::FromZeros as _;

use super::*;
use crate::core::{controller, notice::FailureCause};

const OTHER_CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 2);
const HOP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);
const ADDRESS_UNREACHABLE: u8 = 3;

fn millis(milliseconds: u64) -> Time {
    Time::ZERO + Duration::from_millis(milliseconds)
}

/// A TCP connection of the client to a care-of address, last heard at these times.
fn pinned(client: Ipv6Addr, care_of: Ipv6Addr, last_out: Time, last_in: Time) -> (FlowKey, Flow) {
    let key = FlowKey {
        client: client.octets(),
        anycast: ANYCAST.octets(),
        protocol: ipv6::NEXT_HEADER_TCP,
        ..FlowKey::new_zeroed()
    };
    let flow = Flow {
        care_of: care_of.octets(),
        pinned_at: 1,
        last_out: last_out.as_nanos(),
        last_in: last_in.as_nanos(),
        state: state::BOUND_FIRST,
        answered: 1,
        ..Flow::new_zeroed()
    };
    (key, flow)
}

/// The error that a hop sends to the client when its packet to the care-of address fails.
pub(super) fn error(client: Ipv6Addr, care_of: Ipv6Addr, message_type: u8) -> Vec<u8> {
    let mut quoted = [0; 60];
    ipv6::header(&mut quoted, client, care_of, 6, 64, 20).unwrap();
    about(client, message_type, &quoted)
}

fn about(client: Ipv6Addr, message_type: u8, quoted: &[u8]) -> Vec<u8> {
    let mut octets = [0; 128];
    let code = ADDRESS_UNREACHABLE;
    let length = icmpv6::error(&mut octets, HOP, client, message_type, code, 0, quoted).unwrap();
    octets[..length].to_vec()
}

impl Bench {
    pub(super) fn bind(
        &mut self,
        now: Time,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        sequence: u16,
    ) -> Output {
        let peer = self.peer_of(now, client, ANYCAST, care_of);
        self.update(now, &peer, peer.good(sequence))
    }

    fn unreachable(&mut self, now: Time, octets: &[u8]) {
        let packet = ipv6::Packet::parse(octets).unwrap();
        self.correspondent.unreachable(now, &packet);
    }

    fn flows(&mut self, now: Time, flows: &[(FlowKey, Flow)]) -> Output {
        let mut actions = Vec::new();
        let flows = Arc::new(flows.to_vec());
        self.correspondent.flows(now, now, &flows, &mut actions);
        Output { actions }
    }

    /// Polls at `now`, and gives the flows if they are wanted.
    fn sweep_if_due(&mut self, now: Time, flows: &[(FlowKey, Flow)]) -> Option<Output> {
        let wanted = self.poll(now).reads_flows();
        wanted.then(|| self.flows(now, flows))
    }
}

impl Output {
    fn removed_flows(&self) -> Vec<FlowKey> {
        let key = |action: &Action| match action {
            Action::Map(MapAction::RemoveFlow { key, .. }) => Some(*key),
            _ => None,
        };
        self.actions.iter().filter_map(key).collect()
    }

    fn failed(&self) -> Vec<(Ipv6Addr, FailureCause, usize)> {
        let failed = |action: &Action| match action {
            Action::Notice(Notice::CareOfFailed {
                care_of,
                cause,
                flows,
            }) => Some((*care_of, *cause, *flows)),
            _ => None,
        };
        self.actions.iter().filter_map(failed).collect()
    }

    fn unbound(&self) -> Vec<Ipv6Addr> {
        let client = |action: &Action| match action {
            Action::Map(MapAction::RemoveBinding { client, .. }) => Some(*client),
            _ => None,
        };
        self.actions.iter().filter_map(client).collect()
    }
}

/// A bench whose first sweep is over, at ten seconds.
fn begun() -> Bench {
    let mut bench = Bench::new(settings());
    assert_eq!(bench.flows(at(10), &[]).actions, []);
    bench
}

/// The flow as it is after the client has sent again without an answer, with an error about it.
fn doubted(client: Ipv6Addr, care_of: Ipv6Addr, now: Time) -> (FlowKey, Flow) {
    let sent = AGAIN.map(millis).into_iter();
    let last_out = sent.filter(|sent| *sent <= now).max().unwrap();
    let mut flow = pinned(client, care_of, last_out, at(10));
    flow.1.unreachable_at = at(11).as_nanos();
    flow.1.asked_at = unattended::tick(at(11).as_nanos());
    flow
}

/// When TCP sends, and sends again, that something has failed at eleven seconds.
const AGAIN: [u64; 5] = [11_000, 11_200, 11_600, 12_400, 14_000];

/// Gives the outputs of all sweeps from 11 seconds to 15, of the flows that there are at each time.
fn swept(bench: &mut Bench, flows: impl Fn(Time) -> Vec<(FlowKey, Flow)>) -> Vec<(Time, Output)> {
    let mut gone = Vec::new();
    let mut outputs = Vec::new();
    for now in (11_000..15_000).step_by(10).map(millis) {
        let mut flows = flows(now);
        flows.retain(|(key, _)| !gone.contains(key));
        if let Some(output) = bench.sweep_if_due(now, &flows) {
            gone.extend(output.removed_flows());
            outputs.push((now, output));
        }
    }
    outputs
}

#[test]
fn an_error_alone_ends_nothing() {
    let mut bench = begun();
    bench.bind(at(10), CLIENT, CARE_OF, 1);
    bench.bind(at(10), OTHER_CLIENT, CARE_OF, 1);
    for number in 0..100 {
        let error = error(CLIENT, CARE_OF, DESTINATION_UNREACHABLE);
        bench.unreachable(millis(11_000 + number), &error);
    }
    // The flow is answered all the same.
    let outputs = swept(&mut bench, |now| {
        let mut flow = pinned(CLIENT, CARE_OF, now, now);
        flow.1.unreachable_at = at(11).as_nanos();
        vec![flow]
    });
    assert!(!outputs.is_empty());
    assert!(outputs.iter().all(|(_, output)| output.actions.is_empty()));
    assert_eq!(bench.correspondent.bindings(at(15)).len(), 2);
}

#[test]
fn a_flow_that_is_not_answered_after_an_error_ends_with_its_binding_alone() {
    let mut bench = begun();
    bench.bind(at(10), CLIENT, CARE_OF, 1);
    bench.bind(at(10), CLIENT, OTHER_CARE_OF, 1);
    bench.bind(at(10), OTHER_CLIENT, CARE_OF, 1);
    bench.unreachable(at(11), &error(CLIENT, CARE_OF, DESTINATION_UNREACHABLE));
    let outputs = swept(&mut bench, |now| {
        vec![
            doubted(CLIENT, CARE_OF, now),
            pinned(OTHER_CLIENT, CARE_OF, at(10), at(10)),
        ]
    });
    let ended = outputs.iter();
    let ended: Vec<_> = ended
        .filter(|(_, output)| !output.removed_flows().is_empty())
        .collect();
    let [(when, output)] = ended[..] else {
        panic!("{ended:?}");
    };
    assert!(*when < millis(14_000), "before TCP sends once more");
    // Another member is there, and takes the new flows.
    assert!(output.unbound().is_empty());
    assert_eq!(
        output.changes(),
        [BindingChange::Failed, BindingChange::Moved]
    );
    let views = bench.correspondent.bindings(at(15));
    let left: Vec<_> = views
        .iter()
        .map(|view| (view.client, view.care_of))
        .collect();
    assert_eq!(left, [(CLIENT, OTHER_CARE_OF), (OTHER_CLIENT, CARE_OF)]);
    assert_eq!(bench.count(Counter::BindingFailed), 1);
    assert_eq!(bench.count(Counter::FlowUnreachable), 1);
    assert_eq!(bench.count(Counter::CareOfFailed), 0);
}

#[test]
fn an_address_that_answers_nobody_after_errors_has_failed_for_all() {
    let mut bench = begun();
    let idle = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 3);
    for client in [CLIENT, OTHER_CLIENT, idle] {
        bench.bind(at(10), client, CARE_OF, 1);
    }
    bench.unreachable(at(11), &error(CLIENT, CARE_OF, DESTINATION_UNREACHABLE));
    let mut elsewhere = pinned(idle, OTHER_CARE_OF, at(10), at(10));
    elsewhere.0.client_port = [0, 2];
    let outputs = swept(&mut bench, |now| {
        vec![
            doubted(CLIENT, CARE_OF, now),
            doubted(OTHER_CLIENT, CARE_OF, now),
            pinned(idle, CARE_OF, at(10), at(10)),
            elsewhere,
        ]
    });
    let failed = outputs.iter();
    let failed: Vec<_> = failed
        .filter(|(_, output)| !output.failed().is_empty())
        .collect();
    let [(when, output)] = failed[..] else {
        panic!("{failed:?}");
    };
    assert!(*when < millis(14_000));
    assert_eq!(output.failed(), [(CARE_OF, FailureCause::Unreachable, 3)]);
    assert_eq!(output.unbound(), [CLIENT, OTHER_CLIENT, idle]);
    assert_eq!(output.removed_flows().len(), 3, "what goes elsewhere stays");
    assert_eq!(bench.count(Counter::CareOfFailed), 1);
    assert_eq!(bench.count(Counter::BindingFailed), 3);

    // The pairs (A, C) follow when no flow can have been pinned in the last moment.
    let done = outputs.iter().flat_map(|(_, output)| &output.actions);
    let removed =
        done.filter(|action| matches!(action, Action::Map(MapAction::RemoveCareOf { .. })));
    assert_eq!(removed.count(), 3);
    let again = bench.bind(at(15), CLIENT, CARE_OF, 2);
    assert_eq!(again.changes(), [BindingChange::Created]);
}

#[test]
fn an_error_about_a_later_fragment_tells_of_the_address_as_well() {
    let mut bench = begun();
    let mut quoted = [0; 60];
    let fragment = ipv6::NEXT_HEADER_FRAGMENT;
    ipv6::header(&mut quoted, CLIENT, CARE_OF, fragment, 64, 20).unwrap();
    // UDP, at octet 1448 of the packet, identification 9.
    quoted[40..48].copy_from_slice(&[17, 0, 5, 0xa8, 0, 0, 0, 9]);
    let error = about(CLIENT, DESTINATION_UNREACHABLE, &quoted);
    bench.unreachable(at(11), &error);
    assert_eq!(bench.correspondent.deadline(), Some(at(11)));
}

#[test]
fn silence_of_all_flows_ends_the_binding_too() {
    let mut bench = begun();
    let failure = flows::Limits::default().failure;
    let mut now = at(10);
    let mut over = None;
    // The client tries on and on; the member binds and never answers.
    while now < at(10) + failure * 2 && over.is_none() {
        let sequence = u16::try_from(now.as_nanos() / 1_000_000_000).unwrap();
        bench.bind(now, CLIENT, CARE_OF, sequence);
        now += Duration::from_secs(1);
        let flow = pinned(CLIENT, CARE_OF, now, at(9));
        over = bench
            .sweep_if_due(now, &[flow])
            .filter(|output| !output.failed().is_empty());
    }
    let over = over.expect("it has failed");
    assert_eq!(over.failed(), [(CARE_OF, FailureCause::Silence, 1)]);
    assert_eq!(over.unbound(), [CLIENT]);
    // Its time, a sweep's delay before the silence was seen, and the second of this loop.
    let took = now - at(10);
    assert!(took >= failure && took <= failure + failure / 4 + Duration::from_secs(1));
    assert_eq!(bench.count(Counter::FlowUnanswered), 1);
}

#[test]
fn a_deletion_ends_the_binding_and_leaves_the_session() {
    let mut bench = begun();
    let peer = bench.peer(at(10));
    bench.update(at(10), &peer, peer.good(1));
    let deleted = bench.update(at(12), &peer, peer.deletion(2));
    assert_eq!(deleted.changes(), [BindingChange::Deleted]);
    let flow = pinned(CLIENT, CARE_OF, at(19), at(19));
    let swept = bench.sweep_if_due(at(20), &[flow]).unwrap();
    assert_eq!(swept.data_plane(), [], "the pair stays for the flow");
}

#[test]
fn errors_that_say_something_else_are_counted() {
    let mut bench = begun();
    bench.bind(at(10), CLIENT, CARE_OF, 1);
    let before = bench.correspondent.deadline();
    bench.unreachable(at(11), &error(CLIENT, CARE_OF, PACKET_TOO_BIG));
    let mut damaged = error(CLIENT, CARE_OF, DESTINATION_UNREACHABLE);
    damaged[90] ^= 1;
    bench.unreachable(at(11), &damaged);
    assert_eq!(bench.correspondent.deadline(), before);
    assert_eq!(bench.count(Counter::IcmpErrorInvalid), 2);
    assert_eq!(bench.correspondent.bindings(at(11)).len(), 1);
}

#[test]
fn a_flush_ends_the_bindings_that_it_names() {
    let rows = [
        (Selection::default(), 2),
        (
            Selection {
                client: Some(CLIENT),
                ..Selection::default()
            },
            1,
        ),
        (
            Selection {
                anycast: Some(ANYCAST),
                care_of: Some(OTHER_CARE_OF),
                ..Selection::default()
            },
            1,
        ),
        (
            Selection {
                client: Some(CLIENT),
                care_of: Some(OTHER_CARE_OF),
                ..Selection::default()
            },
            0,
        ),
        (
            Selection {
                anycast: Some(CARE_OF),
                ..Selection::default()
            },
            0,
        ),
    ];
    for (which, expected) in rows {
        let mut bench = begun();
        bench.bind(at(10), CLIENT, CARE_OF, 1);
        bench.bind(at(10), OTHER_CLIENT, OTHER_CARE_OF, 1);
        let mut actions = Vec::new();
        let ended = bench.correspondent.flush(at(11), &which, &mut actions);
        let output = Output { actions };
        assert_eq!((ended, output.unbound().len()), (expected, expected));
        assert_eq!(output.changes(), vec![BindingChange::Flushed; expected]);
        assert_eq!(
            bench.correspondent.bindings(at(11)).len(),
            2 - expected,
            "{which:?}"
        );
    }
}

#[test]
fn the_controller_hands_errors_to_the_correspondent() {
    let mut controller = controller::Controller::new(
        controller::Settings {
            correspondent: Some(settings()),
            ..controller::Settings::default()
        },
        at(10),
        Generator::seed_from_u64(1),
    );
    let mut actions = Vec::new();
    let octets = error(CLIENT, CARE_OF, DESTINATION_UNREACHABLE);
    let packet = |packet| controller::Input::Packet {
        kind: anycast_common::abi::event::kind::CARE_OF_UNREACHABLE,
        received: Received {
            ifindex: 1,
            mac: [0; 6],
            packet,
        },
    };
    controller.poll(at(10), &mut actions);
    let none = Arc::default();
    let (began, flows) = (at(10), &none);
    let read = controller::Input::Flows { began, flows };
    controller.handle(at(10), read, &mut actions);
    assert_eq!(actions, [Action::ReadFlows { soon: false }]);
    controller.handle(at(11), packet(&octets), &mut actions);
    assert_eq!(controller.deadline(), Some(at(11)));
    actions.clear();
    controller.poll(at(11), &mut actions);
    assert_eq!(actions, [Action::ReadFlows { soon: true }]);
    actions.clear();
    controller.handle(at(11), packet(&octets[..30]), &mut actions);
    let invalid = (Counter::IcmpErrorInvalid.name(), 1);
    assert!(controller.counters().contains(&invalid));
}
