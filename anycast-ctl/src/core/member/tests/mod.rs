//! The member in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may abort")]

mod acks;
mod amplification;
mod answers;
mod face_to_face;
mod fleet;
mod hand_on;
mod handshake;
mod health;
mod left_alone;
mod limits;
mod listener;
mod membership;
mod neighbor;
mod reconfigure;
mod views;

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::wire::{
    ipv6, mld,
    mobility::{BindingUpdate, Message},
};
use rand::SeedableRng;

use super::*;
use crate::core::{
    Action, Actions, CheckAction, Link, MapAction, Notice, Received, Time, counters::Counter,
    time::earliest,
};
use crate::core::{
    notice::HandshakeOutcome,
    rate::Rate,
    rr::{self, Cookie, Kbm, KeygenToken},
};

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
const ANYCAST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1);
const CARE_OF: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);
/// An address that shares the solicited-node group of [`ANYCAST`], and is never bound.
const PLAIN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xff);

fn at(milliseconds: u64) -> Time {
    Time::ZERO + Duration::from_millis(milliseconds)
}

fn settings() -> Settings {
    Settings {
        groups: vec![
            GroupSettings {
                anycast: ANYCAST,
                care_of: Some(CARE_OF),
                peers: Peers::default(),
                interfaces: vec!["eth0".into(), "eth1".into()],
                health: None,
            },
            GroupSettings {
                anycast: PLAIN,
                care_of: None,
                peers: Peers::default(),
                interfaces: vec!["eth0".into()],
                health: None,
            },
        ],
        listener: ListenerTimers::default(),
        handshake: HandshakeSettings::default(),
    }
}

fn link(ifindex: u32, name: &str) -> Link {
    Link {
        ifindex,
        name: name.into(),
        up: true,
        link_local: Some(LINK_LOCAL),
    }
}

fn received(packet: &[u8]) -> Received<'_> {
    Received {
        ifindex: 1,
        mac: [0; 6],
        packet,
    }
}

/// A mobility message that the member sent.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: Message,
    octets: Vec<u8>,
}

/// What came out of one input.
#[derive(Debug, PartialEq)]
struct Output(Actions);

impl Output {
    fn mobility(&self) -> Vec<Sent> {
        let parse = |octets: &Vec<u8>| {
            let packet = ipv6::Packet::parse(octets).unwrap();
            Sent {
                source: packet.source,
                destination: packet.destination,
                message: Message::parse(&packet).unwrap(),
                octets: octets.clone(),
            }
        };
        self.0
            .iter()
            .filter_map(|action| match action {
                Action::Send {
                    ifindex: None,
                    packet,
                } => Some(parse(packet)),
                _ => None,
            })
            .collect()
    }

    /// MLD messages: interface, source, destination, message.
    fn mld(&self) -> Vec<(u32, Ipv6Addr, Ipv6Addr, mld::Message)> {
        let parse = |ifindex: u32, octets: &[u8]| {
            let packet = ipv6::Packet::parse(octets).unwrap();
            let message = mld::Message::parse(&packet, mld::RouterAlert::Required).unwrap();
            (ifindex, packet.source, packet.destination, message)
        };
        self.0
            .iter()
            .filter_map(|action| match action {
                Action::Send {
                    ifindex: Some(ifindex),
                    packet,
                } => Some(parse(*ifindex, packet)),
                _ => None,
            })
            .collect()
    }

    /// Until when the client is kept quiet, by the last word.
    fn quiet(&self) -> Option<Time> {
        self.0.iter().rev().find_map(|action| match action {
            Action::Map(MapAction::QuietClient {
                client: CLIENT,
                anycast: ANYCAST,
                until,
            }) => Some(*until),
            _ => None,
        })
    }

    /// Until when the client's flows may be led to C, by the last word.
    fn lead(&self) -> Option<Time> {
        self.0.iter().rev().find_map(|action| match action {
            Action::Map(MapAction::LeadClient {
                client: CLIENT,
                anycast: ANYCAST,
                care_of: CARE_OF,
                until,
            }) => Some(*until),
            _ => None,
        })
    }

    fn outcome(&self) -> Option<HandshakeOutcome> {
        self.0.iter().find_map(|action| match action {
            Action::Notice(Notice::Handshake {
                client: CLIENT,
                anycast: ANYCAST,
                outcome,
            }) => Some(*outcome),
            _ => None,
        })
    }

