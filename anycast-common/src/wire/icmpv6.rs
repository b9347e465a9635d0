//! ICMPv6 error messages (RFC 4443): building and reading.

use core::net::Ipv6Addr;

use super::bytes::Writer;
use super::ipv6::NEXT_HEADER_ICMPV6;
use super::{Error, checksum, ipv6};

/// Destination Unreachable, RFC 4443 section 3.1.
pub const DESTINATION_UNREACHABLE: u8 = 1;
/// Packet Too Big, RFC 4443 section 3.2.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time Exceeded, RFC 4443 section 3.3.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter Problem, RFC 4443 section 3.4.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo Request, RFC 4443 section 4.1.
pub const ECHO_REQUEST: u8 = 128;
/// Echo Reply, RFC 4443 section 4.2.
pub const ECHO_REPLY: u8 = 129;
/// Redirect, RFC 4861 section 4.5.
pub const REDIRECT: u8 = 137;

/// Parameter Problem code 0: erroneous header field.
pub const ERRONEOUS_HEADER: u8 = 0;
/// Parameter Problem code 1: unrecognized Next Header.
pub const UNRECOGNIZED_NEXT_HEADER: u8 = 1;
/// Parameter Problem code 2: unrecognized IPv6 option.
pub const UNRECOGNIZED_OPTION: u8 = 2;

/// Octets of an ICMPv6 error before the quoted packet.
pub const HEADER_LEN: usize = 8;
/// Greatest length of an error packet, IPv6 header included: the minimum MTU (RFC 4443 section 2.4 (c)).
pub const MAX_ERROR_LEN: usize = 1280;

/// An ICMPv6 message, split into its common fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Type; errors are below 128.
    pub message_type: u8,
    /// Code.
    pub code: u8,
    /// The 32 bits after the checksum: Pointer, MTU, or unused.
    pub field: u32,
    /// What follows: in an error, as much of the invoking packet as fitted.
    pub quoted: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a whole ICMPv6 message and verifies its checksum.
    pub fn parse(packet: &ipv6::Packet<'a>) -> Result<Self, Error> {
        let &[message_type, code, _, _, a, b, c, d, ref quoted @ ..] = whole(packet)? else {
            return Err(Error::Truncated);
        };
        verify(packet)?;
        Ok(Self {
            message_type,
            code,
            field: u32::from_be_bytes([a, b, c, d]),
            quoted,
        })
    }

    /// Whether this is an error message (RFC 4443 section 2.1).
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.message_type < 128
    }
}

/// Writes a complete ICMPv6 error packet, hop limit 64, that quotes `invoking` (an IPv6 packet from
/// its first octet) as far as [`MAX_ERROR_LEN`] allows. `field` is the Pointer of a Parameter
/// Problem, the MTU of a Packet Too Big, else 0. Gives the packet's length.
pub fn error(
    buffer: &mut [u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message_type: u8,
    code: u8,
    field: u32,
    invoking: &[u8],
) -> Result<usize, Error> {
    let quoted = invoking
        .get(..MAX_ERROR_LEN - ipv6::HEADER_LEN - HEADER_LEN)
        .unwrap_or(invoking);
    let payload_len = HEADER_LEN + quoted.len();
    let length = ipv6::HEADER_LEN + payload_len;
    let mut writer = Writer::new(buffer, length)?;
    writer.ipv6(source, destination, NEXT_HEADER_ICMPV6, 64, payload_len)?;
    writer.put(&[message_type, code, 0, 0])?;
    writer.put(&field.to_be_bytes())?;
    writer.put(quoted)?;
    writer.checksum(source, destination, NEXT_HEADER_ICMPV6, ipv6::HEADER_LEN, 2)?;
    Ok(length)
}

/// The ICMPv6 message in `packet`, if it is one and not a piece of one.
pub(super) fn whole<'a>(packet: &ipv6::Packet<'a>) -> Result<&'a [u8], Error> {
    if packet.protocol != NEXT_HEADER_ICMPV6 {
        return Err(Error::UnexpectedProtocol(packet.protocol));
    }
    if packet.is_piece() {
        return Err(Error::Fragmented);
    }
    Ok(packet.payload)
}

/// Verifies the checksum of the ICMPv6 message in `packet`.
pub(super) fn verify(packet: &ipv6::Packet<'_>) -> Result<(), Error> {
    let source = packet.checksum_source().octets();
    let destination = packet.destination.octets();
    if checksum::verify(&source, &destination, NEXT_HEADER_ICMPV6, packet.payload) {
        Ok(())
    } else {
        Err(Error::BadChecksum)
    }
}
