//! Multicast Router Discovery (RFC 4286), by which a router tells snooping switches that it is there.

use core::net::Ipv6Addr;

use super::bytes::Writer;
use super::ipv6::{NEXT_HEADER_HOP_BY_HOP, NEXT_HEADER_ICMPV6};
use super::mld::HOP_BY_HOP;
use super::{Error, icmpv6, ipv6};

/// Type of a Multicast Router Advertisement, section 3.
pub const ADVERTISEMENT: u8 = 151;
/// Type of a Multicast Router Solicitation, section 4.
pub const SOLICITATION: u8 = 152;
/// Type of a Multicast Router Termination, section 5.
pub const TERMINATION: u8 = 153;

/// All-Snoopers, to which routers send.
pub const ALL_SNOOPERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6a);

/// Octets of an emitted Advertisement packet, IPv6 and Hop-by-Hop Options header included.
pub const ADVERTISEMENT_LEN: usize = ipv6::HEADER_LEN + HOP_BY_HOP.len() + 8;
/// Octets of an emitted Termination packet.
pub const TERMINATION_LEN: usize = ipv6::HEADER_LEN + HOP_BY_HOP.len() + 4;

/// What a router says to switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    /// The sender is a multicast router.
    Advertisement {
        /// Advertisement Interval, seconds.
        interval: u8,
        /// Query Interval of MLD on this link, seconds; zero where there is no MLD.
        query_interval: u16,
        /// Robustness Variable of MLD on this link; zero where there is no MLD.
        robustness: u16,
    },
    /// The sender is one no more.
    Termination,
}

impl Announcement {
    /// Writes the complete IPv6 packet to All-Snoopers: Router Alert, hop limit 1, checksum set. Gives its length,
    /// [`ADVERTISEMENT_LEN`] or [`TERMINATION_LEN`].
    pub fn emit(&self, source: Ipv6Addr, buffer: &mut [u8]) -> Result<usize, Error> {
        let (message_type, interval, tail, length) = match *self {
            Self::Advertisement {
                interval,
                query_interval,
                robustness,
            } => {
                let [a, b] = query_interval.to_be_bytes();
                let [c, d] = robustness.to_be_bytes();
                (
                    ADVERTISEMENT,
                    interval,
                    Some([a, b, c, d]),
                    ADVERTISEMENT_LEN,
                )
            }
            Self::Termination => (TERMINATION, 0, None, TERMINATION_LEN),
        };
        let mut writer = Writer::new(buffer, length)?;
        let payload_len = length - ipv6::HEADER_LEN;
        let destination = ALL_SNOOPERS;
        writer.ipv6(source, destination, NEXT_HEADER_HOP_BY_HOP, 1, payload_len)?;
        writer.put(&HOP_BY_HOP)?;
        writer.put(&[message_type, interval, 0, 0])?;
        if let Some(tail) = tail {
            writer.put(&tail)?;
        }
        let start = ipv6::HEADER_LEN + HOP_BY_HOP.len();
        writer.checksum(source, destination, NEXT_HEADER_ICMPV6, start, 2)?;
        Ok(length)
    }
}

/// Makes the checks of a Solicitation, by which a switch asks the routers of a link to advertise themselves: from a
/// link-local address to all routers, with hop limit 1 and a right checksum.
///
/// Router Alert is not asked for: with hop limit 1 the message comes from this link in any case, and the answer goes
/// to switches alone.
pub fn solicitation(packet: &ipv6::Packet<'_>) -> Result<(), Error> {
    let message_type = *icmpv6::whole(packet)?.first().ok_or(Error::Truncated)?;
    if message_type != SOLICITATION {
        return Err(Error::UnexpectedType(message_type));
    }
    if packet.payload.len() < 4 {
        return Err(Error::Truncated);
    }
    if !ipv6::is_link_local(packet.source) {
        return Err(Error::SourceNotLinkLocal);
    }
    if packet.hop_limit != 1 {
        return Err(Error::HopLimit(packet.hop_limit));
    }
    if packet.destination != ipv6::ALL_ROUTERS {
        return Err(Error::Destination);
    }
    icmpv6::verify(packet)
}