    /// The cookies of a Home and a Care-of Test Init, which are all that was sent.
    #[track_caller]
    fn cookies(&self) -> (Cookie, Cookie) {
        match self.mobility().as_slice() {
            [home, care_of] => match (&home.message, &care_of.message) {
                (
                    Message::HomeTestInit { cookie: first },
                    Message::CareOfTestInit { cookie: second },
                ) => {
                    assert_eq!((home.source, home.destination), (ANYCAST, CLIENT));
                    assert_eq!((care_of.source, care_of.destination), (CARE_OF, CLIENT));
                    (*first, *second)
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// The one Binding Update that was sent, and its packet.
    #[track_caller]
    fn update(&self) -> (BindingUpdate, Vec<u8>) {
        match self.mobility().as_slice() {
            [
                Sent {
                    source: ANYCAST,
                    destination: CLIENT,
                    message: Message::BindingUpdate(update),
                    octets,
                },
            ] => (*update, octets.clone()),
            other => panic!("{other:?}"),
        }
    }
}

struct Bench(Member);

impl Bench {
    /// A member of [`ANYCAST`] without interfaces: handshakes need none.
    fn joined() -> Self {
        Self::with(settings())
    }

    fn with(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.run(|member, actions| member.join(at(0), ANYCAST, actions).unwrap());
        bench
    }

    fn new(settings: Settings) -> Self {
        Self(Member::new(
            settings,
            at(0),
            rr::Generator::seed_from_u64(5),
        ))
    }

    fn run<R>(&mut self, step: impl FnOnce(&mut Member, &mut Actions) -> R) -> Output {
        let mut actions = Vec::new();
        step(&mut self.0, &mut actions);
        Output(actions)
    }

    fn poll(&mut self, now: Time) -> Output {
        self.run(|member, actions| member.poll(now, actions))
    }

    /// Nothing happens before this time, and then a timer is due.
    fn due(&mut self, milliseconds: u64) {
        assert_eq!(self.poll(at(milliseconds - 1)), Output(vec![]));
        assert_eq!(self.0.deadline(), Some(at(milliseconds)));
    }

    fn packet_of(&mut self, now: Time, client: Ipv6Addr) -> Output {
        self.run(|member, actions| member.new_client(now, client, ANYCAST, actions))
    }

    fn octets(&mut self, now: Time, octets: &[u8]) -> Output {
        let packet = ipv6::Packet::parse(octets).unwrap();
        let message = Message::parse(&packet);
        let received = received(octets);
        self.run(|member, actions| member.mobility(now, &received, &packet, message, actions))
    }

    fn message(&mut self, now: Time, source: Ipv6Addr, to: Ipv6Addr, message: Message) -> Output {
        let octets = rr::build(&message, source, to).unwrap();
        self.octets(now, &octets)
    }

    fn home_test(&mut self, now: Time, cookie: Cookie) -> Output {
        let message = Message::HomeTest {
            nonce_index: 3,
            cookie,
            token: HOME_TOKEN,
        };
        self.message(now, CLIENT, ANYCAST, message)
    }

    fn care_of_test(&mut self, now: Time, cookie: Cookie) -> Output {
        let message = Message::CareOfTest {
            nonce_index: 4,
            cookie,
            token: CARE_OF_TOKEN,
        };
        self.message(now, CLIENT, CARE_OF, message)
    }

    /// Both tests at `now`; gives the output with the Binding Update.
    fn tested(&mut self, now: Time) -> Output {
        let (home, care_of) = self.packet_of(now, CLIENT).cookies();
        self.home_test(now, home);
        self.care_of_test(now, care_of)
    }

    fn count(&self, counter: Counter) -> u64 {
        self.0.counters().get(counter)
    }

    fn state(&self) -> Option<HandshakeState> {
        let views = self.0.handshakes(at(0));
        let view = views.iter().find(|view| view.client == CLIENT);
        view.map(|view| view.state)
    }
}

const HOME_TOKEN: [u8; 8] = *b"home tok";
const CARE_OF_TOKEN: [u8; 8] = *b"care tok";

/// The key that both tests give.
fn key() -> Kbm {
    Kbm::binding(
        &KeygenToken::from(HOME_TOKEN),
        &KeygenToken::from(CARE_OF_TOKEN),
    )
}
