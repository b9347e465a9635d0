//! The `[member]` section of the configuration file.

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

/// The `[member]` section: this machine serves anycast addresses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Links on which Reports are sent and clients' packets arrive.
    pub interfaces: Vec<Spanned<String>>,
    /// How programs are attached.
    #[serde(default)]
    pub mode: Mode,
    /// The anycast addresses that this machine serves.
    pub group: Vec<Spanned<Group>>,
    /// Limits and times of return routability handshakes with clients.
    #[serde(default)]
    pub handshake: Option<Spanned<Handshake>>,
    /// How Reports are repeated.
    #[serde(default)]
    pub listener: Option<Spanned<Listener>>,
    /// When a session that is pinned to this member counts as over.
    #[serde(default)]
    pub sessions: Sessions,
}

/// The `[member.sessions]` section: how long a client may be silent before its session counts as over and a drain no
/// longer waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// Idle time of a TCP connection that neither end has closed.
    #[serde(with = "humantime_serde")]
    pub tcp: Option<Duration>,
    /// Idle time of a UDP flow.
    #[serde(with = "humantime_serde")]
    pub udp: Option<Duration>,
    /// Idle time of an ICMPv6 echo flow.
    #[serde(with = "humantime_serde")]
    pub icmp: Option<Duration>,
    /// Idle time of a flow of another protocol.
    #[serde(with = "humantime_serde")]
    pub other: Option<Duration>,
}

/// One `[[member.group]]` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The anycast address, B.
    pub anycast: Spanned<Ipv6Addr>,
    /// The member's unicast address for this group, the care-of address C. Without it, the member starts no handshakes.
    pub care_of: Option<Spanned<Ipv6Addr>>,
    /// Care-of addresses of the other members of the group, or prefixes that contain them. This member's own address
    /// may be among them.
    #[serde(default)]
    pub peers: Vec<Spanned<Prefix>>,
    /// Links on which the group is joined. Unless given, these are all links of `[member]`.
    pub interfaces: Option<Vec<Spanned<String>>>,
    /// When the group is joined. Unless given, this is `health` where there is a health check and `start` otherwise.
    pub join: Option<Spanned<Join>>,
    /// Health check of the service, on which the membership depends.
    pub health: Option<Spanned<Health>>,
    /// Whether the daemon assigns the anycast address B and the care-of address C, and removes them when it ends.
    #[serde(default)]
    pub assign: bool,
    /// Interface to which B is assigned, `lo` unless given.
    pub assign_to: Option<Spanned<String>>,
}

impl Group {
    /// When the group is joined, with the default applied.
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
    /// The group is joined when the daemon starts. A failing health check makes the member leave it.
    Start,
    /// The group is joined when its health check has passed.
    Health,
    /// The group is joined by the command `anycast-ctl join`, and when its health check, if there is one, has passed.
    Manual,
}

/// The `[member.handshake]` section. These limits keep an attacker with a forged source address from using the member
/// as a reflector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handshake {
    /// Shortest time between two handshakes with one client, after the first few.
    #[serde(with = "humantime_serde")]
    pub client_interval: Option<Duration>,
    /// Handshakes per second with the clients of one /64.
    pub prefix_rate: Option<NonZeroU32>,
    /// Handshakes per second with all clients.
    pub rate: Option<NonZeroU32>,
    /// Number of clients that the member remembers.
    pub max_clients: Option<NonZeroUsize>,
    /// How long the member leaves a client alone after a failed handshake. Each further failure doubles this time.
    #[serde(with = "humantime_serde")]
    pub first_back_off: Option<Duration>,
    /// Longest time for which the member leaves a client alone after failures.
    #[serde(with = "humantime_serde")]
    pub max_back_off: Option<Duration>,
    /// How long the member leaves a client alone that does not support the Mobility Header.
    #[serde(with = "humantime_serde")]
    pub not_capable: Option<Duration>,
}

/// The `[member.listener]` section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// How many times an unsolicited Report is repeated (RFC 2710 section 7.1).
    pub robustness: Option<NonZeroU32>,
    /// Longest delay between unsolicited Reports (RFC 2710 section 7.10).
    #[serde(with = "humantime_serde")]
    pub unsolicited_report_interval: Option<Duration>,
}
