//! Replaces one address of the packet, and puts right the checksum that covers it.

use core::mem::offset_of;

use crate::{
    context::{Context, Packet},
    packet::Ipv6,
    transport::Transport,
};

/// Offset of the source address in the IPv6 header.
pub(crate) const SOURCE: usize = offset_of!(Ipv6, source);
/// Offset of the destination address.
pub(crate) const DESTINATION: usize = offset_of!(Ipv6, destination);

/// Puts `address` in place of the source. False: the packet is as it was.
#[inline(always)]
pub(crate) fn source<C: Context>(
    packet: &Packet<'_, C>,
    transport: &Transport,
    address: &[u8; 16],
    delta: u16,
) -> bool {
    C::replace(packet, transport, SOURCE, address, delta)
}

/// Puts `address` in place of the destination. False: the packet is as it was.
#[inline(always)]
pub(crate) fn destination<C: Context>(
    packet: &Packet<'_, C>,
    transport: &Transport,
    address: &[u8; 16],
    delta: u16,
) -> bool {
    C::replace(packet, transport, DESTINATION, address, delta)
}
