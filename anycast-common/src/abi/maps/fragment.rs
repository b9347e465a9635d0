//! Fragments, which follow the first one of their packet.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::Address;

layout!(FragmentKey: 40, Fragment: 32);

/// The fragments of one packet (RFC 8200 section 4.5). Map `FRAGMENTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct FragmentKey {
    /// Source address, before it is rewritten.
    pub source: Address,
    /// Destination address, before it is rewritten.
    pub destination: Address,
    /// Identification, network order.
    pub identification: u32,
    /// Next Header of the Fragment header.
    pub protocol: u8,
    /// 1: the source is the one that they got. So ICMPv6 errors quote them, and the note's address is the one
    /// that they had.
    pub quoted: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// What became of the first fragment, for the others to follow. Map `FRAGMENTS` (LRU).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Fragment {
    /// The address that it got.
    pub address: Address,
    /// When.
    pub noted_at: u64,
    /// Which address of the packet that is: one of [`side`].
    pub side: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// What a device takes of the frames that XDP redirects to it.
pub mod redirect {
    /// Frames of one buffer.
    pub const ONE_BUFFER: u32 = 1;
    /// Frames of several buffers as well.
    pub const WHOLE: u32 = 2;
}

/// Values of [`Fragment::side`].
pub mod side {
    /// No address changed.
    pub const NONE: u8 = 0;
    /// The source.
    pub const SOURCE: u8 = 1;
    /// The destination.
    pub const DESTINATION: u8 = 2;
}
