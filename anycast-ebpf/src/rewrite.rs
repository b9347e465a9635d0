//! One address of the packet, and the checksum that covers it.

use anycast_common::wire::checksum;

use crate::{
    classify::Packet,
    packet::{Bytes, words},
    transport::{Transport, UDP, UDP_LITE},
};

/// Puts `address` in place of the source.
#[inline(always)]
pub(crate) fn source(packet: &Packet<'_>, transport: &Transport, address: &[u8; 16], delta: u16) {
    fix_checksum(packet, transport, delta);
    // SAFETY: `classify` checked that the IPv6 header lies within the packet.
    unsafe { (*packet.ipv6).source = words(address) };
}

/// Puts `address` in place of the destination.
#[inline(always)]
pub(crate) fn destination(
    packet: &Packet<'_>,
    transport: &Transport,
    address: &[u8; 16],
    delta: u16,
) {
    fix_checksum(packet, transport, delta);
    // SAFETY: as in `source`.
    unsafe { (*packet.ipv6).destination = words(address) };
}

/// Incremental update (RFC 1624). A UDP checksum of zero is illegal in IPv6 (RFC 8200 section
/// 8.1; RFC 3828 for UDP-Lite): it is left as it is for the receiver to refuse.
#[inline(always)]
fn fix_checksum(packet: &Packet<'_>, transport: &Transport, delta: u16) {
    if transport.checksum == 0 {
        return;
    }
    let Some(field) = packet.ctx.at::<u16>(transport.checksum) else {
        return;
    };
    // SAFETY: `at` checked the bounds.
    let old = unsafe { *field };
    let udp = matches!(transport.protocol, UDP | UDP_LITE);
    if udp && old == 0 {
        return;
    }
    let mut new = checksum::apply(old, delta);
    if udp {
        new = checksum::udp(new);
    }
    // SAFETY: as above.
    unsafe { *field = new };
}
