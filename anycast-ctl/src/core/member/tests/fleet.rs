//! Several members of one group behind a hash, and the correspondent of their client, on one virtual
//! clock. Data of each flow comes to the member that the hash chose for it; what has no ports, so all
//! mobility messages and ICMPv6 errors to B, comes to one, whoever asked.

use std::collections::BTreeMap;

use anycast_common::wire::icmpv6;
use ipnet::Ipv6Net;
use proptest::prelude::*;

use super::{
    face_to_face::{fates, new_correspondent},
    *,
};
use crate::core::{correspondent::Correspondent, counters::Counter};

/// One copy of a packet arrives after each of these delays.
type Fate = Vec<Duration>;

fn care_of(member: usize) -> Ipv6Addr {
    Ipv6Addr::from_bits(CARE_OF.to_bits() + member as u128)
}

/// One of the members, and what its data plane was told.
struct Host {
    member: Member,
    quiet_until: Time,
    outcomes: Vec<HandshakeOutcome>,
}

struct Fleet {
    now: Time,
    hosts: Vec<Host>,
    /// None: the client knows nothing of the Mobility Header.
    correspondent: Option<Correspondent>,
    in_flight: BTreeMap<(Time, usize), Vec<u8>>,
    sent: usize,
    fates: Box<dyn FnMut(usize) -> Fate>,
    /// The member to which the hash takes what has no ports.
    hashed: usize,
    /// Packets from one member to another.
    handed_on: usize,
}

impl Fleet {
    fn new(members: usize, peers: &[&str], fates: impl FnMut(usize) -> Fate + 'static) -> Self {
        let peers: Vec<Ipv6Net> = peers.iter().map(|text| text.parse().unwrap()).collect();
        let host = |nth| {
            let mut settings = settings();
            settings.groups[0].care_of = Some(care_of(nth));
            settings.groups[0].peers = Peers::new(care_of(nth), peers.iter().copied()).unwrap();
            let rng = rr::Generator::seed_from_u64(nth as u64);
            let mut member = Member::new(settings, at(0), rng);
            member.join(at(0), ANYCAST, &mut Vec::new()).unwrap();
            Host {
                member,
                quiet_until: at(0),
                outcomes: Vec::new(),
            }
        };
        Self {
            now: at(0),
            hosts: (0..members).map(host).collect(),
            correspondent: Some(new_correspondent(at(0), 1)),
            in_flight: BTreeMap::new(),
            sent: 0,
            fates: Box::new(fates),
            hashed: 0,
            handed_on: 0,
        }
    }

    /// A link that delivers everything after 10 ms.
    fn perfect(members: usize, peers: &[&str]) -> Self {
        Self::new(members, peers, |_| vec![Duration::from_millis(10)])
    }

    /// A packet of the client comes to B at each of the members: it has many flows.
    fn client_packets(&mut self) {
        for nth in 0..self.hosts.len() {
            let host = &mut self.hosts[nth];
            if self.now < host.quiet_until {
                continue;
            }
            let mut actions = Vec::new();
            let member = &mut host.member;
            member.new_client(self.now, CLIENT, ANYCAST, &mut actions);
            self.carry_out(Some(nth), actions);
        }
    }

    fn send(&mut self, packet: &[u8]) {
        for delay in (self.fates)(self.sent) {
            let arrival = (self.now + delay, self.sent);
            self.in_flight.insert(arrival, packet.to_vec());
            self.sent += 1;
        }
        self.sent += 1;
    }

    fn carry_out(&mut self, from: Option<usize>, actions: Actions) {
        for action in actions {
            match action {
                Action::Send { packet, .. } => {
                    let to = ipv6::Packet::parse(&packet).unwrap().destination;
                    if from.is_some() && to != CLIENT {
                        self.handed_on += 1;
                    }
                    self.send(&packet);
                }
                Action::Map(MapAction::QuietClient { until, .. }) => {
                    self.hosts[from.unwrap()].quiet_until = until;
                }
                Action::Notice(Notice::Handshake { outcome, .. }) => {
                    self.hosts[from.unwrap()].outcomes.push(outcome);
                }
                _ => {}
            }
        }
    }

