//! What the memory of the table looks like.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::home::{Home, Secret};
use crate::abi::maps::{Flow, FlowKey};

layout!(Set: 1088, Header: 48);

/// Slots of a set.
pub const SLOTS: usize = 8;

/// For so many flows there is a set: with a fourth of the slots free, hardly ever are both sets of a flow full.
const FLOWS_OF_A_SET: u32 = 6;

/// What a flow is worth to a full table, which loses those of the lowest class first.
pub mod class {
    /// The slot is free.
    pub const FREE: u8 = 0;
    /// The flow is open.
    pub const OPEN: u8 = 1;
    /// One packet made it, and its client did not go on after an answer; or both ends closed it.
    pub const ONCE: u8 = 2;
    /// Its client goes on: UDP, and all else that is not TCP.
    pub const USED: u8 = 3;
    /// Its client goes on: TCP.
    pub const SESSION: u8 = 4;

    /// That of a flow whose client went on after an answer.
    #[inline(always)]
    #[must_use]
    pub const fn of(protocol: u8) -> u8 {
        if protocol == 6 { SESSION } else { USED }
    }
}

/// So many slots of a set may be of open flows: a fourth of the table, however many clients never bind.
pub const OPEN_SHARE: u64 = 2;

/// Sets of a table for so many flows.
#[must_use]
pub const fn sets(flows: u32) -> u32 {
    flows.div_ceil(FLOWS_OF_A_SET)
}

/// Entries of the map `FLOWS` for so many: its sets, and the [`Header`] behind them.
#[must_use]
pub const fn entries(flows: u32) -> u32 {
    sets(flows) + 1
}

/// For how many flows a map with so many entries was made: as many as [`entries`] was asked for, or up to five more.
#[must_use]
pub const fn flows(entries: u32) -> u32 {
    entries.saturating_sub(1).saturating_mul(FLOWS_OF_A_SET)
}

/// A flow. Two lines of a processor's cache, of which the first says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Slot {
    /// Whose.
    pub key: FlowKey,
    /// What `check` makes of the key, and of that in the value which never changes.
    pub check: u64,
    /// What became of it.
    pub flow: Flow,
}

impl Slot {
    /// Whether nobody is writing it: its tag says that there is a flow, and this whether it is one.
    #[must_use]
    pub fn is_whole(&self, home: &Home) -> bool {
        self.check == check(home.hash, address(&self.flow.care_of), self.flow.delta)
    }
}

/// Slots that share hashes. Map `FLOWS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Set {
    /// A tag for each slot; 0: the slot is free. No other is there twice.
    pub tags: [u16; SLOTS],
    /// When something was last heard of each, in [ticks](crate::abi::maps::unattended::tick).
    pub heard: [u32; SLOTS],
    /// One of [`class`] for each.
    pub classes: [u8; SLOTS],
    /// Zero.
    pub reserved: u64,
    /// The flows.
    pub slots: [Slot; SLOTS],
}

/// What is behind the sets: how to find flows in them. As large as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Header {
    /// [`Header::READY`] when the rest is true.
    pub ready: u64,
    /// Key of the hash.
    pub secret: Secret,
}

impl Header {
    /// A value of [`Header::ready`].
    pub const READY: u64 = u64::from_le_bytes(*b"anycast\0");
}

const _: () = assert!(size_of::<Set>() == 64 + SLOTS * 128 && size_of::<Slot>() == 128);
const _: () = assert!(size_of::<Header>() <= size_of::<Set>());

#[inline(always)]
pub(super) fn address(octets: &[u8; 16]) -> [u64; 2] {
    // SAFETY: both are 16 octets of plain data.
    unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(*octets) }
}

/// What [`Slot::check`] is for a flow with this hash: of a mixture of two it is another.
#[inline(always)]
pub(super) fn check(hash: u64, care_of: [u64; 2], delta: u16) -> u64 {
    (hash ^ care_of[0]).wrapping_mul(0x94d0_49bb_1331_11eb)
        ^ (care_of[1].wrapping_add(u64::from(delta))).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
