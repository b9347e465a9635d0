//! `[member]`

use std::{
    net::Ipv6Addr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    config::{health::Health, value::Prefix},
    model::program::Mode,
};

/// `[member]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Links on which Reports are sent and clients arrive.
    pub interfaces: Vec<Spanned<String>>,
    /// How programs are attached.
    #[serde(default)]
    pub mode: Mode,
    /// The anycast addresses that this machine serves.
    pub group: Vec<Spanned<Group>>,
    /// Return routability.
    #[serde(default)]
    pub handshake: Option<Spanned<Handshake>>,
    /// Reports.
    #[serde(default)]
    pub listener: Option<Spanned<Listener>>,
    /// When a session that is pinned here counts as over.
    #[serde(default)]
    pub sessions: Sessions,
}

/// `[member.sessions]`: for how long nothing is heard from the client of a session that a drain
/// still waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// A TCP connection that nobody closed.
    #[serde(with = "humantime_serde")]
    pub tcp: Option<Duration>,
    /// A UDP flow.
    #[serde(with = "humantime_serde")]
    pub udp: Option<Duration>,
    /// An ICMPv6 echo flow.
    #[serde(with = "humantime_serde")]
    pub icmp: Option<Duration>,
    /// A flow of another protocol.
    #[serde(with = "humantime_serde")]
    pub other: Option<Duration>,
}

/// `[[member.group]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The anycast address, B.
    pub anycast: Spanned<Ipv6Addr>,
    /// The unicast address that stands for it here, C; without it there are no handshakes.
    pub care_of: Option<Spanned<Ipv6Addr>>,
    /// Care-of addresses of the group's other members, or prefixes of them; this member's own may be
    /// among them.
    #[serde(default)]
    pub peers: Vec<Spanned<Prefix>>,
    /// Links on which it is joined; all of the member's unless given.
    pub interfaces: Option<Vec<Spanned<String>>>,
    /// When it is joined: `health` where there is a health check, else `start`.
    pub join: Option<Spanned<Join>>,
    /// Checks of the service; membership depends on them.
    pub health: Option<Spanned<Health>>,
    /// The daemon assigns B and C, and removes them at its end.
    #[serde(default)]
    pub assign: bool,
    /// Where it assigns B; `lo` unless given.
    pub assign_to: Option<Spanned<String>>,
}

impl Group {
    /// When it is joined.
    #[must_use]
    pub fn join(&self) -> Join {
        match (&self.join, &self.health) {
            (Some(join), _) => *join.get_ref(),
            (None, Some(_)) => Join::Health,
            (None, None) => Join::Start,
        }
    }
}

/// When a group is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// When the daemon starts; a health check makes it leave.
    Start,
    /// When its health check has passed.
    Health,
    /// When `anycast-ctl join` says so, and its health check, if there is one.
    Manual,
}

/// `[member.handshake]`: what keeps a forged source from making a reflector of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handshake {
    /// Time between handshakes with one client, after the first few.
    #[serde(with = "humantime_serde")]
    pub client_interval: Option<Duration>,
    /// Handshakes per second with the clients of one /64.
    pub prefix_rate: Option<NonZeroU32>,
    /// Handshakes per second with all clients.
    pub rate: Option<NonZeroU32>,
    /// Clients that are remembered.
    pub max_clients: Option<NonZeroUsize>,
    /// How long a client is left alone after a failure; doubled with each further one.
    #[serde(with = "humantime_serde")]
    pub first_back_off: Option<Duration>,
    /// How long at most.
    #[serde(with = "humantime_serde")]
    pub max_back_off: Option<Duration>,
    /// How long a client that does not know the Mobility Header is left alone.
    #[serde(with = "humantime_serde")]
    pub not_capable: Option<Duration>,
}

/// `[member.listener]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// How often an unsolicited Report is repeated (RFC 2710 section 7.1).
    pub robustness: Option<NonZeroU32>,
    /// Greatest delay between those (RFC 2710 section 7.10).
    #[serde(with = "humantime_serde")]
    pub unsolicited_report_interval: Option<Duration>,
}
