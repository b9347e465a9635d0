//! What the authenticator covers, and where it stands (RFC 6275 section 6.2.7).

use crate::wire::{Error, ipv6};

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
    let _ = packet;
    Err(Error::AuthorizationMissing)
}

/// Places the authenticator into an emitted packet (an IPv6 packet from its first octet) that ends
/// in Binding Authorization Data, and recomputes the Mobility Header checksum, which covers it.
pub fn set_authenticator(packet: &mut [u8], authenticator: [u8; 12]) -> Result<(), Error> {
    let _ = (packet, authenticator);
    Err(Error::AuthorizationMissing)
}
