//! Neighbor Discovery for an anycast address (RFC 4861 sections 4.3, 4.4, 7.1.1 and 7.2.7).

use core::net::Ipv6Addr;

use super::bytes::Writer;
use super::ipv6::NEXT_HEADER_ICMPV6;
use super::{Error, icmpv6, ipv6};

/// Neighbor Solicitation, RFC 4861 section 4.3.
pub const SOLICITATION: u8 = 135;
/// Neighbor Advertisement, RFC 4861 section 4.4.
pub const ADVERTISEMENT: u8 = 136;
/// Hop limit of every Neighbor Discovery message: it has not been forwarded.
pub const HOP_LIMIT: u8 = 255;
/// Octets of an [`Advertisement`] packet, IPv6 header included.
pub const ADVERTISEMENT_LEN: usize = ipv6::HEADER_LEN + FIXED_LEN + 8;

/// Octets of both messages before their options.
const FIXED_LEN: usize = 24;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// S flag: it answers a Solicitation.
const SOLICITED: u8 = 0x40;

/// Somebody asks for the Ethernet address of `target`, or whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; unspecified when it is about to take the address itself.
    pub source: Ipv6Addr,
    /// The address that it asks for.
    pub target: Ipv6Addr,
    /// It was sent to a multicast group: the asker does not know the Ethernet address.
    pub multicast: bool,
}

impl Solicitation {
    /// Reads a whole packet and makes the checks of RFC 4861 section 7.1.1.
    pub fn parse(packet: &ipv6::Packet<'_>) -> Result<Self, Error> {
        if packet.protocol != NEXT_HEADER_ICMPV6 {
            return Err(Error::UnexpectedProtocol(packet.protocol));
        }
        let &[message_type, code, _, _, _, _, _, _, ref rest @ ..] = packet.payload else {
            return Err(Error::Truncated);
        };
        if message_type != SOLICITATION || code != 0 {
            return Err(Error::UnexpectedType(message_type));
        }
        if packet.hop_limit != HOP_LIMIT {
            return Err(Error::HopLimit(packet.hop_limit));
        }
        icmpv6::verify(packet)?;
        let (target, options) = rest.split_first_chunk::<16>().ok_or(Error::Truncated)?;
        let target = Ipv6Addr::from_octets(*target);
        if target.is_multicast() {
            return Err(Error::Multicast);
        }
        let names_source = link_layer(options, packet.payload_offset + FIXED_LEN)?;
        if packet.source.is_unspecified()
            && (names_source || packet.destination != ipv6::solicited_node(target))
        {
            return Err(Error::Destination);
        }
        Ok(Self {
            source: packet.source,
            target,
            multicast: packet.destination.is_multicast(),
        })
    }
}

/// Whether there is a Source Link-Layer Address option; `offset` is where the options begin.
fn link_layer(mut options: &[u8], mut offset: usize) -> Result<bool, Error> {
    let mut found = false;
    while let &[kind, units, ..] = options {
        let length = 8 * usize::from(units);
        if length == 0 {
            return Err(Error::BadOption { offset });
        }
        options = options.get(length..).ok_or(Error::BadOption { offset })?;
        offset = offset.saturating_add(length);
        found |= kind == SOURCE_LINK_LAYER;
    }
    if options.is_empty() {
        Ok(found)
    } else {
        Err(Error::BadOption { offset })
    }
}

/// The answer of one of several owners of an address: the Override flag is clear, so that no
/// neighbor gives up the owner that it has (RFC 4861 section 7.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertisement {
    /// The anycast address.
    pub target: Ipv6Addr,
    /// Our Ethernet address.
    pub mac: [u8; 6],
}

impl Advertisement {
    /// Writes the complete IPv6 packet, Solicited set and Override clear, and gives its length.
    pub fn emit(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        let mut writer = Writer::new(buffer, ADVERTISEMENT_LEN)?;
        writer.ipv6(
            source,
            destination,
            NEXT_HEADER_ICMPV6,
            HOP_LIMIT,
            ADVERTISEMENT_LEN - ipv6::HEADER_LEN,
        )?;
        writer.put(&[ADVERTISEMENT, 0, 0, 0, SOLICITED, 0, 0, 0])?;
        writer.put(&self.target.octets())?;
        writer.put(&[TARGET_LINK_LAYER, 1])?;
        writer.put(&self.mac)?;
        writer.checksum(source, destination, NEXT_HEADER_ICMPV6, ipv6::HEADER_LEN, 2)?;
        Ok(ADVERTISEMENT_LEN)
    }
}
