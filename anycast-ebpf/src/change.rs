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
    /// The same is to become of the next one.
    pub lasts: bool,
    pub reserved: [u8; 4],
}
