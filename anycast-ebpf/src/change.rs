//! What is to become of a packet.

/// What is to become of a packet.
pub(crate) struct Change {
    /// Which address gives way: one of [`side`](anycast_common::abi::maps::side).
    pub side: u8,
    /// To which.
    pub address: [u8; 16],
    /// What that does to a checksum (RFC 1624).
    pub delta: u16,
    /// The same is to become of the next one.
    pub lasts: bool,
}
