//! A machine with every role, and the packets that it gets.

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::wire::{
    ipv6,
    mld::{self, RouterAlert},
    mobility::Message,
};
use rand::SeedableRng;

use super::super::*;
use crate::core::{
    Received,
    correspondent::Limits,
    flows,
    member::{GroupSettings, HandshakeSettings, ListenerTimers},
    router::{LinkSettings, NextHopChoice, Rule},
};

pub(super) const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100);
pub(super) const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
pub(super) const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
pub(super) const ELSEWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
pub(super) const S1: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11);
pub(super) const LAN0: u32 = 3;
pub(super) const ETH0: u32 = 4;

pub(super) fn settings() -> Settings {
    let any = "::/0".parse().expect("a prefix");
    Settings {
        router: Some(router::Settings {
            links: vec![LinkSettings::new("lan0")],
            policy: Policy::new(vec![Rule {
                interface: None,
                source: any,
                mac: None,
                anycast: any,
                allow: true,
                max_members_per_group: None,
                max_groups_per_member: None,
            }]),
            next_hops: NextHopChoice::All,
        }),
        member: Some(member::Settings {
            groups: vec![GroupSettings {
                anycast: B,
                care_of: Some(C),
                peers: member::Peers::default(),
                interfaces: vec!["eth0".into()],
                health: None,
            }],
            listener: ListenerTimers::default(),
            handshake: HandshakeSettings::default(),
        }),
        correspondent: Some(correspondent::Settings {
            client_prefixes: vec!["2001:db8:1::/64".parse().expect("a prefix")],
            max_bindings: 10,
            max_per_prefix: 10,
            max_per_member: 10,
            max_care_of: 10,
            allow: Vec::new(),
            limits: Limits::default(),
            flows: flows::Limits::default(),
            fleet: None,
        }),
        router_alert: RouterAlert::Required,
    }
}

/// A machine with the interfaces lan0 (router) and eth0 (member).
pub(super) struct Machine {
    pub(super) controller: Controller,
    pub(super) now: Time,
    pub(super) actions: Actions,
}

impl Machine {
    pub(super) fn new(settings: Settings) -> Self {
        let mut machine = Self {
            controller: Controller::new(settings, Time::ZERO, Generator::seed_from_u64(1)),
            now: Time::ZERO + Duration::from_secs(1),
            actions: Actions::new(),
        };
        for (ifindex, name) in [(LAN0, "lan0"), (ETH0, "eth0")] {
            machine.handle(Input::Link(Link {
                ifindex,
                name: name.into(),
                up: true,
                link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
            }));
        }
        // The correspondent waits for the flows of an earlier run.
        machine.controller.poll(machine.now, &mut machine.actions);
        machine.actions.clear();
        machine
    }

    pub(super) fn handle(&mut self, input: Input<'_>) {
        self.controller.handle(self.now, input, &mut self.actions);
    }

    pub(super) fn packet(&mut self, kind: u8, ifindex: u32, packet: &[u8]) -> Actions {
        self.handle(Input::Packet {
            kind,
            received: Received {
                ifindex,
                mac: [2, 0, 0, 0, 0, 0x11],
                packet,
            },
        });
        std::mem::take(&mut self.actions)
    }

    pub(super) fn mobility(
        &mut self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        message: &Message,
    ) -> Actions {
        let mut packet = [0; 128];
        let length = message
            .emit(source, destination, &mut packet)
            .expect("emitted");
        self.packet(kind::MOBILITY, ETH0, &packet[..length])
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        let counters = self.controller.counters();
        let found = counters.iter().find(|(name, _)| *name == counter.name());
        found.expect("every counter is shown").1
    }
}

pub(super) fn report(source: Ipv6Addr) -> Vec<u8> {
    mld(
        &mld::Message::Report { address: B },
        source,
        ipv6::ALL_ROUTERS,
    )
}

pub(super) fn query() -> Vec<u8> {
    let query = mld::Message::Query(mld::Query {
        max_response_delay: Duration::from_secs(10),
        address: Ipv6Addr::UNSPECIFIED,
        version: mld::Version::V1,
    });
    mld(&query, S1, ipv6::ALL_NODES)
}

pub(super) fn mld(message: &mld::Message, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut packet = [0; 128];
    let length = message
        .emit(source, destination, &mut packet)
        .expect("emitted");
    packet[..length].to_vec()
}
