//! What the authenticator covers, and where it stands (RFC 6275 section 6.2.7).

use super::message::{self, CHECKSUM, Message};
use crate::wire::ipv6::NEXT_HEADER_MOBILITY;
use crate::wire::{Error, checksum, ipv6};

/// The "MH Data" that the MAC runs over, and the authenticator that the message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authenticated<'a> {
    /// The Mobility Header before its checksum, the checksum as zero, and the rest up to the
    /// authenticator: feed them to the MAC in this order, after care-of address and correspondent.
    pub chunks: [&'a [u8]; 3],
    /// The authenticator as received. Compare in constant time.
    pub authenticator: [u8; 12],
}

/// Splits a message that ends in Binding Authorization Data into what its MAC covers and the MAC.
pub fn authenticated<'a>(packet: &ipv6::Packet<'a>) -> Result<Authenticated<'a>, Error> {
    let authenticator = Message::parse(packet)?
        .authenticator()
        .ok_or(Error::AuthorizationMissing)?;
    covered(packet, authenticator)
}

/// The same of a packet that was parsed before, and whose message carries this authenticator.
pub fn covered<'a>(
    packet: &ipv6::Packet<'a>,
    authenticator: [u8; 12],
) -> Result<Authenticated<'a>, Error> {
    // The parser has seen to it that the authenticator is what the Mobility Header ends in.
    let chunks = message::chunks(message::frame(packet)?)?;
    Ok(Authenticated {
        chunks,
        authenticator,
    })
}

/// Places the authenticator into an emitted packet (an IPv6 packet from its first octet) that ends
/// in Binding Authorization Data, and recomputes the Mobility Header checksum, which covers it.
pub fn set_authenticator(packet: &mut [u8], authenticator: [u8; 12]) -> Result<(), Error> {
    let parsed = ipv6::Packet::parse(packet)?;
    authenticated(&parsed)?;
    let start = parsed.payload_offset;
    let end = start + message::frame(&parsed)?.len();
    let source = parsed.checksum_source().octets();
    let destination = parsed.destination.octets();

    let octets = packet.get_mut(start..end).ok_or(Error::Truncated)?;
    *octets.last_chunk_mut().ok_or(Error::AuthorizationMissing)? = authenticator;
    set_checksum(octets, [0; 2])?;
    let sum = checksum::transport(&source, &destination, NEXT_HEADER_MOBILITY, octets);
    set_checksum(octets, sum.to_ne_bytes())
}

fn set_checksum(octets: &mut [u8], value: [u8; 2]) -> Result<(), Error> {
    *octets
        .get_mut(CHECKSUM..)
        .and_then(|rest| rest.first_chunk_mut())
        .ok_or(Error::Truncated)? = value;
    Ok(())
}
