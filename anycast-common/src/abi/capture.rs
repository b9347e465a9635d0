//! Between `anycast-ctl capture` and its programs, which the kernel calls before and after a program of the data plane.
//!
//! They are an object of their own. What they take from the data plane is the map `COUNTERS` of the program that they
//! look at.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::maps::Rate;

layout!(Settings: 104, Head: 88, Totals: 32);

/// Names of the programs: called before and after one of XDP, and of TCX.
pub mod programs {
    /// Before an XDP program.
    pub const XDP_BEFORE: &str = "capture_xdp_before";
    /// After an XDP program.
    pub const XDP_AFTER: &str = "capture_xdp_after";
    /// Before a TCX program.
    pub const TCX_BEFORE: &str = "capture_tcx_before";
    /// After a TCX program.
    pub const TCX_AFTER: &str = "capture_tcx_after";
}

/// Names of the maps.
pub mod maps {
    /// An array with the one [`Settings`](super::Settings).
    pub const SETTINGS: &str = "SETTINGS";
    /// The ring buffer with records.
    pub const SEEN: &str = "SEEN";
    /// A per-CPU array with the one record that is being made.
    pub const RECORD: &str = "RECORD";
    /// A per-CPU array with what the counters were before the program.
    pub const BEFORE: &str = "BEFORE";
    /// A per-CPU array with the one [`Totals`](super::Totals).
    pub const TOTALS: &str = "TOTALS";
    /// The counters of the program that is looked at.
    pub const COUNTERS: &str = "COUNTERS";
}

/// Capacity of the ring buffer in octets.
pub const RING: usize = 4 << 20;
/// Most octets of a packet that are captured; one less than a power of two, for the verifier.
pub const MOST: u32 = 2047;
/// Octets of a frame at its start in which addresses are looked for: all headers, and what an ICMPv6 error quotes.
pub const WINDOW: u32 = 192;
/// Most counters that a record names.
pub const REASONS: usize = 8;
/// Octets before a frame with an Ethernet header, so that what stands in the IPv6 packet is aligned.
pub const PADDING: u32 = 2;
/// Where the packet after the program may begin in a record: a multiple of eight up to here, for the verifier.
pub const PLACES: u32 = 0xff8;
/// Bits of the padding, for the verifier. One of them is in [`PLACES`] as well: of two numbers that have none in common
/// the compiler would make the sum by an OR, of which the verifiers before Linux 6.10 know no bounds.
pub const PADDINGS: u32 = PADDING | 8;
/// Octets for packets in a record.
pub const OCTETS: usize = (PLACES + PADDINGS + MOST + 1).next_multiple_of(8) as usize;

/// Set in the cookie, beside the number of the program that is looked at: its packets have no Ethernet header.
pub const BARE: u64 = 1 << 32;

/// What is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Settings {
    /// An address that a packet must mention when the program gets it; all zero: any.
    pub client: [u32; 4],
    /// An address that it must mention then or afterwards; all zero: any.
    pub anycast: [u32; 4],
    /// How many packets each CPU may tell of.
    pub rate: Rate,
    /// Octets of a packet that are captured, up to [`MOST`].
    pub length: u32,
    /// Where the packet after the program stands in a record, see [`PLACES`].
    pub place: u32,
    /// A bit for each verdict of XDP that is captured, see [`verdict`].
    pub xdp: u32,
    /// And for each of TCX.
    pub tcx: u32,
    /// Where the kernel's structures have what is read of them.
    pub offsets: Offsets,
    /// Index of the interface; 0: any.
    pub interface: u32,
}

/// Offsets of fields in structures of the running kernel, in octets.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Offsets {
    /// `xdp_buff.data`
    pub xdp_data: u32,
    /// `xdp_buff.data_end`
    pub xdp_data_end: u32,
    /// `xdp_buff.rxq`
    pub xdp_queue: u32,
    /// `xdp_rxq_info.dev`
    pub queue_device: u32,
    /// `sk_buff.data`
    pub skb_data: u32,
    /// `sk_buff.len`
    pub skb_length: u32,
    /// `sk_buff.data_len`
    pub skb_paged: u32,
    /// `sk_buff.dev`
    pub skb_device: u32,
    /// `net_device.ifindex`
    pub device_index: u32,
}

/// Start of every record. The octets of the packet before and after the program follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Head {
    /// The program that was looked at, with [`BARE`].
    pub cookie: u64,
    /// When it was called: nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// What it took, with the time of this program.
    pub took: u64,
    /// Number of the record, of this CPU.
    pub number: u64,
    /// CPU.
    pub cpu: u32,
    /// Interface index.
    pub ifindex: u32,
    /// What the program returned.
    pub verdict: i32,
    /// How many counters it moved; of those beyond [`REASONS`] nothing else is known.
    pub counted: u32,
    /// Which.
    pub reasons: [u16; REASONS],
    /// Octets before the packet in each of the two places.
    pub padding: u32,
    /// Octets of the packet before the program that are there.
    pub before: u32,
    /// Octets that it had.
    pub before_whole: u32,
    /// Where the packet after the program stands, behind the head.
    pub place: u32,
    /// Octets of it that are there.
    pub after: u32,
    /// Octets that it had.
    pub after_whole: u32,
}

/// What was not told, and when the bucket is full again.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct Totals {
    /// Time at which the token bucket is full again.
    pub full: u64,
    /// Records.
    pub told: u64,
    /// Packets beyond the rate.
    pub limited: u64,
    /// Packets for which the ring buffer had no room.
    pub lost: u64,
}

/// The bit of a verdict in [`Settings::xdp`] and [`Settings::tcx`].
#[must_use]
pub const fn verdict(of: i32) -> u32 {
    1 << (of & 31)
}
