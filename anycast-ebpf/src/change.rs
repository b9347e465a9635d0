//! A change that is to be made to a packet.

/// What is to become of a packet.
#[repr(C, align(8))]
pub struct Change {
    /// The address that takes the place of another.
    pub address: [u8; 16],
    /// What that does to a checksum (RFC 1624).
    pub delta: u16,
    /// Which address gives way: one of [`side`](anycast_common::abi::maps::side).
    pub side: u8,
    pub reserved: u8,
    /// Index in the map `TRAFFIC` of what is counted of such packets.
    pub account: u32,
    /// The same is to become of the next one, as long as this [`stamp`](crate::hints::stamp) holds: it was taken before
    /// anything was asked, so that whatever changes meanwhile is not missed. 0: of this one alone.
    pub stamp: u64,
}
