//! The router in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may abort")]

mod discovery;
mod election;
mod hold;
mod links;
mod listening;
mod membership;
mod neighbours;
mod page;
mod policy;
mod polite;
mod random;
mod reconfigure;
mod routes;
mod scale;
mod timers;
mod transitions;

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::wire::{
    ipv6,
    mld::{self, RouterAlert, Version},
};

use rand::SeedableRng as _;

use super::{
    GeneralQueries, GroupState, GroupView, LinkSettings, LinkView, NextHopChoice, Policy, Router,
    Rule, Settings,
};
use crate::core::{
    Action, Link, NextHop, Notice, Received, RouteAction, Time, counters::Counter,
    notice::LeaveCause, rr::Generator,
};

/// Interface indices of the two links that tests have.
const LAN: u32 = 2;
const DMZ: u32 = 3;

/// The router's link-local address on both. Others have lower and higher ones.
const OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x50);
const LOWER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10);
const LOWEST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x01);
const HIGHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x90);

/// Members.
const M1: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa1);
const M2: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa2);
const M3: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa3);

/// Anycast addresses.
const B1: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xb1);
const B2: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xb2);
const B3: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xb3);

/// Multicast Listener Interval, Other Querier Present Interval and the time of a check, from the
/// defaults of RFC 2710 section 7, worked out by hand.
const LISTENER: Duration = Duration::from_secs(260);
const OTHER_QUERIER: Duration = Duration::from_secs(255);
const CHECK: Duration = Duration::from_secs(2);
const QUERY: Duration = Duration::from_secs(125);
const TICK: Duration = Duration::from_millis(1);

const SECOND: Duration = Duration::from_secs(1);

/// How long a polite Querier listens at first, and its startup Queries after that.
const LISTENING: Duration = Duration::from_secs(3);
const STARTUP: [(Duration, Sent); 2] = [
    (LISTENING, Sent::General(LAN)),
    (Duration::from_millis(34_250), Sent::General(LAN)),
];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A rule that lets everybody in.
fn everybody() -> Rule {
    Rule {
        interface: None,
        source: "fe80::/10".parse().unwrap(),
        mac: None,
        anycast: "2001:db8::/32".parse().unwrap(),
        allow: true,
        max_members_per_group: None,
        max_groups_per_member: None,
    }
}

fn settings() -> Settings {
    Settings {
        links: vec![LinkSettings::new("lan"), LinkSettings::new("dmz")],
        policy: Policy::new(vec![everybody()]),
        next_hops: NextHopChoice::All,
    }
}

fn link(ifindex: u32) -> Link {
    Link {
        ifindex,
        name: if ifindex == LAN { "lan" } else { "dmz" }.to_owned(),
        up: true,
        link_local: Some(OWN),
    }
}

/// The MAC address of a host.
fn mac(source: Ipv6Addr) -> [u8; 6] {
    let [.., last] = source.octets();
    [2, 0, 0, 0, 0, last]
}

/// What a router sent, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sent {
    General(u32),
    Specific(u32, Ipv6Addr),
}

/// Reads a sent packet with the parser of the other side, and checks what each must be.
fn sent(ifindex: u32, packet: &[u8]) -> Sent {
    let packet = ipv6::Packet::parse(packet).unwrap();
    let message = mld::Message::parse(&packet, RouterAlert::Required).unwrap();
    let mld::Message::Query(query) = message else {
        panic!("a router sends nothing but Queries: {message:?}");
    };
    assert_eq!(query.version, Version::V1);
    if query.address.is_unspecified() {
        assert_eq!(packet.destination, ipv6::ALL_NODES);
        assert_eq!(query.max_response_delay, seconds(10));
        Sent::General(ifindex)
    } else {
        assert_eq!(packet.destination, ipv6::solicited_node(query.address));
        assert_eq!(query.max_response_delay, Duration::ZERO);
        Sent::Specific(ifindex, query.address)
    }
}

/// A router and its clock.
struct World {
    router: Router,
    now: Time,
    /// Actions since the last [`World::take`].
    actions: Vec<(Time, Action)>,
}

impl World {
    /// Both links are known and down.
    fn new(settings: Settings) -> Self {
        Self {
            router: Router::new(settings, Time::ZERO, Generator::seed_from_u64(1)),
            now: Time::ZERO,
            actions: Vec::new(),
        }
    }

    /// The LAN is up, and startup is over.
    fn running(settings: Settings) -> Self {
        let mut world = Self::new(settings);
        world.link(&link(LAN));
        world.advance(seconds(40));
        world.take();
        world
    }

    /// The same as Non-Querier.
    fn quiet(settings: Settings) -> Self {
        let mut world = Self::running(settings);
        world.query(LOWER);
        world.take();
        world
    }

