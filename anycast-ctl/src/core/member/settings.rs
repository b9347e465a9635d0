//! Settings of the member role.

use std::{net::Ipv6Addr, time::Duration};

use super::{Peers, health::HealthSettings};
use crate::core::rate::Rate;

/// Settings of the member role.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The anycast addresses that this host can serve.
    pub groups: Vec<GroupSettings>,
    /// Timers of the host side of MLD.
    pub listener: ListenerTimers,
    /// Limits of the binding handshakes.
    pub handshake: HandshakeSettings,
}

/// One anycast address.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The unicast address C that stands for it and for nothing else. Without it, clients are never bound and always
    /// served by plain anycast.
    pub care_of: Option<Ipv6Addr>,
    /// The other members. Messages for them that routers brought to this one are handed on.
    pub peers: Peers,
    /// Names of the interfaces on which Reports are sent.
    pub interfaces: Vec<String>,
    /// Checks of its service, on which membership depends. Without them, the service counts as healthy.
    pub health: Option<HealthSettings>,
}

/// Timers of the host side of MLD (RFC 2710 section 7).
#[derive(Clone, Copy, Debug)]
pub struct ListenerTimers {
    /// Robustness Variable: how often the first Report is repeated.
    pub robustness: u32,
    /// Unsolicited Report Interval: the longest delay before each repetition.
    pub unsolicited_report_interval: Duration,
}

impl Default for ListenerTimers {
    fn default() -> Self {
        Self {
            robustness: 2,
            unsolicited_report_interval: Duration::from_secs(10),
        }
    }
}

/// Limits of the binding handshakes. They keep senders of packets with forged sources from using a member as a
/// reflector: for one packet it sends two that are hardly larger, and then two more at growing intervals.
#[derive(Clone, Debug)]
pub struct HandshakeSettings {
    /// Handshakes started with one client.
    pub per_client: Rate,
    /// Handshakes started with the clients of one /64.
    pub per_prefix: Rate,
    /// Handshakes started with all clients.
    pub whole: Rate,
    /// Clients that are remembered at most, and /64s.
    pub max_clients: usize,
    /// How long a client that did not answer, or refused, is left alone at first; doubled with each
    /// further failure.
    pub first_back_off: Duration,
    /// How long at most.
    pub max_back_off: Duration,
    /// How long a client that does not know the Mobility Header is left alone.
    pub not_capable: Duration,
}

impl Default for HandshakeSettings {
    fn default() -> Self {
        Self {
            per_client: Rate {
                every: Duration::from_secs(5),
                burst: 3,
            },
            per_prefix: Rate::per_second(100, 200),
            whole: Rate::per_second(1000, 2000),
            max_clients: 65_536,
            // Eight seconds pass after the last try of a handshake, and 45 until the next: who is behind a
            // gateway from now on is found within a minute.
            first_back_off: Duration::from_secs(15),
            max_back_off: Duration::from_secs(45),
            not_capable: Duration::from_secs(45),
        }
    }
}
