//! The next hop to a member, which new flows share where nothing but their destination decides it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

layout!(SharedHop: 64);

/// Entries of the map `SHARED_HOPS`, for each CPU: one half is for packets, and the other for answers of the programs,
/// so that a flood of Test Inits takes no entry from flows.
pub const SHARED_HOPS: u32 = 512;

/// Section of a `u64`, and name of its map: until when, by `CLOCK_MONOTONIC`, the controller vouches for it that
/// nothing but the destination and the interface of a packet decides its next hop. 0: it does not.
pub const PLAIN_ROUTES_SECTION: &str = ".data.plain_routes";

/// By which next hop packets go whose destination becomes another. Map `SHARED_HOPS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct SharedHop {
    /// The new destination.
    pub address: [u64; 2],
    /// The one that they came with. Zero: they are answers of the programs, which this host makes.
    pub before: [u64; 2],
    /// When it was found, in jiffies, and [`AGE`](super::AGE) of the controller as it was then.
    pub stamp: u64,
    /// Interface by which they came; of answers, the loopback interface.
    pub ingress: u32,
    /// Interface by which they go.
    pub ifindex: u32,
    /// Ethernet address of the next hop.
    pub destination: [u16; 3],
    /// Ethernet address of the interface.
    pub source: [u16; 3],
    /// Octets of the largest IPv6 packet that goes there.
    pub mtu: u16,
    /// Index in the map `TRAFFIC` of what is counted of them.
    pub account: u16,
}
