//! The next hops that XDP sends frames to, for the controller to have them probed: the kernel takes a neighbour that it
//! does not send to itself for one that nobody uses, and never finds out that its Ethernet address is another one now.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

layout!(NextHop: 24, NextHops: 24576);

/// How many next hops are noted at a time. One has two places to choose from, side by side.
pub const NEXT_HOPS: usize = 1024;

/// A next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct NextHop {
    /// Its address on the link.
    pub address: [u8; 16],
    /// Interface by which it is reached.
    pub ifindex: u32,
    /// When a frame was last sent to it, as far as that took the long way, in units of 2^30 nanoseconds.
    pub used: u32,
}

/// All of them. CPUs share them; what two of them write at once may be nobody's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct NextHops {
    /// By hash.
    pub noted: [NextHop; NEXT_HOPS],
}

impl NextHops {
    /// Section of the object, and name of its map.
    pub const SECTION: &str = ".data.next_hops";
}
