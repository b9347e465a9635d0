//! Builds whole packets, and sets and checks the authenticators in them.

use std::net::Ipv6Addr;

use anycast_common::wire::{self, ipv6, mobility};

use super::{Authenticator, Kbm};

/// Makes a complete IPv6 packet of a mobility message.
pub fn build(
    message: &mobility::Message,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<Vec<u8>, wire::Error> {
    let mut packet = [0; mobility::MAX_PACKET_LEN];
    let length = message.emit(source, destination, &mut packet)?;
    Ok(packet[..length].to_vec())
}

/// Makes a complete IPv6 packet of a Binding Update or Acknowledgement, whose last option must be Binding Authorization
/// Data, with the authenticator that `key` gives.
pub fn build_sealed(
    message: &mobility::Message,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    key: &Kbm,
    care_of: Ipv6Addr,
    correspondent: Ipv6Addr,
) -> Result<Vec<u8>, wire::Error> {
    let mut packet = [0; mobility::MAX_PACKET_LEN];
    let mac = |covered: &[&[u8]; 3]| key.authenticator(care_of, correspondent, covered);
    let length = message.emit_authenticated(source, destination, &mut packet, mac)?;
    Ok(packet[..length].to_vec())
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
    let covered = mobility::authenticated(packet);
    covered.is_ok_and(|covered| fits(key, care_of, correspondent, &covered))
}

/// The same of a message that was parsed from `packet` before and carries this authenticator.
#[must_use]
pub fn verify_parsed(
    key: &Kbm,
    care_of: Ipv6Addr,
    correspondent: Ipv6Addr,
    packet: &ipv6::Packet<'_>,
    authenticator: Authenticator,
) -> bool {
    let covered = mobility::covered(packet, authenticator);
    covered.is_ok_and(|covered| fits(key, care_of, correspondent, &covered))
}

fn fits(
    key: &Kbm,
    care_of: Ipv6Addr,
    correspondent: Ipv6Addr,
    covered: &mobility::Authenticated<'_>,
) -> bool {
    key.verify(
        care_of,
        correspondent,
        &covered.chunks,
        &covered.authenticator,
    )
}