    fn deliver(&mut self, octets: &[u8]) {
        let packet = ipv6::Packet::parse(octets).unwrap();
        let mut actions = Vec::new();
        if packet.destination == CLIENT {
            return self.at_client(octets, &packet);
        }
        let at = match packet.destination {
            ANYCAST => self.hashed,
            other => usize::try_from(other.to_bits() - CARE_OF.to_bits()).unwrap(),
        };
        let member = &mut self.hosts[at].member;
        let received = received(octets);
        if packet.protocol == ipv6::NEXT_HEADER_ICMPV6 {
            member.icmp_error(self.now, &received, &packet, &mut actions);
        } else {
            let message = Message::parse(&packet);
            member.mobility(self.now, &received, &packet, message, &mut actions);
        }
        self.carry_out(Some(at), actions);
    }

    fn at_client(&mut self, octets: &[u8], packet: &ipv6::Packet<'_>) {
        let mut actions = Vec::new();
        match &mut self.correspondent {
            Some(correspondent) => {
                let message = Message::parse(packet);
                let received = received(octets);
                correspondent.mobility(self.now, &received, packet, message, &mut actions);
                self.carry_out(None, actions);
            }
            None => {
                let mut error = [0; icmpv6::MAX_ERROR_LEN];
                let (kind, code) = answers::UNRECOGNIZED;
                let to = packet.source;
                let length = icmpv6::error(&mut error, CLIENT, to, kind, code, 6, octets).unwrap();
                self.send(&error[..length]);
            }
        }
    }

    fn next(&self) -> Option<Time> {
        let arrival = self.in_flight.keys().next().map(|(time, _)| *time);
        let correspondent = self
            .correspondent
            .as_ref()
            .and_then(Correspondent::deadline);
        let members = self.hosts.iter().filter_map(|host| host.member.deadline());
        earliest(earliest(arrival, correspondent), members.min())
    }

    fn run_until(&mut self, end: Time) {
        while let Some(next) = self.next().filter(|next| *next <= end) {
            assert!(self.now <= next, "a timer was not dealt with");
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
            for nth in 0..self.hosts.len() {
                let mut actions = Vec::new();
                self.hosts[nth].member.poll(next, &mut actions);
                self.carry_out(Some(nth), actions);
            }
            let mut actions = Vec::new();
            if let Some(correspondent) = &mut self.correspondent {
                correspondent.poll(next, &mut actions);
            }
            self.carry_out(None, actions);
        }
        self.now = end;
    }

    /// The client sends to every member, twice a second.
    fn go_on_until(&mut self, seconds: u64) {
        while self.now < at(seconds * 1000) {
            self.client_packets();
            self.run_until(self.now + Duration::from_millis(500));
        }
    }

    fn count(&self, counter: Counter) -> Vec<u64> {
        let members = self.hosts.iter();
        members
            .map(|host| host.member.counters().get(counter))
            .collect()
    }

    fn outcomes(&self) -> Vec<Vec<HandshakeOutcome>> {
        self.hosts
            .iter()
            .map(|host| host.outcomes.clone())
            .collect()
    }
}

/// What all members list.
const PREFIX: &[&str] = &["2001:db8:c::/120"];

#[test]
fn every_member_behind_a_hash_binds_within_a_second() {
    let addresses = &[
        "2001:db8:c::1/128",
        "2001:db8:c::2/128",
        "2001:db8:c::3/128",
        "2001:db8:c::4/128",
    ];
    for members in [2, 4] {
        for peers in [PREFIX, &addresses[..members]] {
            for hashed in 0..members {
                let mut fleet = Fleet::perfect(members, peers);
                fleet.hashed = hashed;
                fleet.client_packets();
                fleet.run_until(at(1000));
                let bound = vec![vec![HandshakeOutcome::Bound]; members];
                assert_eq!(fleet.outcomes(), bound, "{members} {hashed}");
                let others = (members - 1) as u64;
                let tests = fleet.count(Counter::HomeTestHandedOn);
                assert_eq!(tests.iter().sum::<u64>(), others);
                assert_eq!(tests[hashed], others, "by one look-up, and one packet each");
                let not_ours = fleet.count(Counter::AckBadAuthenticator);
                assert_eq!(
                    not_ours.iter().sum::<u64>(),
                    0,
                    "nobody takes another one's"
                );
            }
        }
    }
}

