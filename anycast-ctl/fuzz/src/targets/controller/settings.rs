//! A machine with every role, and caps so low that scripts reach them.

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::wire::mld::RouterAlert;
use anycast_ctl::core::{
    controller::Settings,
    correspondent::{self, Limits},
    flows,
    member::{self, GroupSettings, HandshakeSettings, HealthSettings, ListenerTimers, Peers},
    rate::Rate,
    router::{self, GeneralQueries, LinkSettings, NextHopChoice, Policy, Rule},
};

/// Fewer than clients that the member shakes hands with, which alone makes valid Binding Updates.
pub(super) const MAX_BINDINGS: usize = 2;
pub(super) const MAX_CLIENTS: usize = 4;
pub(super) const MAX_MEMBERS: u32 = 2;
pub(super) const MAX_GROUPS: u32 = 2;

/// Interfaces by index: the router's, the member's, one that both have, and one of no role.
pub(super) const LINKS: [(u32, &str); 4] = [(3, "lan0"), (4, "eth0"), (5, "both0"), (9, "none0")];
const HEALTH: HealthSettings = HealthSettings {
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(2),
    rise: 2,
    fall: 2,
    presumed: true,
};

/// The anycast address of a group, B. The third has no care-of address.
pub(super) fn anycast(group: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, u16::from(group % 4))
}

/// Its care-of address, C.
pub(super) fn care_of(group: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xc, 1, 0, 0, 0, u16::from(group % 4))
}

/// Members that every name in a cookie leads to.
fn peers(group: u8) -> Peers {
    let prefix = "2001:db8:c:1::/112".parse().expect("a prefix");
    Peers::new(care_of(group), [prefix]).expect("peers")
}

/// A client, A: half of them are the correspondent's.
pub(super) fn client(number: u8) -> Ipv6Addr {
    let prefix = if number < 0x80 { 0xa } else { 0xf };
    Ipv6Addr::new(0x2001, 0xdb8, prefix, 0, 0, 0, 0, u16::from(number % 8))
}

pub(super) fn is_client(address: Ipv6Addr) -> bool {
    address.segments()[..4] == client(0).segments()[..4]
}

/// A host of a link.
pub(super) fn host(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(number % 8))
}

/// What the octet stands for.
pub(super) fn settings(choice: u8) -> Settings {
    Settings {
        router: Some(router(choice)),
        member: Some(member()),
        correspondent: Some(correspondent()),
        router_alert: if choice & 0x20 == 0 {
            RouterAlert::Required
        } else {
            RouterAlert::Optional
        },
    }
}

fn router(choice: u8) -> router::Settings {
    let link = |name: &str| LinkSettings {
        general_queries: match choice >> 2 & 3 {
            0 | 1 => GeneralQueries::Polite,
            2 => GeneralQueries::Always,
            _ => GeneralQueries::Never,
        },
        fast_leave: choice & 0x10 != 0,
        probe_interval: (choice & 0x40 != 0).then_some(Duration::from_secs(10)),
        ..LinkSettings::new(name)
    };
    let any = "::/0".parse().expect("a prefix");
    router::Settings {
        links: vec![link("lan0"), link("both0")],
        policy: Policy::new(vec![Rule {
            interface: None,
            source: any,
            mac: None,
            anycast: any,
            allow: true,
            max_members_per_group: Some(MAX_MEMBERS),
            max_groups_per_member: Some(MAX_GROUPS),
        }]),
        next_hops: match choice & 3 {
            0 | 1 => NextHopChoice::All,
            2 => NextHopChoice::Best,
            _ => NextHopChoice::OnLink,
        },
    }
}

fn member() -> member::Settings {
    let group = |number, bound: bool, checked: bool| GroupSettings {
        anycast: anycast(number),
        care_of: bound.then(|| care_of(number)),
        peers: if bound && !checked {
            peers(number)
        } else {
            Peers::default()
        },
        interfaces: vec!["eth0".into(), "both0".into()],
        health: checked.then_some(HEALTH),
    };
    member::Settings {
        groups: vec![
            group(0, true, false),
            group(1, true, true),
            group(2, false, false),
        ],
        listener: ListenerTimers::default(),
        handshake: HandshakeSettings {
            whole: Rate::per_second(20, 20),
            max_clients: MAX_CLIENTS,
            ..HandshakeSettings::default()
        },
    }
}

fn correspondent() -> correspondent::Settings {
    let prefix = |text: &str| text.parse().expect("a prefix");
    correspondent::Settings {
        client_prefixes: vec![prefix("2001:db8:a::/64")],
        max_bindings: MAX_BINDINGS,
        max_per_prefix: MAX_BINDINGS,
        max_per_member: MAX_BINDINGS,
        max_care_of: MAX_BINDINGS,
        allow: vec![prefix("2001:db8:b::/64")],
        limits: Limits {
            max_prefixes: 2,
            ..Limits::default()
        },
        flows: flows::Limits::default(),
        fleet: None,
    }
}
