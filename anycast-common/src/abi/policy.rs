//! The router's policy as the programs search it: in at most nine steps for each axis, however many rules there are.
//!
//! Each of the four things that a rule may ask for is an axis: the anycast address, the source, the
//! Ethernet source and the interface. The prefixes and values of all rules cut an axis into pieces,
//! and for each piece there is a set of the rules that hold on it. A packet lies on one piece of each
//! axis, found by bisection; the rules that match it are what the four sets have in common, and the
//! first of them decides. (Lakshman and Stiliadis, "High-Speed Policy-based Packet Forwarding", 1998.)

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::maps::POLICY_RULES;

/// Pieces of an axis: two cuts for each rule, and the beginning.
pub const PIECES: usize = 2 * POLICY_RULES as usize;
/// Steps of a bisection at most.
pub const STEPS: u32 = PIECES.trailing_zeros();
/// Capacity of the map `POLICY`: what applies, and what it is replaced by.
pub const GENERATIONS: u32 = 2;
/// Bit of [`Policy::verdicts`] that allows; the others are the number of the rule.
pub const ALLOWED: u32 = 1 << 31;

/// A set of rules, by their position in the order.
pub type Rules = [u64; POLICY_RULES as usize / 64];

/// An axis of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Addresses {
    /// Where pieces begin, as two numbers, in ascending order and from 0 on; the entries that are left
    /// are filled with the last address.
    pub cuts: [[u64; 2]; PIECES],
    /// Which rules hold on each.
    pub rules: [Rules; PIECES],
}

/// An axis of numbers: interface indices, or Ethernet addresses as [`ethernet`] reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Numbers {
    /// As in [`Addresses`], below 2^63.
    pub cuts: [u64; PIECES],
    /// Which rules hold on each.
    pub rules: [Rules; PIECES],
}

/// Section of the object, and name of its map: how often the policy was replaced, a `u64`.
pub const AGE_SECTION: &str = ".data.policy_age";

/// A whole policy. Map `POLICY`: what [`AGE_SECTION`] says, by its lowest bit, tells which of the
/// [`GENERATIONS`] applies. All zero is a policy without rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Policy {
    /// The first steps of the bisections: half the pieces of an axis, as a power of two, 0 for one
    /// piece.
    pub steps: Steps,
    /// What the rules decide, see [`ALLOWED`].
    pub verdicts: [u32; POLICY_RULES as usize],
    /// Anycast address that a Report names.
    pub anycast: Addresses,
    /// Its source.
    pub source: Addresses,
    /// Its Ethernet source.
    pub ethernet: Numbers,
    /// Interface by which it came.
    pub interface: Numbers,
}

/// See [`Policy::steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Steps {
    /// Of the anycast addresses.
    pub anycast: u64,
    /// Of the sources.
    pub source: u64,
    /// Of the Ethernet sources.
    pub ethernet: u64,
    /// Of the interfaces.
    pub interface: u64,
}

#[cfg(feature = "user")]
// SAFETY: the traits say that every bit pattern is a value and that there is no padding.
unsafe impl aya::Pod for Policy {}

/// An Ethernet address as a number.
#[inline(always)]
#[must_use]
pub const fn ethernet(address: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = address;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// 1 when `key` is not below `cut`, else 0, without a branch, which random keys would mispredict and
/// the verifier follow both ways.
#[inline(always)]
#[must_use]
pub const fn reaches(key: [u64; 2], cut: [u64; 2]) -> u64 {
    let borrow = borrow(key[1], cut[1], 0);
    1 - self::borrow(key[0], cut[0], borrow)
}

/// What `a - b - carry` borrows.
#[inline(always)]
const fn borrow(a: u64, b: u64, carry: u64) -> u64 {
    let difference = a.wrapping_sub(b).wrapping_sub(carry);
    ((!a & b) | (!(a ^ b) & difference)) >> 63
}

/// The same as [`reaches`] for numbers below 2^63.
#[inline(always)]
#[must_use]
pub const fn reaches_number(key: u64, cut: u64) -> u64 {
    1 - (key.wrapping_sub(cut) >> 63)
}
