//! The IPv6 header, its extension header chain (RFC 8200) and the kinds of addresses (RFC 4291).

use core::net::Ipv6Addr;

use super::{AddressKind, Error};

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

/// FF02::1, every node of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// FF02::2, every router of the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

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
    /// beyond the octets given is an error.
    pub fn parse(octets: &'a [u8]) -> Result<Self, Error> {
        let _ = octets;
        Err(Error::Truncated)
    }

    /// Reads the packet that an ICMPv6 error quotes, whose end may be cut off: like
    /// [`Packet::parse`], but `payload` ends where the octets end.
    pub fn parse_quoted(octets: &'a [u8]) -> Result<Self, Error> {
        let _ = octets;
        Err(Error::Truncated)
    }

    /// The source address for the pseudo-header: the Home Address option's, where there is one
    /// (RFC 6275 section 6.1.1).
    #[must_use]
    pub fn checksum_source(&self) -> Ipv6Addr {
        self.home_address.unwrap_or(self.source)
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
    let _ = (
        buffer,
        source,
        destination,
        next_header,
        hop_limit,
        payload_len,
    );
    Err(Error::Truncated)
}

/// Whether `address` is in fe80::/10.
#[must_use]
pub const fn is_link_local(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}

/// Whether `address` can be a client's or a care-of address: unicast, and meaningful beyond the
/// link. Not unspecified, loopback, multicast, link-local, IPv4-mapped or IPv4-compatible.
#[must_use]
pub fn is_routable_unicast(address: Ipv6Addr) -> bool {
    // ::/96 is the deprecated IPv4-compatible range and holds :: and ::1 (RFC 4291 section 2.5.5.1).
    let v4_compatible = address.segments().iter().take(6).all(|&word| word == 0);
    anycastable(address).is_ok() && !v4_compatible
}

/// Whether `address` can be anycast, and if not, what it is.
pub fn anycastable(address: Ipv6Addr) -> Result<(), Error> {
    let kind = if address.is_unspecified() {
        AddressKind::Unspecified
    } else if address.is_loopback() {
        AddressKind::Loopback
    } else if address.is_multicast() {
        AddressKind::Multicast
    } else if is_link_local(address) {
        AddressKind::LinkLocal
    } else if address.to_ipv4_mapped().is_some() {
        AddressKind::V4Mapped
    } else {
        return Ok(());
    };
    Err(Error::NotAnycast(kind))
}

/// The solicited-node multicast address FF02::1:FFXX:XXXX of `address` (RFC 4291 section 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}
