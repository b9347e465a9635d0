//! What an ICMPv6 error quotes: a packet, or a fragment of one, as it was where the error arose.

use anycast_common::abi::counters::Counter;

use crate::{
    context::{Context, Packet},
    count::count,
    packet::{Chain, Ipv6, Layout, MAX_OFFSET, UPPER_HEADER, Upper, chain, octets},
    transport::{MOBILITY, Transport},
};

/// Octets of an error message before the quote.
pub(crate) const HEADER: usize = 8;

/// The packet that an error quotes.
pub(crate) struct Quote {
    /// Offset of its IPv6 header in the frame.
    pub offset: usize,
    pub source: [u8; 16],
    pub destination: [u8; 16],
    /// Of a later fragment, the protocol alone.
    pub transport: Transport,
    /// It is a later fragment, which has no ports.
    pub later: bool,
    /// That of the fragments of its packet, network order.
    pub identification: u32,
}

/// Reads the quote. An error goes to whoever sent the packet that it quotes; another is forged.
#[inline(always)]
pub(crate) fn quote<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> Option<Quote> {
    let offset = upper.offset + HEADER;
    let header = packet.ctx.read::<Ipv6>(offset)?;
    let source = octets(header.source);
    if source != packet.destination {
        return None;
    }
    let Some(upper) = UpperQuote::unpack(unknown(upper_layer(packet, offset))) else {
        count(Counter::IcmpErrorNotParsed);
        return None;
    };
    Some(Quote {
        offset,
        source,
        destination: octets(header.destination),
        transport: upper.transport,
        later: upper.later,
        identification: upper.identification,
    })
}

/// The upper layer of a quoted packet.
struct UpperQuote {
    /// Of a later fragment, the protocol alone.
    transport: Transport,
    later: bool,
    /// Of a later fragment.
    identification: u32,
}

impl UpperQuote {
    /// What cannot be read.
    const NONE: u64 = 0;
    const WITH_PORTS: u64 = 1 << 56;
    const LATER: u64 = 2 << 56;

    /// As one register, which is all that a BPF function can return.
    #[inline(always)]
    fn pack(kind: u64, protocol: u8, checksum: usize, word: u32) -> u64 {
        kind | u64::from(protocol) << 48 | (checksum as u64) << 32 | u64::from(word)
    }

    #[inline(always)]
    fn unpack(packed: u64) -> Option<Self> {
        let kind = packed & 0xff << 56;
        if kind == Self::NONE {
            return None;
        }
        let later = kind == Self::LATER;
        let word = packed as u32;
        let mut transport = Transport::of((packed >> 48) as u8);
        transport.checksum = (packed >> 32) as usize & MAX_OFFSET;
        let [s0, s1, d0, d1] = word.to_ne_bytes();
        transport.source_port = [s0, s1];
        transport.destination_port = [d0, d1];
        Some(Self {
            transport,
            later,
            identification: word,
        })
    }
}

/// The same number, of which the verifier knows nothing any more: what follows is checked once, and not
/// for each way that leads to it.
#[inline(always)]
fn unknown(number: u64) -> u64 {
    let mut hidden = number;
    let octet = (&raw mut hidden).cast::<u8>();
    // SAFETY: the first octet of the number.
    unsafe {
        octet.write_volatile(octet.read_volatile());
        (&raw const hidden).read_volatile()
    }
}

/// Finds the upper layer of the packet that is quoted at `offset`.
#[inline(never)]
fn upper_layer<C: Context>(packet: &Packet<'_, C>, offset: usize) -> u64 {
    find_upper_layer(packet, offset).unwrap_or(UpperQuote::NONE)
}

#[inline(always)]
fn find_upper_layer<C: Context>(packet: &Packet<'_, C>, offset: usize) -> Option<u64> {
    let layout = Layout {
        ipv6: offset,
        tagged: false,
    };
    let header = packet.ctx.read::<Ipv6>(offset)?;
    let upper = match chain(packet.ctx, layout, header.next_header) {
        Chain::Upper(upper) | Chain::First(upper, _) => upper,
        // Never rewritten, like the first of them.
        Chain::Later(piece) if piece.protocol == MOBILITY => return None,
        Chain::Later(piece) => {
            let (protocol, word) = (piece.protocol, piece.identification);
            return Some(UpperQuote::pack(UpperQuote::LATER, protocol, 0, word));
        }
        Chain::Unknown => return None,
    };
    // So that its checksum has an offset that can be told.
    if upper.offset > MAX_OFFSET - UPPER_HEADER {
        return None;
    }
    let Transport {
        protocol,
        source_port: [s0, s1],
        destination_port: [d0, d1],
        checksum,
        ..
    } = Transport::read(packet.ctx, upper)?;
    let ports = u32::from_ne_bytes([s0, s1, d0, d1]);
    Some(UpperQuote::pack(
        UpperQuote::WITH_PORTS,
        protocol,
        checksum,
        ports,
    ))
}