#[test]
fn without_peers_only_one_of_them_does() {
    let mut fleet = Fleet::perfect(4, &[]);
    fleet.hashed = 2;
    fleet.client_packets();
    fleet.run_until(at(60_000));
    for (nth, outcomes) in fleet.outcomes().iter().enumerate() {
        let expected = match nth {
            2 => HandshakeOutcome::Bound,
            _ => HandshakeOutcome::NoAnswer,
        };
        assert_eq!(*outcomes, [expected], "{nth}");
    }
    assert_eq!(fleet.handed_on, 0);
}

#[test]
fn they_stay_bound_whatever_the_hash_does_meanwhile() {
    for members in [2, 4] {
        let mut fleet = Fleet::perfect(members, PREFIX);
        for step in 0..40 {
            fleet.hashed = (step * 3 / 2) % members;
            fleet.go_on_until(5 * (step as u64 + 1));
        }
        for outcomes in fleet.outcomes() {
            assert!(
                outcomes
                    .iter()
                    .all(|outcome| *outcome == HandshakeOutcome::Bound)
            );
            assert!(outcomes.len() >= 200 / 17, "{outcomes:?}");
        }
    }
}

#[test]
fn a_client_that_cannot_bind_tells_each_of_them() {
    // By errors about Home Test Inits alone: those about Care-of Test Inits go to their C anyway.
    let mut fleet = Fleet::new(4, PREFIX, |_| vec![Duration::from_millis(10)]);
    fleet.correspondent = None;
    fleet.client_packets();
    fleet.run_until(at(1000));
    let cannot = vec![vec![HandshakeOutcome::NotCapable]; 4];
    assert_eq!(fleet.outcomes(), cannot);
    assert_eq!(fleet.count(Counter::ErrorHandedOn), [3, 0, 0, 0]);
    assert_eq!(fleet.count(Counter::MobilityUnexpected), [0; 4]);
}

#[test]
fn a_member_that_left_still_hands_on() {
    let mut fleet = Fleet::perfect(2, PREFIX);
    let member = &mut fleet.hosts[0].member;
    member.leave(at(0), ANYCAST, &mut Vec::new()).unwrap();
    fleet.client_packets();
    fleet.run_until(at(1000));
    assert_eq!(fleet.outcomes(), [vec![], vec![HandshakeOutcome::Bound]]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_good_link_binds_them_all_in_the_end(
        members in 2usize..5,
        fates in fates(),
        moves in prop::collection::vec((0usize..4, 1u64..20), 1..10),
    ) {
        // After a bad start, in which packets are lost, doubled and overtaken and the hash changes, every
        // packet arrives.
        let mut nth = 0;
        let mut fleet = Fleet::new(members, PREFIX, move |_| {
            nth += 1;
            let delays = fates.get(nth - 1).cloned().unwrap_or_else(|| vec![20]);
            delays.into_iter().map(Duration::from_millis).collect()
        });
        let mut seconds = 0;
        for (hashed, stays) in moves {
            fleet.hashed = hashed % members;
            seconds += stays;
            fleet.go_on_until(seconds);
        }
        // The longest that they are left alone by then, and what is under way.
        fleet.go_on_until(seconds + 400);
        for outcomes in fleet.outcomes() {
            prop_assert_eq!(outcomes.last(), Some(&HandshakeOutcome::Bound));
        }
        // Everything ends by itself, and nothing goes round in circles.
        let before = fleet.sent;
        fleet.run_until(at(4_000_000));
        prop_assert_eq!(fleet.next(), None);
        prop_assert!(fleet.sent - before < 200, "{}", fleet.sent - before);
        for host in &fleet.hosts {
            prop_assert_eq!(host.member.handshakes(fleet.now), vec![]);
        }
    }
}
