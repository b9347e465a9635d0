//! By what the programs tell soon that a packet needs neither a rewrite nor a note.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

layout!(Scope: 32, Hints: 65568, Noted: 32);

/// Octets of [`Hints::addresses`], of which [`our_address`] says which is an address's. Those of the addresses that any
/// map speaks of have bits of [`whose`], and none ever loses one: a packet without any is nobody's here, one with some
/// may be.
pub const OUR_ADDRESSES: u32 = 1 << 16;

/// What an address may be, as bits of its octet in [`Hints::addresses`].
pub mod whose {
    /// An anycast address to which clients are bound elsewhere: their packets to it may have to be changed.
    pub const ANYCAST: u8 = 1;
    /// A care-of address to which clients are bound: its packets may have to be changed.
    pub const CARE_OF: u8 = 2;
    /// An address that this host serves as a member.
    pub const LOCAL: u8 = 4;
}

/// Places of [`LED_SECTION`].
pub const LED: usize = 1 << 14;

/// Section of [`LED`] times in jiffies, of which flows share each: when one was last bound whose packets may have
/// passed until then, as it was open, or as nobody knew it. Written by the programs. What the map `FLOW_CACHE` says
/// since before then of flows that pass has ended.
pub const LED_SECTION: &str = ".data.led";

/// An address as a number that looks random. `address` is the two halves as they lie in memory.
#[inline(always)]
#[must_use]
pub const fn mixed(address: [u64; 2]) -> u64 {
    let high = address[0].wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // A product tells nothing of the last octets in its low bits, so they come first, too.
    let low = address[1].wrapping_add(address[1] >> 32);
    high.wrapping_add(low.wrapping_mul(0xc2b2_ae3d_27d4_eb4f))
}

/// Index of an address in [`Hints::addresses`], by [`mixed`].
#[inline(always)]
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "16 bits remain")]
pub const fn our_address(mixed: u64) -> u32 {
    (mixed >> 48) as u32
}

/// What all prefixes of clients, and of anycast addresses, have in common in their first 64 bits, as
/// they lie in memory. Zero masks exclude nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Scope {
    /// Of the map `CLIENT_PREFIXES`.
    pub client: u64,
    /// Which bits of `client` count.
    pub client_mask: u64,
    /// Of the map `ANYCAST_PREFIXES`.
    pub anycast: u64,
    /// Which bits of `anycast` count.
    pub anycast_mask: u64,
}

/// By what the programs tell soon that a packet needs no thought. Written by the controller alone, and
/// read by every packet, so it is a section of the object: its address is a constant of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Hints {
    /// Whose packets the map `SENT` notes.
    pub scope: Scope,
    /// See [`OUR_ADDRESSES`].
    pub addresses: [u8; OUR_ADDRESSES as usize],
}

impl Hints {
    /// Section of the object, and name of its map.
    pub const SECTION: &str = ".data.hints";
}

/// How many clients are [`Noted`].
pub const NOTED: u32 = 4096;

/// A source about which the map `SENT` has nothing more to learn for a while. All CPUs share these in a
/// section of the object; what two of them write at once is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Noted {
    /// The source address.
    pub source: [u64; 2],
    /// When it was noted, see [`CachedFlow::stamp`](super::CachedFlow::stamp), and the source [`mixed`], added up.
    pub stamp: u64,
    /// Zero.
    pub reserved: u64,
}
