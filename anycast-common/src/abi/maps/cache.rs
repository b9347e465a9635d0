//! What the programs found for a flow a moment ago, and when that ends.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

layout!(CachedFlow: 64, CachedWay: 64);

/// Entries of the map `FLOW_CACHE` for each CPU. A flow has four to choose from: two pairs.
pub const FLOW_CACHE: u32 = 1 << 16;
/// Entries of the map `WAYS` for each CPU. A way has two to choose from, side by side.
pub const WAYS: u32 = 1 << 13;
/// What is in the maps `FLOW_CACHE` and `WAYS` and in [`Noted`](super::Noted) holds for so many nanoseconds at most, as
/// a power of two. What the map `FLOWS` says of times is exact to as many.
pub const FLOW_CACHE_LIFE: u32 = 28;

/// Section of a `u64`, and name of its map: a change of it ends all that is cached. Counted in steps of [`AGE`]. By
/// itself, since it changes with every route and every pin that ends.
pub const AGE_SECTION: &str = ".data.age";

/// What a stamp counts above the time in jiffies, which do not come so far in 30 years.
pub const AGE: u64 = 1 << 40;

/// A pinned flow, or one that passes, in one direction: by what its packets are known. One line of a processor's cache.
/// Map `FLOW_CACHE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct CachedFlow {
    /// Addresses of its packets, before one is rewritten.
    pub source: [u64; 2],
    /// The other one.
    pub destination: [u64; 2],
    /// The first octets of the IPv6 header, without ECN, length and hop limit: traffic class and flow label, on
    /// which routes may depend, and the protocol.
    pub header: u64,
    /// Where they meet the program: the interface and, at TCX, which way they go there, and by which interface a packet
    /// came that goes out.
    pub place: u64,
    /// When the entry was made, in jiffies, and [`AGE`] as it was then.
    pub stamp: u64,
    /// Both ports, as they lie in memory.
    pub ports: u32,
    /// Index of its [`CachedWay`] in the map `WAYS`, or [`PASSES`](Self::PASSES).
    pub way: u32,
}

impl CachedFlow {
    /// In place of a way: the flow is open, or nothing is known of it, and its packets pass. That holds until
    /// [`LED_SECTION`](super::LED_SECTION) says otherwise, or until the controller has taken over a flow from another
    /// gateway. Of many that it takes over at once, each may pass for as long as any entry holds.
    pub const PASSES: u32 = u32::MAX - 1;
}

/// What becomes of the packets of flows, and by which next hop they go. Flows to one member by one next hop
/// share it. Map `WAYS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct CachedWay {
    /// The new address.
    pub address: [u64; 2],
    /// Ethernet addresses of the next hop and of the interface. On the way out at TCX: the destination of the frame,
    /// for which the rest was found.
    pub ethernet: [u32; 3],
    /// Interface by which they go; 0: the kernel finds it.
    pub ifindex: u32,
    /// Which address gives way: one of [`side`](super::side), or none.
    pub side: u32,
    /// Octets of the largest IPv6 packet that goes there.
    pub mtu: u16,
    /// What the new address does to a checksum.
    pub delta: u16,
    /// When a flow was last told to use it, see [`CachedFlow::stamp`]: no flow that does is younger.
    pub stamp: u64,
    /// Index in the map `TRAFFIC` of what is counted of them.
    pub account: u32,
    /// Zero.
    pub reserved: [u32; 3],
}
