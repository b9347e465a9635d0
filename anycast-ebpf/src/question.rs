//! What the programs ask about a packet of a flow.

use anycast_common::abi::maps::FlowKey;

/// A packet, as far as it matters where it goes.
#[repr(C, align(8))]
pub struct Question {
    /// The flow, if the packet is its client's. After [`Question::turn`], if it is its member's: with C for B, which
    /// the answer puts right.
    pub key: FlowKey,
    /// C, in the answer.
    pub address: [u8; 16],
    /// TCP: sequence number.
    pub sequence: u32,
    /// TCP: the one after the segment.
    pub next: u32,
    /// TCP: acknowledgement number.
    pub acknowledged: u32,
    /// In the answer: what the other address does to a checksum (RFC 1624).
    pub delta: u16,
    /// TCP flags; 0 for other protocols.
    pub flags: u8,
    /// Type of an ICMPv6 echo message; 0 for other protocols.
    pub echo: u8,
}
