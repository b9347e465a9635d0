//! What an ICMPv6 error quotes: a packet, or a fragment of one, as it was where the error arose.

use anycast_common::abi::counters::Counter;

use crate::{
    context::{Context, Packet},
    global::global,
    maps::QUOTE,
    packet::{Chain, Ipv6, Layout, MAX_OFFSET, UPPER_HEADER, Upper, chain, octets},
    quoted::Quote,
    transport::{MOBILITY, Transport},
};

/// Octets of an error message before the quote.
pub(crate) const HEADER: usize = 8;

/// A type of ICMPv6 errors, and one of its codes (RFC 4443 section 3.1).
pub(crate) const DESTINATION_UNREACHABLE: u8 = 1;
pub(crate) const PORT_UNREACHABLE: u8 = 4;

/// Type and code of an ICMPv6 message; of one that is cut short, those of none that there is. No option,
/// because the compiler would compute with what is not there before it looks whether it is.
#[inline(always)]
pub(crate) fn head<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> [u8; 2] {
    match packet.ctx.at::<[u8; 2]>(upper.offset) {
        // SAFETY: `at` checked the bounds.
        Some(head) => unsafe { *head },
        None => [u8::MAX; 2],
    }
}

/// Reads the quote. An error goes to whoever sent the packet that it quotes; another is forged.
#[inline(always)]
pub(crate) fn quote<C: Context>(packet: &Packet<'_, C>) -> Option<&'static Quote> {
    if read(packet.ctx, packet.parsed) == 0 {
        return None;
    }
    QUOTE.get(0)
}

global! {
    /// Reads the quote into the slot of this CPU, for there is no room for it on the stack. Not 0: it is there.
    fn read(packet) -> u32;
    read_once or 0;
    quote_read_xdp, quote_read_in, quote_read_out
}

#[inline(always)]
fn read_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    u32::from(find(packet).is_some())
}

#[inline(always)]
fn find<C: Context>(packet: &Packet<'_, C>) -> Option<()> {
    let offset = packet.upper_header().offset + HEADER;
    let header = packet.ctx.read::<Ipv6>(offset)?;
    if octets(header.source) != packet.destination {
        return None;
    }
    // SAFETY: the slot belongs to this CPU, see `count`, which looks at one error at a time.
    let quote = unsafe { &mut *QUOTE.get_ptr_mut(0)? };
    quote.source = packet.destination;
    quote.destination = octets(header.destination);
    quote.offset = offset;
    let known = upper_layer(packet, offset, header.next_header, quote);
    if known.is_none() {
        packet.ctx.count_first(Counter::IcmpErrorNotParsed);
    }
    known
}

/// Finds the upper layer of the packet that is quoted at `offset`.
#[inline(always)]
fn upper_layer<C: Context>(
    packet: &Packet<'_, C>,
    offset: usize,
    next_header: u8,
    quote: &mut Quote,
) -> Option<()> {
    let layout = Layout {
        ipv6: offset,
        tagged: false,
    };
    let upper = match chain(packet.ctx, layout, next_header) {
        Chain::Upper(upper) | Chain::First(upper, _) => upper,
        // Never rewritten, like the first of them.
        Chain::Later(piece) if piece.protocol == MOBILITY => return None,
        Chain::Later(piece) => {
            quote.later = true;
            quote.identification = piece.identification;
            quote.transport = Transport::of(piece.protocol);
            return Some(());
        }
        Chain::Unknown => return None,
    };
    // So that its checksum has an offset that can be told.
    if upper.offset > MAX_OFFSET - UPPER_HEADER {
        return None;
    }
    quote.later = false;
    quote.identification = 0;
    quote.transport = Transport::read(packet.ctx, upper)?;
    Some(())
}
