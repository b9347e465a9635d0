//! For whom a frame is: an interface may hear those of others, too.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

layout!(Station: 12, Stations: 2048);

/// Capacity of the map `STATIONS`.
pub const STATIONS: u32 = 4096;
/// Interfaces of which the programs know an Ethernet address without a lookup, by the low bits of their index.
pub const NEAR_STATIONS: usize = 256;

/// An Ethernet address whose frames this host takes on an interface: the interface's own, and those of the devices
/// above it. One of zeros says that the interface's are known. Map `STATIONS`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct Station {
    /// Interface index.
    pub ifindex: u32,
    /// The address.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: [u8; 2],
}

/// What is known without a lookup: a [`near_station`] each, or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Stations {
    /// By the low bits of the interface's index.
    pub near: [u64; NEAR_STATIONS],
}

impl Stations {
    /// Section of the object, and name of its map.
    pub const SECTION: &str = ".data.stations";
}

/// Where in the first eight octets of a frame its destination is.
pub const STATION_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// A destination, as the first eight octets of a frame have it, on this interface, as one number.
#[inline(always)]
#[must_use]
pub const fn near_station(ifindex: u32, first: u64) -> u64 {
    let [low, high, ..] = ifindex.to_le_bytes();
    first & STATION_MASK | u64::from_ne_bytes([0, 0, 0, 0, 0, 0, low, high])
}
