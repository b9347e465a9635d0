//! The correspondent in virtual time, with a peer that does a member's part by hand so that it can
//! do it wrongly too.

#![allow(clippy::unwrap_used, reason = "a test may abort")]

mod answers;
mod failure;
mod fleet;
mod judging;
mod memory;
mod nonces;
mod offer;
mod periods;
mod replay;
mod room;
mod sweep;
mod trials;
mod triples;
mod updates;
mod views;

use std::{net::Ipv6Addr, sync::Arc, time::Duration};

use anycast_common::wire::{
    self, icmpv6, ipv6,
    mobility::{BindingAck, BindingUpdate, Flags, Message},
};
use rand::SeedableRng;

use super::{
    sequences::{Sequences, Tag},
    triple::Triple,
    *,
};
use crate::core::{
    Action, Actions, MapAction, Notice, Received, Time,
    counters::Counter,
    flows::{self, Use},
    notice::BindingChange,
    rate::Rate,
    rr::{self, Generator, Kbm, KeygenToken},
};

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
const ANYCAST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1);
const CARE_OF: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);
const OTHER_CARE_OF: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
const COOKIE: [u8; 8] = *b"a cookie";

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn settings() -> Settings {
    Settings {
        client_prefixes: vec!["2001:db8:a::/48".parse().unwrap()],
        max_bindings: 4,
        max_per_prefix: 4,
        max_per_member: 4,
        max_care_of: 4,
        allow: Vec::new(),
        limits: Limits::default(),
        flows: flows::Limits::default(),
        fleet: None,
    }
}

/// A token and the index of its nonce.
#[derive(Clone)]
struct Test {
    index: u16,
    token: KeygenToken,
}

/// What came out of one input.
#[derive(Debug)]
struct Output {
    actions: Actions,
}

impl Output {
    /// Whether the flows are wanted.
    fn reads_flows(&self) -> bool {
        let reads = |action: &Action| matches!(action, Action::ReadFlows { .. });
        self.actions.iter().any(reads)
    }

    /// The packets, parsed: source, destination, message.
    fn messages(&self) -> Vec<(Ipv6Addr, Ipv6Addr, Message)> {
        self.packets()
            .map(|packet| {
                let packet = ipv6::Packet::parse(packet).unwrap();
                let message = Message::parse(&packet).unwrap();
                (packet.source, packet.destination, message)
            })
            .collect()
    }

    fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.actions.iter().filter_map(|action| match action {
            Action::Send {
                ifindex: None,
                packet,
            } => Some(packet.as_slice()),
            Action::Send { .. } => panic!("{action:?}"),
            _ => None,
        })
    }

    /// The one acknowledgement.
    fn ack(&self) -> BindingAck {
        match self.messages().as_slice() {
            [(CLIENT, ANYCAST, Message::BindingAck(ack))] => *ack,
            other => panic!("{other:?}"),
        }
    }

    /// The node keys that the programs get, by their indices; `None` where they lose it.
    fn node_keys(&self) -> Vec<Option<(u16, Time)>> {
        let of_key = |action: &Action| match action {
            Action::Map(MapAction::SetNodeKey(key)) => Some(Some((key.index, key.until))),
            Action::Map(MapAction::RemoveNodeKey) => Some(None),
            _ => None,
        };
        self.actions.iter().filter_map(of_key).collect()
    }

    /// What the data plane is told, except for node keys.
    fn data_plane(&self) -> Vec<Action> {
        let of_data_plane = |action: &&Action| {
            let key = matches!(
                action,
                Action::Map(MapAction::SetNodeKey(_) | MapAction::RemoveNodeKey)
            );
            !key && !matches!(action, Action::Send { .. } | Action::Notice(_))
        };
        self.actions.iter().filter(of_data_plane).cloned().collect()
    }

    fn changes(&self) -> Vec<BindingChange> {
        self.actions
            .iter()
            .filter_map(|action| match action {
                Action::Notice(Notice::Binding { change, .. }) => Some(*change),
                _ => None,
            })
            .collect()
    }

    /// The counters by whose names refusals were told.
    fn refusals(&self) -> Vec<&'static str> {
        self.actions
            .iter()
            .filter_map(|action| match action {
                Action::Notice(Notice::MobilityRefused { reason, .. }) => Some(*reason),
                _ => None,
            })
            .collect()
    }

    #[track_caller]
    fn assert_silent(&self, counter: Counter) {
        assert_eq!(self.packets().count(), 0);
        assert_eq!(self.data_plane(), []);
        assert_eq!(self.refusals(), [counter.name()]);
    }
}

