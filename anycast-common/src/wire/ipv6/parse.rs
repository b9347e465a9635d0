//! Reads packets, whole ones and those that ICMPv6 errors quote.

use super::{chain, header::Header, packet::Packet};
use crate::wire::Error;

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
}
