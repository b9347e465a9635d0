//! A packet whose chain was walked.

use core::net::Ipv6Addr;

use super::numbers::HEADER_LEN;

/// Where the Next Header octet stands in the IPv6 header (RFC 8200 section 3).
pub(super) const FIRST_NEXT_HEADER: usize = 6;

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
    /// A packet without extension headers.
    #[must_use]
    pub const fn bare(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        hop_limit: u8,
        protocol: u8,
        payload: &'a [u8],
    ) -> Self {
        Self {
            source,
            destination,
            hop_limit,
            protocol,
            payload,
            payload_offset: HEADER_LEN,
            protocol_offset: FIRST_NEXT_HEADER,
            router_alert: None,
            fragment: None,
            home_address: None,
            routing_type: None,
        }
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
