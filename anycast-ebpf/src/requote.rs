//! Changes an address in an ICMPv6 error, or in the packet that it quotes, and keeps its checksum right.

use anycast_common::abi::maps::side;

use crate::{
    change::Change,
    context::{Context, Packet},
    packet::{Upper, words},
    quoted::Quote,
    rewrite,
    transport::{Transport, UDP, UDP_LITE},
};

/// Changes an address of the quoted packet. False: it is out of reach.
#[inline(always)]
pub(crate) fn requote<C: Context>(
    packet: &Packet<'_, C>,
    upper: Upper,
    quote: &Quote,
    side: u8,
    change: &Change,
) -> bool {
    if !readdress(packet, quote.offset, side, change) {
        return false;
    }
    let Transport { protocol, .. } = quote.transport;
    let checksum = quote.transport.place();
    let udp = matches!(protocol, UDP | UDP_LITE);
    if checksum == 0 || !packet.ctx.adjust(checksum, change.delta, udp) {
        // Nothing in the quote made up for the other address.
        outer_checksum(packet, upper, change.delta);
    }
    true
}

/// Changes an address of the error itself.
#[inline(always)]
pub(crate) fn redirect<C: Context>(
    packet: &Packet<'_, C>,
    upper: Upper,
    side: u8,
    change: &Change,
) {
    if readdress(packet, packet.layout.ipv6, side, change) {
        outer_checksum(packet, upper, change.delta);
    }
}

/// Changes an address of the IPv6 header at `offset`.
#[inline(always)]
fn readdress<C: Context>(packet: &Packet<'_, C>, offset: usize, side: u8, change: &Change) -> bool {
    let address = if side == side::SOURCE {
        rewrite::SOURCE
    } else {
        rewrite::DESTINATION
    };
    packet.ctx.store(offset + address, &words(&change.address))
}

#[inline(always)]
fn outer_checksum<C: Context>(packet: &Packet<'_, C>, upper: Upper, delta: u16) {
    packet.ctx.adjust(upper.offset + 2, delta, false);
}