struct Bench {
    correspondent: Correspondent,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let rng = Generator::seed_from_u64(7);
        let mut bench = Self {
            correspondent: Correspondent::new(settings, at(0), rng),
        };
        // The sweep of what an earlier run has left; it goes on when a test gives the flows.
        assert_eq!(
            bench.poll(at(0)).actions,
            [Action::ReadFlows { soon: false }]
        );
        bench
    }

    fn octets(&mut self, now: Time, octets: &[u8]) -> Output {
        let packet = ipv6::Packet::parse(octets).unwrap();
        let message = Message::parse(&packet);
        let received = Received {
            ifindex: 1,
            mac: [0; 6],
            packet: octets,
        };
        let mut actions = Vec::new();
        self.correspondent
            .mobility(now, &received, &packet, message, &mut actions);
        Output { actions }
    }

    fn message(
        &mut self,
        now: Time,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        message: &Message,
    ) -> Output {
        let octets = rr::build(message, source, destination).unwrap();
        self.octets(now, &octets)
    }

    fn home_test(&mut self, now: Time) -> Test {
        self.home_test_of(now, CLIENT, ANYCAST)
    }

    fn home_test_of(&mut self, now: Time, client: Ipv6Addr, anycast: Ipv6Addr) -> Test {
        let init = Message::HomeTestInit { cookie: COOKIE };
        let output = self.message(now, anycast, client, &init);
        match output.messages().as_slice() {
            [
                (
                    from,
                    to,
                    Message::HomeTest {
                        nonce_index,
                        cookie: COOKIE,
                        token,
                    },
                ),
            ] if (*from, *to) == (client, anycast) => Test {
                index: *nonce_index,
                token: (*token).into(),
            },
            other => panic!("{other:?}"),
        }
    }

    fn care_of_test(&mut self, now: Time, care_of: Ipv6Addr) -> Test {
        self.care_of_test_of(now, CLIENT, care_of)
    }

    fn care_of_test_of(&mut self, now: Time, client: Ipv6Addr, care_of: Ipv6Addr) -> Test {
        let init = Message::CareOfTestInit { cookie: COOKIE };
        let output = self.message(now, care_of, client, &init);
        match output.messages().as_slice() {
            [
                (
                    from,
                    to,
                    Message::CareOfTest {
                        nonce_index,
                        cookie: COOKIE,
                        token,
                    },
                ),
            ] if (*from, *to) == (client, care_of) => Test {
                index: *nonce_index,
                token: (*token).into(),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Both tests at `now`.
    fn peer(&mut self, now: Time) -> Peer {
        self.peer_at(now, CARE_OF)
    }

    fn peer_at(&mut self, now: Time, care_of: Ipv6Addr) -> Peer {
        self.peer_of(now, CLIENT, ANYCAST, care_of)
    }

    fn peer_of(
        &mut self,
        now: Time,
        client: Ipv6Addr,
        anycast: Ipv6Addr,
        care_of: Ipv6Addr,
    ) -> Peer {
        Peer {
            client,
            anycast,
            care_of,
            home: self.home_test_of(now, client, anycast),
            care_of_test: self.care_of_test_of(now, client, care_of),
        }
    }

    fn update(&mut self, now: Time, peer: &Peer, update: BindingUpdate) -> Output {
        self.octets(now, &peer.sealed(update))
    }

    fn poll(&mut self, now: Time) -> Output {
        let mut actions = Vec::new();
        self.correspondent.poll(now, &mut actions);
        Output { actions }
    }

    fn count(&self, counter: Counter) -> u64 {
        self.correspondent.counters().get(counter)
    }
}

/// A member that has both tokens.
#[derive(Clone)]
struct Peer {
    client: Ipv6Addr,
    anycast: Ipv6Addr,
    care_of: Ipv6Addr,
    home: Test,
    care_of_test: Test,
}

impl Peer {
    fn binding_key(&self) -> Kbm {
        Kbm::binding(&self.home.token, &self.care_of_test.token)
    }

    /// A good update with this sequence number.
    fn good(&self, sequence: u16) -> BindingUpdate {
        BindingUpdate {
            sequence,
            flags: Flags::ACKNOWLEDGE | Flags::EQUIVALENT,
            lifetime: 1,
            alternate_care_of: Some(self.care_of),
            nonce_indices: Some((self.home.index, self.care_of_test.index)),
            authenticator: Some([0; 12]),
        }
    }

    /// A good deletion with this sequence number.
    fn deletion(&self, sequence: u16) -> BindingUpdate {
        BindingUpdate {
            lifetime: 0,
            alternate_care_of: None,
            nonce_indices: Some((self.home.index, 0)),
            ..self.good(sequence)
        }
    }

    /// A good deletion that names the member, as ours do.
    fn deletion_named(&self, sequence: u16) -> BindingUpdate {
        BindingUpdate {
            alternate_care_of: Some(self.care_of),
            ..self.deletion(sequence)
        }
    }

    /// The update with the authenticator that belongs to it.
    fn sealed(&self, update: BindingUpdate) -> Vec<u8> {
        let (key, care_of) = if update.lifetime == 0 {
            (Kbm::deletion(&self.home.token), self.anycast)
        } else {
            let care_of = update.alternate_care_of.unwrap_or(self.anycast);
            (self.binding_key(), care_of)
        };
        let message = Message::BindingUpdate(update);
        let mut octets = rr::build(&message, self.anycast, self.client).unwrap();
        if update.authenticator.is_some() {
            rr::seal(&key, care_of, self.client, &mut octets).unwrap();
        }
        octets
    }
}
