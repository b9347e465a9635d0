//! Multicast Listener Discovery (RFC 2710, and the Query of RFC 3810) that carries anycast addresses.

use core::net::Ipv6Addr;
use core::time::Duration;

use super::{Error, ipv6};

/// Type of a Query.
pub const QUERY: u8 = 130;
/// Type of an MLDv1 Report.
pub const REPORT: u8 = 131;
/// Type of a Done.
pub const DONE: u8 = 132;

/// Octets of an emitted MLDv1 packet: IPv6 header 40, Hop-by-Hop Options header 8, message 24.
pub const PACKET_LEN: usize = 72;
/// Octets of an emitted MLDv2 Query packet.
pub const V2_PACKET_LEN: usize = 76;

/// Whether a received message must carry Router Alert (RFC 3810 section 6.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RouterAlert {
    /// Refuse a message without it.
    #[default]
    Required,
    /// Accept a message without it, for hosts that omit it.
    Optional,
}

/// What a Query's length says about the querier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 2710, 24 octets.
    V1,
    /// RFC 3810, 28 octets or more.
    V2 {
        /// S flag: other routers leave their timers as they are.
        suppress: bool,
        /// QRV, the querier's Robustness Variable, 0 to 7; 0 says that it is greater than 7.
        robustness: u8,
        /// QQIC decoded: the querier's Query Interval, whole seconds.
        interval: Duration,
    },
}

/// A Query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Time within which listeners answer; zero means at once. Whole milliseconds.
    pub max_response_delay: Duration,
    /// The queried address; `::` makes it a General Query. May be a multicast group, since such a
    /// Query still counts in the querier election.
    pub address: Ipv6Addr,
    /// Version and what only MLDv2 carries.
    pub version: Version,
}

/// An MLD message that concerns anycast membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Who listens?
    Query(Query),
    /// The sender serves `address`.
    Report {
        /// The anycast address.
        address: Ipv6Addr,
    },
    /// The sender serves `address` no more.
    Done {
        /// The anycast address.
        address: Ipv6Addr,
    },
}

impl Message {
    /// Reads and checks a message: everything that a receiver checks before it believes an anycast
    /// Report or Done.
    pub fn parse(packet: &ipv6::Packet<'_>, router_alert: RouterAlert) -> Result<Self, Error> {
        let _ = (packet, router_alert);
        Err(Error::Truncated)
    }

    /// Writes the complete IPv6 packet: Router Alert value 0, hop limit 1, checksum set. Gives its
    /// length, [`PACKET_LEN`] or [`V2_PACKET_LEN`].
    pub fn emit(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        let _ = (source, destination, buffer);
        Err(Error::Truncated)
    }
}
