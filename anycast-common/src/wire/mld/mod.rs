//! Multicast Listener Discovery (RFC 2710, and the Query of RFC 3810) that carries anycast addresses.

use core::net::Ipv6Addr;
use core::time::Duration;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::bytes::Writer;
use super::ipv6::{NEXT_HEADER_HOP_BY_HOP, NEXT_HEADER_ICMPV6};
use super::{Error, icmpv6, ipv6};

mod code;

use code::{QUERY_INTERVAL, RESPONSE};

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

/// Value of the Router Alert option that says that the packet carries MLD (RFC 2711 section 2.1).
pub const ALERT_VALUE: u16 = 0;

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
    /// Report or Done, or a Query.
    ///
    /// A Report or Done for a multicast group is [`Error::Multicast`] whatever else is wrong with
    /// it, since it is not ours to judge. Router Alert has to be present with the value of MLD (RFC
    /// 3810 section 6.2, RFC 2711 section 2.1); another value is as good as none. A Query's
    /// destination is free: RFC 3810 section 5.1.15 has nodes accept any address of theirs.
    pub fn parse(packet: &ipv6::Packet<'_>, router_alert: RouterAlert) -> Result<Self, Error> {
        let octets = icmpv6::whole(packet)?;
        let message_type = *octets.first().ok_or(Error::Truncated)?;
        if !matches!(message_type, QUERY | REPORT | DONE) {
            return Err(Error::UnexpectedType(message_type));
        }
        let (body, rest) = Body::ref_from_prefix(octets).map_err(|_| Error::Truncated)?;
        let address = Ipv6Addr::from_octets(body.address);
        if message_type != QUERY && address.is_multicast() {
            return Err(Error::Multicast);
        }
        check_origin(packet, router_alert)?;
        if message_type != QUERY && packet.destination != ipv6::ALL_ROUTERS {
            return Err(Error::Destination);
        }
        icmpv6::verify(packet)?;
        match message_type {
            REPORT => ipv6::anycastable(address).map(|()| Self::Report { address }),
            DONE => ipv6::anycastable(address).map(|()| Self::Done { address }),
            _ => {
                if !address.is_unspecified() && !address.is_multicast() {
                    ipv6::anycastable(address)?;
                }
                Query::read(body, rest).map(Self::Query)
            }
        }
    }

    /// Writes the complete IPv6 packet: Router Alert value 0, hop limit 1, checksum set. Gives its
    /// length, [`PACKET_LEN`] or [`V2_PACKET_LEN`].
    ///
    /// What a field cannot express becomes the next smaller value that it can, and the greatest one
    /// beyond its range; a robustness above 7 becomes 0 (RFC 3810 section 5.1.8).
    pub fn emit(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        let (message_type, delay, address, tail) = match *self {
            Self::Report { address } => (REPORT, 0, address, None),
            Self::Done { address } => (DONE, 0, address, None),
            Self::Query(query) => {
                let (delay, tail) = query.fields();
                (QUERY, delay, query.address, tail)
            }
        };
        let body = Body {
            message_type,
            code: 0,
            checksum: [0; 2],
            max_response: U16::new(delay),
            reserved: [0; 2],
            address: address.octets(),
        };
        let length = if tail.is_some() {
            V2_PACKET_LEN
        } else {
            PACKET_LEN
        };
        let mut writer = Writer::new(buffer, length)?;
        writer.ipv6(
            source,
            destination,
            NEXT_HEADER_HOP_BY_HOP,
            1,
            length - ipv6::HEADER_LEN,
        )?;
        writer.put(&HOP_BY_HOP)?;
        writer.put(body.as_bytes())?;
        if let Some(tail) = tail {
            writer.put(&tail)?;
        }
        let start = ipv6::HEADER_LEN + HOP_BY_HOP.len();
        writer.checksum(source, destination, NEXT_HEADER_ICMPV6, start, 2)?;
        Ok(length)
    }
}

/// The Hop-by-Hop Options header of an emitted message, as most hosts send it: Next Header ICMPv6, 8 octets; Router
/// Alert with [`ALERT_VALUE`]; PadN of two octets.
pub const HOP_BY_HOP: [u8; 8] = {
    let [high, low] = ALERT_VALUE.to_be_bytes();
    [NEXT_HEADER_ICMPV6, 0, 5, 2, high, low, 1, 0]
};

/// What every MLDv1 message is and every MLDv2 Query starts with, RFC 2710 section 3.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Body {
    message_type: u8,
    code: u8,
    checksum: [u8; 2],
    max_response: U16,
    reserved: [u8; 2],
    address: [u8; 16],
}

/// The checks that a message must pass to come from this link.
fn check_origin(packet: &ipv6::Packet<'_>, router_alert: RouterAlert) -> Result<(), Error> {
    if !ipv6::is_link_local(packet.source) {
        return Err(Error::SourceNotLinkLocal);
    }
    if packet.hop_limit != 1 {
        return Err(Error::HopLimit(packet.hop_limit));
    }
    if router_alert == RouterAlert::Required && packet.router_alert != Some(ALERT_VALUE) {
        return Err(Error::RouterAlertMissing);
    }
    Ok(())
}

impl Query {
    fn read(body: &Body, rest: &[u8]) -> Result<Self, Error> {
        let code = body.max_response.get();
        let (delay, version) = match rest {
            [] => (u32::from(code), Version::V1),
            &[flags, interval, a, b, ref sources @ ..] => {
                let claimed = usize::from(u16::from_be_bytes([a, b])) * 16;
                if claimed > sources.len() {
                    return Err(Error::LengthMismatch {
                        claimed,
                        available: sources.len(),
                    });
                }
                let version = Version::V2 {
                    suppress: flags & 8 != 0,
                    robustness: flags & 7,
                    interval: Duration::from_secs(QUERY_INTERVAL.decode(interval.into()).into()),
                };
                (RESPONSE.decode(code), version)
            }
            _ => return Err(Error::BadLength(size_of::<Body>() + rest.len())),
        };
        Ok(Self {
            max_response_delay: Duration::from_millis(delay.into()),
            address: Ipv6Addr::from_octets(body.address),
            version,
        })
    }

    /// The Maximum Response field, and what MLDv2 appends.
    fn fields(&self) -> (u16, Option<[u8; 4]>) {
        let millis = u32::try_from(self.max_response_delay.as_millis()).unwrap_or(u32::MAX);
        match self.version {
            Version::V1 => (u16::try_from(millis).unwrap_or(u16::MAX), None),
            Version::V2 {
                suppress,
                robustness,
                interval,
            } => {
                let seconds = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX);
                let robustness = if robustness > 7 { 0 } else { robustness };
                let flags = u8::from(suppress) << 3 | robustness;
                let [_, interval] = QUERY_INTERVAL.encode(seconds).to_be_bytes();
                (RESPONSE.encode(millis), Some([flags, interval, 0, 0]))
            }
        }
    }
}
