//! A member and a correspondent over a simulated link, on one virtual clock.

use std::collections::{BTreeMap, HashSet};

use anycast_common::wire::mobility::BindingAck;
use proptest::prelude::*;

use super::*;
use crate::core::{
    correspondent::{self, Correspondent},
    notice::BindingChange,
};

/// What the link does to a packet: one copy arrives after each of these delays.
type Fate = Vec<Duration>;

/// Both ends and the packets between them.
struct World {
    now: Time,
    member: Member,
    correspondent: Correspondent,
    /// By time of arrival and order of sending.
    in_flight: BTreeMap<(Time, usize), Vec<u8>>,
    sent: usize,
    fates: Box<dyn FnMut(usize) -> Fate>,
    outcomes: Vec<HandshakeOutcome>,
    changes: Vec<BindingChange>,
    acks: Vec<u8>,
    /// As the data plane of each end has it.
    bound_until: Option<Time>,
    quiet_until: Time,
}

impl World {
    fn new(seed: u64, fates: impl FnMut(usize) -> Fate + 'static) -> Self {
        let mut member = Member::new(settings(), at(0), rr::Generator::seed_from_u64(seed));
        member.join(at(0), ANYCAST, &mut Vec::new()).unwrap();
        Self {
            now: at(0),
            member,
            correspondent: new_correspondent(at(0), seed),
            in_flight: BTreeMap::new(),
            sent: 0,
            fates: Box::new(fates),
            outcomes: Vec::new(),
            changes: Vec::new(),
            acks: Vec::new(),
            bound_until: None,
            quiet_until: at(0),
        }
    }

    /// A link that delivers everything after 10 ms.
    fn perfect() -> Self {
        Self::new(1, |_| vec![Duration::from_millis(10)])
    }

    /// The client sends a packet to B: the data plane of the member reports it, unless it is bound
    /// or kept quiet.
    fn client_packet(&mut self) {
        let bound = self.bound_until.is_some_and(|until| self.now < until);
        if bound || self.now < self.quiet_until {
            return;
        }
        let mut actions = Vec::new();
        self.member
            .new_client(self.now, CLIENT, ANYCAST, &mut actions);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Actions) {
        for action in actions {
            match action {
                Action::Send { packet, .. } => {
                    for delay in (self.fates)(self.sent) {
                        let arrival = (self.now + delay, self.sent);
                        self.in_flight.insert(arrival, packet.clone());
                        self.sent += 1;
                    }
                    self.sent += 1;
                }
                Action::Map(MapAction::SetBinding {
                    care_of, expires, ..
                }) => {
                    assert_eq!(care_of, CARE_OF);
                    assert_eq!(expires.since(self.now), Duration::from_secs(16));
                    self.bound_until = Some(expires);
                }
                Action::Map(MapAction::RemoveBinding { .. }) => self.bound_until = None,
                Action::Map(MapAction::QuietClient { until, .. }) => self.quiet_until = until,
                Action::Notice(Notice::Handshake { outcome, .. }) => self.outcomes.push(outcome),
                Action::Notice(Notice::Binding { change, .. }) => self.changes.push(change),
                _ => {}
            }
        }
    }

    fn deliver(&mut self, octets: &[u8]) {
        let packet = ipv6::Packet::parse(octets).unwrap();
        let message = Message::parse(&packet);
        let mut actions = Vec::new();
        if packet.destination == CLIENT {
            self.correspondent.mobility(
                self.now,
                &received(octets),
                &packet,
                message,
                &mut actions,
            );
        } else {
            if let Ok(Message::BindingAck(BindingAck { status, .. })) = message {
                self.acks.push(status);
            }
            self.member
                .mobility(self.now, &received(octets), &packet, message, &mut actions);
        }
        self.carry_out(actions);
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let arrival = self.in_flight.keys().next().map(|(time, _)| *time);
        let deadlines = earliest(self.member.deadline(), self.correspondent.deadline());
        earliest(arrival, deadlines)
    }

    /// Lets everything happen until `end`.
    fn run_until(&mut self, end: Time) {
        while let Some(next) = self.next().filter(|next| *next <= end) {
            assert!(
                self.now <= next,
                "time goes backwards: a timer was not dealt with"
            );
            self.now = next;
            if let Some(entry) = self
                .in_flight
                .first_entry()
                .filter(|entry| entry.key().0 <= next)
            {
                let octets = entry.remove();
                self.deliver(&octets);
                continue;
            }
            let mut actions = Vec::new();
            self.member.poll(next, &mut actions);
            self.correspondent.poll(next, &mut actions);
            self.carry_out(actions);
            assert!(
                self.next()
                    .is_none_or(|after| after > next || !self.in_flight.is_empty())
            );
        }
        self.now = end;
    }

