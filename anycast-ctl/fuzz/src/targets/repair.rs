//! What no mutation finds by itself.

use anycast_common::wire::{
    checksum,
    ipv6::{NEXT_HEADER_ICMPV6, NEXT_HEADER_MOBILITY, Packet},
};

/// The packet with a checksum that is right, which no mutation finds by itself. As it was, where it
/// does not get as far as that.
pub(super) fn repaired(octets: &[u8]) -> Vec<u8> {
    let mut repaired = octets.to_vec();
    let Ok(packet) = Packet::parse(octets) else {
        return repaired;
    };
    let (field, length) = match packet.protocol {
        NEXT_HEADER_ICMPV6 => (2, packet.payload.len()),
        // It may be shorter than the payload, and says so itself.
        NEXT_HEADER_MOBILITY => match packet.payload.get(1) {
            Some(units) => (4, (usize::from(*units) + 1) * 8),
            None => return repaired,
        },
        _ => return repaired,
    };
    let source = packet.checksum_source().octets();
    let destination = packet.destination.octets();
    let message = packet.payload_offset..packet.payload_offset + length;
    let Some(message) = repaired.get_mut(message).filter(|m| m.len() >= field + 2) else {
        return repaired;
    };
    message[field..field + 2].fill(0);
    let sum = checksum::transport(&source, &destination, packet.protocol, message);
    message[field..field + 2].copy_from_slice(&sum.to_ne_bytes());
    repaired
}