    fn step(&mut self, step: impl FnOnce(&mut Router, Time, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        step(&mut self.router, self.now, &mut actions);
        self.actions
            .extend(actions.into_iter().map(|action| (self.now, action)));
    }

    fn link(&mut self, link: &Link) {
        self.step(|router, now, actions| router.link(now, link, actions));
    }

    fn gone(&mut self, ifindex: u32) {
        self.step(|router, now, actions| router.link_gone(now, ifindex, actions));
    }

    fn message(&mut self, ifindex: u32, source: Ipv6Addr, message: mld::Message) {
        self.message_from(ifindex, mac(source), source, message);
    }

    fn message_from(
        &mut self,
        ifindex: u32,
        mac: [u8; 6],
        source: Ipv6Addr,
        message: mld::Message,
    ) {
        let received = Received {
            ifindex,
            mac,
            packet: &[],
        };
        self.step(|router, now, actions| router.mld(now, &received, source, message, actions));
    }

    fn report(&mut self, source: Ipv6Addr, address: Ipv6Addr) {
        self.message(LAN, source, mld::Message::Report { address });
    }

    fn done(&mut self, source: Ipv6Addr, address: Ipv6Addr) {
        self.message(LAN, source, mld::Message::Done { address });
    }

    /// A General Query of another MLDv1 router.
    fn query(&mut self, source: Ipv6Addr) {
        self.query_about(source, Ipv6Addr::UNSPECIFIED, seconds(10));
    }

    fn query_about(&mut self, source: Ipv6Addr, address: Ipv6Addr, delay: Duration) {
        let query = mld::Query {
            max_response_delay: delay,
            address,
            version: Version::V1,
        };
        self.message(LAN, source, mld::Message::Query(query));
    }

    /// A General Query of an MLDv2 querier with the defaults of RFC 3810.
    fn query_v2(&mut self, source: Ipv6Addr) {
        self.query_v2_about(source, Ipv6Addr::UNSPECIFIED);
    }

    /// The same about a group, which is to answer within a second, or about everything.
    fn query_v2_about(&mut self, source: Ipv6Addr, address: Ipv6Addr) {
        let query = mld::Query {
            max_response_delay: if address.is_unspecified() {
                seconds(10)
            } else {
                SECOND
            },
            address,
            version: Version::V2 {
                suppress: false,
                robustness: 2,
                interval: QUERY,
            },
        };
        self.message(LAN, source, mld::Message::Query(query));
    }

    fn policy(&mut self, rules: Vec<Rule>) {
        let policy = Policy::new(rules);
        self.step(|router, now, actions| router.set_policy(now, policy, actions));
    }

    /// Lets time pass, and polls at every deadline as the shell does.
    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.router.deadline().filter(|time| *time <= end) {
            assert!(
                deadline > self.now || self.now == Time::ZERO,
                "a deadline in the past"
            );
            self.now = deadline;
            self.step(Router::poll);
        }
        self.now = end;
    }

    /// Actions since the last call.
    fn take(&mut self) -> Vec<Action> {
        self.actions.drain(..).map(|(_, action)| action).collect()
    }

    /// Queries since the last call, with their time since `start`; other actions are dropped.
    fn take_sent(&mut self, start: Time) -> Vec<(Duration, Sent)> {
        self.actions
            .drain(..)
            .filter_map(|(time, action)| match action {
                Action::Send { ifindex, packet } => {
                    Some((time - start, sent(ifindex.unwrap(), &packet)))
                }
                _ => None,
            })
            .collect()
    }

    /// Notices since the last call; other actions are dropped.
    fn take_notices(&mut self) -> Vec<Notice> {
        self.actions
            .drain(..)
            .filter_map(|(_, action)| match action {
                Action::Notice(notice) => Some(notice),
                _ => None,
            })
            .collect()
    }

    /// Route actions since the last call; other actions are dropped.
    fn take_routes(&mut self) -> Vec<(Ipv6Addr, Vec<NextHop>)> {
        self.actions
            .drain(..)
            .filter_map(|(_, action)| match action {
                Action::Route(RouteAction::Set { anycast, next_hops }) => {
                    Some((anycast, next_hops))
                }
                Action::Route(RouteAction::Remove { anycast }) => Some((anycast, Vec::new())),
                _ => None,
            })
            .collect()
    }

    fn group(&self, address: Ipv6Addr) -> Option<GroupView> {
        self.router
            .groups(self.now)
            .into_iter()
            .find(|group| group.group == address)
    }

    fn state(&self, address: Ipv6Addr) -> Option<GroupState> {
        self.group(address).map(|group| group.state)
    }

    fn members(&self, address: Ipv6Addr) -> Vec<Ipv6Addr> {
        self.group(address)
            .map(|group| group.members.iter().map(|member| member.address).collect())
            .unwrap_or_default()
    }

    /// Time left to a member.
    fn left(&self, address: Ipv6Addr, member: Ipv6Addr) -> Option<Duration> {
        let group = self.group(address)?;
        let member = group.members.iter().find(|view| view.address == member)?;
        Some(member.expires_in)
    }

    fn lan(&self) -> LinkView {
        self.router.links(self.now).swap_remove(0)
    }

    fn count(&self, counter: Counter) -> u64 {
        self.router.counters().get(counter)
    }
}

fn via(member: Ipv6Addr) -> NextHop {
    NextHop {
        via: Some(member),
        ifindex: LAN,
    }
}

fn joined(anycast: Ipv6Addr, member: Ipv6Addr) -> Action {
    Action::Notice(Notice::MemberJoined {
        ifindex: LAN,
        anycast,
        member,
        rule: 0,
    })
}

fn left(anycast: Ipv6Addr, member: Ipv6Addr, cause: LeaveCause) -> Action {
    Action::Notice(Notice::MemberLeft {
        ifindex: LAN,
        anycast,
        member,
        cause,
    })
}

fn with(general_queries: GeneralQueries) -> Settings {
    let mut settings = settings();
    settings.links[0].general_queries = general_queries;
    settings
}
