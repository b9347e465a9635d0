//! The IPv6 header, its extension header chain (RFC 8200) and the kinds of addresses (RFC 4291).

use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Error;

mod address;
mod chain;

pub use address::{
    ALL_NODES, ALL_ROUTERS, anycastable, is_link_local, is_routable_unicast, solicited_node,
};

/// Octets of the IPv6 header.
pub const HEADER_LEN: usize = 40;
/// Extension headers that [`Packet::parse`] walks over before it gives up.
pub const MAX_EXTENSIONS: usize = 8;

/// Hop-by-Hop Options header.
pub const NEXT_HEADER_HOP_BY_HOP: u8 = 0;
/// TCP.
pub const NEXT_HEADER_TCP: u8 = 6;
/// UDP.
pub const NEXT_HEADER_UDP: u8 = 17;
/// Routing header.
pub const NEXT_HEADER_ROUTING: u8 = 43;
/// Fragment header.
pub const NEXT_HEADER_FRAGMENT: u8 = 44;
/// Encapsulating Security Payload: nothing behind it can be read.
pub const NEXT_HEADER_ESP: u8 = 50;
/// Authentication Header.
pub const NEXT_HEADER_AUTHENTICATION: u8 = 51;
/// ICMPv6.
pub const NEXT_HEADER_ICMPV6: u8 = 58;
/// Nothing follows.
pub const NEXT_HEADER_NO_NEXT: u8 = 59;
/// Destination Options header.
pub const NEXT_HEADER_DEST_OPTIONS: u8 = 60;
/// SCTP.
pub const NEXT_HEADER_SCTP: u8 = 132;
/// Mobility Header.
pub const NEXT_HEADER_MOBILITY: u8 = 135;

/// The fixed header, RFC 8200 section 3.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    version_class_flow: [u8; 4],
    payload_length: U16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

impl Header {
    /// Splits the header off, its version checked.
    fn read(octets: &[u8]) -> Result<(&Self, &[u8]), Error> {
        let (header, rest) = Self::ref_from_prefix(octets).map_err(|_| Error::Truncated)?;
        let [first, ..] = header.version_class_flow;
        match first >> 4 {
            6 => Ok((header, rest)),
            version => Err(Error::BadVersion(version)),
        }
    }
}

/// A Fragment header (RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Where this fragment stands in the original, in octets.
    pub offset: u16,
    /// M flag: more fragments follow.
    pub more: bool,
    /// Identification.
    pub identification: u32,
}

impl Fragment {
    /// The whole packet in one fragment (RFC 6946).
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// An IPv6 packet, its extension header chain walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Source Address of the IPv6 header.
    pub source: Ipv6Addr,
    /// Destination Address of the IPv6 header.
    pub destination: Ipv6Addr,
    /// Hop Limit.
    pub hop_limit: u8,
    /// What stands behind the chain. In a fragment that is not the first it names the header at the
    /// start of the original, and `payload` is a later piece of that.
    pub protocol: u8,
    /// Octets behind the chain, bounded by Payload Length.
    pub payload: &'a [u8],
    /// Where `payload` starts, in octets from the start of the packet.
    pub payload_offset: usize,
    /// The Next Header octet that holds `protocol`: the Pointer of a Parameter Problem code 1.
    pub protocol_offset: usize,
    /// Value of the Router Alert option (RFC 2711); 0 is MLD.
    pub router_alert: Option<u16>,
    /// The Fragment header.
    pub fragment: Option<Fragment>,
    /// The Home Address destination option (RFC 6275 section 6.3).
    pub home_address: Option<Ipv6Addr>,
    /// Routing Type of the (last) Routing header.
    pub routing_type: Option<u8>,
}

impl<'a> Packet<'a> {
    /// Reads an IPv6 packet. Link padding behind Payload Length is ignored; a Payload Length
    /// beyond the octets given is an error, and so is a jumbogram (RFC 2675).
    pub fn parse(octets: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = Header::read(octets)?;
        let claimed = usize::from(header.payload_length);
        let payload = rest.get(..claimed).ok_or(Error::LengthMismatch {
            claimed,
            available: rest.len(),
        })?;
        chain::walk(header, payload)
    }

    /// Reads the packet that an ICMPv6 error quotes, whose end may be cut off: like
    /// [`Packet::parse`], but `payload` ends where the octets end.
    pub fn parse_quoted(octets: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = Header::read(octets)?;
        let claimed = usize::from(header.payload_length);
        chain::walk(header, rest.get(..claimed).unwrap_or(rest))
    }

    /// The source address for the pseudo-header: the Home Address option's, where there is one
    /// (RFC 6275 section 6.1.1).
    #[must_use]
    pub fn checksum_source(&self) -> Ipv6Addr {
        self.home_address.unwrap_or(self.source)
    }

    /// Whether `payload` is only a piece of the upper-layer packet.
    #[must_use]
    pub fn is_piece(&self) -> bool {
        self.fragment.is_some_and(|fragment| !fragment.is_atomic())
    }
}

/// Writes an IPv6 header, traffic class and flow label 0, to the front of `buffer`. `payload_len`
/// is in octets and counts extension headers.
pub fn header(
    buffer: &mut [u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    hop_limit: u8,
    payload_len: usize,
) -> Result<(), Error> {
    let length = u16::try_from(payload_len).map_err(|_| Error::PayloadTooLong(payload_len))?;
    let header = Header {
        version_class_flow: [0x60, 0, 0, 0],
        payload_length: U16::new(length),
        next_header,
        hop_limit,
        source: source.octets(),
        destination: destination.octets(),
    };
    header
        .write_to_prefix(buffer)
        .map_err(|_| Error::BufferTooSmall { needed: HEADER_LEN })
}