    fn view(&self) -> Vec<correspondent::BindingView> {
        self.correspondent.bindings(self.now)
    }
}

pub(super) fn new_correspondent(now: Time, seed: u64) -> Correspondent {
    let settings = correspondent::Settings {
        client_prefixes: vec!["2001:db8:a::/48".parse().unwrap()],
        max_bindings: 100,
        max_per_prefix: 100,
        max_per_member: 100,
        max_care_of: 100,
        allow: Vec::new(),
        limits: correspondent::Limits::default(),
        flows: crate::core::flows::Limits::default(),
        fleet: None,
    };
    Correspondent::new(settings, now, rr::Generator::seed_from_u64(seed + 1000))
}

#[test]
fn a_perfect_link_binds_in_two_round_trips() {
    let mut world = World::perfect();
    world.client_packet();
    world.run_until(at(30));
    assert_eq!(world.view().len(), 1, "the update takes three ways");
    assert_eq!(world.outcomes, []);
    world.run_until(at(40));
    assert_eq!(world.outcomes, [HandshakeOutcome::Bound]);
    assert_eq!(world.acks, [0]);
    assert_eq!(world.sent, 12, "six messages, each sent and arrived");
    // Both ends agree, the member being the one that stops first.
    assert_eq!(world.bound_until, Some(at(16_030)));
    assert_eq!(world.quiet_until, at(12_020));
    world.run_until(at(16_030));
    assert_eq!(
        world.changes,
        [BindingChange::Created, BindingChange::Expired]
    );
    world.run_until(at(600_000));
    assert_eq!(world.next(), None, "no timer is left");
}

#[test]
fn a_client_that_goes_on_is_bound_again_and_again() {
    let mut world = World::perfect();
    for packet in 0..1000 {
        world.run_until(at(packet * 100));
        world.client_packet();
    }
    let bound = world.outcomes.len();
    assert!(
        world
            .outcomes
            .iter()
            .all(|outcome| *outcome == HandshakeOutcome::Bound)
    );
    // 100 seconds; each binding lives 16 and a bit, for what is sent meanwhile goes to C: then routing has its say.
    assert_eq!(bound, 7);
    assert!(world.acks.iter().all(|status| *status == 0));
}

#[test]
fn members_of_one_group_take_turns_by_status_135() {
    // A second member knows nothing of the first one's sequence numbers.
    let mut tried = HashSet::new();
    for seed in 0..20 {
        let mut world = World::perfect();
        world.client_packet();
        world.run_until(at(1000));
        let mut second = Member::new(settings(), at(0), rr::Generator::seed_from_u64(seed));
        second.join(at(0), ANYCAST, &mut Vec::new()).unwrap();
        world.member = second;
        world.bound_until = None;
        world.quiet_until = at(0);
        world.client_packet();
        world.run_until(at(2000));
        assert_eq!(world.outcomes, [HandshakeOutcome::Bound; 2]);
        tried.insert(world.acks.clone());
    }
    // Half of the random numbers are not after the other one's.
    assert_eq!(tried, HashSet::from([vec![0, 0], vec![0, 135, 0]]));
}

#[test]
fn a_restarted_correspondent_is_bound_by_a_new_round() {
    let mut world = World::perfect();
    world.client_packet();
    world.run_until(at(25));
    // Its nonces are lost while the update is under way.
    world.correspondent = new_correspondent(world.now, 77);
    world.run_until(at(1000));
    assert_eq!(world.acks, [138, 0]);
    assert_eq!(world.outcomes, [HandshakeOutcome::Bound]);
}

#[test]
fn leaving_lets_the_binding_expire_and_shutting_down_deletes_it() {
    for (shutdown, end, last) in [
        (false, 16_100, BindingChange::Expired),
        (true, 1010, BindingChange::Deleted),
    ] {
        let mut world = World::perfect();
        world.client_packet();
        world.run_until(at(1000));
        assert_eq!(world.view().len(), 1);
        let mut actions = Vec::new();
        if shutdown {
            world.member.shutdown(world.now, &mut actions);
        } else {
            let left = world.member.leave(world.now, ANYCAST, &mut actions);
            assert_eq!(left, Ok(false));
        }
        world.carry_out(actions);
        if !shutdown {
            world.run_until(at(16_000));
            assert_eq!(world.view().len(), 1);
        }
        world.run_until(at(end));
        assert_eq!(world.view(), []);
        assert_eq!(world.changes, [BindingChange::Created, last]);
    }
}

