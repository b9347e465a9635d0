//! Builds whole packets, and sets and checks the authenticators in them.

use std::net::Ipv6Addr;

use anycast_common::wire::{self, ipv6, mobility};

use super::Kbm;

/// Makes a complete IPv6 packet of a mobility message.
pub fn build(
    message: &mobility::Message,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<Vec<u8>, wire::Error> {
    let mut packet = vec![0; mobility::MAX_PACKET_LEN];
    let length = message.emit(source, destination, &mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

/// Writes the authenticator into a Binding Update or Acknowledgement, whose last option must be Binding Authorization
/// Data, and sets the checksum.
pub fn seal(
    key: &Kbm,
    care_of: Ipv6Addr,
    correspondent: Ipv6Addr,
    packet: &mut [u8],
) -> Result<(), wire::Error> {
    let authenticator = {
        let parsed = ipv6::Packet::parse(packet)?;
        let covered = mobility::authenticated(&parsed)?;
        key.authenticator(care_of, correspondent, &covered.chunks)
    };
    mobility::set_authenticator(packet, authenticator)
}

/// Whether a received Binding Update or Acknowledgement carries the authenticator that `key` gives. It does not when it
/// carries no authenticator at all.
#[must_use]
pub fn verify(
    key: &Kbm,
    care_of: Ipv6Addr,
    correspondent: Ipv6Addr,
    packet: &ipv6::Packet<'_>,
) -> bool {
    mobility::authenticated(packet).is_ok_and(|covered| {
        key.verify(
            care_of,
            correspondent,
            &covered.chunks,
            &covered.authenticator,
        )
    })
}
