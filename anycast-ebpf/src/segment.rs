//! Sequence numbers of TCP segments: what a session's ends believe, a note about it may believe, too.

use crate::{
    packet::Bytes,
    transport::{TCP, TCP_FIN, TCP_SYN, Transport},
};

/// The sequence number space of a segment, and what it acknowledges. RFC 9293 section 3.1.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub sequence: u32,
    pub acknowledged: u32,
    /// Behind its last octet; SYN and FIN count as one each.
    pub end: u32,
}

// Where fields are, from the checksum backwards, whose place `Transport` knows.
const SEQUENCE: usize = 12;
/// Octets in front of the checksum.
const CHECKSUM: usize = 16;

impl Segment {
    /// Of a TCP segment whose packet ends at `end` in the frame. `None`: cut short, or not TCP.
    #[inline(always)]
    pub(crate) fn read(packet: &impl Bytes, transport: &Transport, end: usize) -> Option<Self> {
        if transport.protocol != TCP {
            return None;
        }
        // Else the compiler takes the check of the whole header for one of this part, which the verifier cannot see.
        let start = core::hint::black_box(transport.checksum - SEQUENCE);
        let [sequence, acknowledged, length_flags] = packet.read::<[u32; 3]>(start)?;
        let header = (u32::from_be(length_flags) >> 28) as usize * 4;
        // Of a length that is a lie, nothing follows but a number that nobody believes.
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

/// Whether `first` is behind `second` in the sequence space (RFC 9293 section 3.4).
#[inline(always)]
pub(crate) fn is_after(first: u32, second: u32) -> bool {
    first.wrapping_sub(second).cast_signed() > 0
}
