//! Sequence numbers of TCP segments. A note about a session believes what the two ends of the session would believe.

use crate::{
    packet::Bytes,
    transport::{TCP, TCP_FIN, TCP_SYN, Transport},
};

/// The sequence number space of a segment, and what it acknowledges. RFC 9293 section 3.1.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub sequence: u32,
    pub acknowledged: u32,
    /// The sequence number after the last octet. SYN and FIN count as one octet each.
    pub end: u32,
}

// Offsets of fields before the checksum, whose offset `Transport` knows.
const SEQUENCE: usize = 12;
/// Octets of the header before the checksum.
const CHECKSUM: usize = 16;

impl Segment {
    /// Reads a TCP segment whose packet ends at `end` in the frame. `None` when it is cut short or not TCP.
    #[inline(always)]
    pub(crate) fn read(packet: &impl Bytes, transport: &Transport, end: usize) -> Option<Self> {
        if transport.protocol != TCP {
            return None;
        }
        // Otherwise the compiler merges this check with that of the whole header, which the verifier cannot follow.
        let start = core::hint::black_box(transport.checksum - SEQUENCE);
        let [sequence, acknowledged, length_flags] = packet.read::<[u32; 3]>(start)?;
        let header = (u32::from_be(length_flags) >> 28) as usize * 4;
        // A wrong length only gives a sequence number that nobody believes.
        let payload = end.wrapping_sub(transport.checksum - CHECKSUM + header) as u32;
        let opens = u32::from(transport.flags & TCP_SYN != 0);
        let ends = u32::from(transport.flags & TCP_FIN != 0);
        let sequence = u32::from_be(sequence);
        Some(Self {
            sequence,
            acknowledged: u32::from_be(acknowledged),
            end: sequence
                .wrapping_add(payload)
                .wrapping_add(opens)
                .wrapping_add(ends),
        })
    }
}

/// Whether `first` comes after `second` in the sequence space (RFC 9293 section 3.4).
#[inline(always)]
pub(crate) fn is_after(first: u32, second: u32) -> bool {
    first.wrapping_sub(second).cast_signed() > 0
}
