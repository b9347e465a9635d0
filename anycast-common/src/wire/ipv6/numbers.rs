//! Lengths, limits and protocol numbers.

/// Octets of the IPv6 header.
pub const HEADER_LEN: usize = 40;
/// Extension headers that are walked over in a packet, by the programs and by the controller. What has more of them is
/// left to the kernel. RFC 8200 section 4.1 recommends an order in which no packet needs more than six.
pub const MAX_EXTENSIONS: usize = 6;

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