#[test]
fn a_link_that_is_cut_is_given_up() {
    let mut world = World::new(1, |_| Vec::new());
    world.client_packet();
    world.run_until(at(600_000));
    assert_eq!(world.outcomes, [HandshakeOutcome::NoAnswer]);
    assert_eq!(world.next(), None);
    assert_eq!(world.sent, 8);
}

#[test]
fn answers_that_are_lost_are_asked_for_again() {
    // Each message of the exchange is lost once, one after the other.
    for lost in 0..6 {
        let mut copies = 0;
        let mut world = World::new(1, move |_| {
            copies += 1;
            if copies - 1 == lost {
                Vec::new()
            } else {
                vec![Duration::from_millis(10)]
            }
        });
        world.client_packet();
        world.run_until(at(15_000));
        assert_eq!(world.outcomes, [HandshakeOutcome::Bound], "{lost}");
        assert_eq!(world.view().len(), 1, "{lost}");
    }
}

/// Loses, duplicates and reorders: per packet a few copies with delays of up to two seconds.
pub(super) fn fates() -> impl Strategy<Value = Vec<Vec<u64>>> {
    let copies = prop_oneof![
        3 => Just(Vec::new()),
        5 => prop::collection::vec(1u64..50, 1),
        3 => prop::collection::vec(1u64..2000, 1..3),
    ];
    prop::collection::vec(copies, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn either_both_ends_are_bound_or_the_client_is_given_up(fates in fates(), seed: u64) {
        let seed = seed % 1_000_000;
        let mut nth = 0;
        let mut world = World::new(seed, move |_| {
            nth += 1;
            let delays = &fates[(nth - 1) % fates.len()];
            delays.iter().copied().map(Duration::from_millis).collect()
        });
        world.client_packet();
        // Two phases of 15 seconds, three rounds.
        while world.outcomes.is_empty() && world.now < at(100_000) {
            let next = world.next().unwrap_or(at(100_000));
            world.run_until(next);
        }
        prop_assert_eq!(world.outcomes.len(), 1, "it comes to an end");
        match world.outcomes[0] {
            HandshakeOutcome::Bound => {
                // A late answer may find the binding over, never one that was not made.
                prop_assert!(world.changes.contains(&BindingChange::Created));
                prop_assert!(
                    world.bound_until.is_none_or(|until| until >= world.quiet_until),
                    "the member stops first"
                );
            }
            HandshakeOutcome::NoAnswer => {
                prop_assert!(world.quiet_until >= world.now + Duration::from_secs(15));
            }
            // Duplicates that overtake each other look like old sequence numbers.
            HandshakeOutcome::Left => prop_assert!(false, "nobody left"),
            HandshakeOutcome::Refused(status) => prop_assert_eq!(status, 135),
            HandshakeOutcome::NotCapable => prop_assert!(false),
        }
        prop_assert!(world.acks.iter().all(|status| matches!(status, 0 | 135)));
        prop_assert_eq!(world.member.counters().get(Counter::AckBadAuthenticator), 0);
        // Everything ends by itself.
        world.run_until(at(4_000_000));
        prop_assert_eq!(world.next(), None);
        prop_assert_eq!(world.view(), vec![]);
        prop_assert_eq!(world.member.handshakes(world.now), vec![]);
        prop_assert_eq!(world.outcomes.len(), 1);
    }

}

proptest! {
    #![proptest_config(ProptestConfig {
        // Each is more than an hour of virtual time.
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn with_a_client_that_goes_on_a_good_link_binds_in_the_end(fates in fates(), seed: u64) {
        // After a bad start every packet arrives.
        let seed = seed % 1_000_000;
        let mut nth = 0;
        let mut world = World::new(seed, move |_| {
            nth += 1;
            let delays = fates.get(nth - 1).cloned().unwrap_or_else(|| vec![20]);
            delays.into_iter().map(Duration::from_millis).collect()
        });
        // The losses last for five failures at most, each of 15 seconds, whose back-offs are 180 together.
        for packet in 0..100 {
            world.run_until(at(packet * 5000));
            world.client_packet();
        }
        prop_assert!(world.outcomes.contains(&HandshakeOutcome::Bound));
        prop_assert_eq!(world.outcomes.last(), Some(&HandshakeOutcome::Bound));
    }
}
