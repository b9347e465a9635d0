//! Records of the ring buffer `EVENTS`: packets that the controller must see.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::maps::{Address, FlowKey};

/// Start of every record. The first `length` bytes of the IPv6 packet follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Header {
    /// When the packet was seen: nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// Interface on which it came.
    pub ifindex: u32,
    /// Bytes of the IPv6 packet in the record.
    pub length: u16,
    /// [`kind`] of event.
    pub kind: u8,
    /// Of [`kind::REFUSED`] and [`kind::TRIAL_FAILED`]: the [`Counter`](super::counters::Counter) that says why. Else
    /// zero.
    pub reason: u8,
    /// Ethernet source address of the packet.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved2: [u8; 2],
}

/// What follows the header of a [`kind::TRIAL_FAILED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct TrialFailed {
    /// The flow.
    pub flow: FlowKey,
    /// The care-of address to which it was bound, C.
    pub care_of: Address,
}

/// Octets of the [`Header`].
pub const HEADER: usize = size_of::<Header>();
/// Octets of a short record: room for an MLD message or a first look at a packet.
pub const SHORT: usize = 128;
/// Octets of a long record: room for a packet of the IPv6 minimum MTU.
pub const LONG: usize = HEADER + 1280;
/// Capacity of the ring buffer in octets.
pub const RING: usize = 4 << 20;

const _: () = assert!(HEADER == 24 && SHORT.is_multiple_of(8) && LONG.is_multiple_of(8));

/// Examples of refusals that each CPU gives to the controller: one in so many nanoseconds for each
/// reason, so that a flood has no way to it.
pub const REFUSAL_EVERY: u64 = 1_000_000_000;
/// And as many at once, after a quiet time.
pub const REFUSAL_BURST: u64 = 4;

/// The controller is told at once that a care-of address cannot be reached, and about the same one
/// not again for so many nanoseconds: a dead member with many sessions causes an error for each.
pub const UNREACHABLE_EVERY: u64 = 100_000_000;

/// Values of [`Header::kind`].
pub mod kind {
    /// An MLD message that passed XDP's checks: Report or Done at a router, Query at either.
    pub const MLD: u8 = 1;
    /// A Mobility Header message for one of our addresses or clients.
    pub const MOBILITY: u8 = 2;
    /// The first packet of a client to an anycast address of this member.
    pub const NEW_CLIENT: u8 = 3;
    /// An ICMPv6 error that says a client does not know the Mobility Header.
    pub const ICMP_ERROR: u8 = 4;
    /// The start of a Report or Done that was dropped: an example, see [`REFUSAL_EVERY`](super::REFUSAL_EVERY).
    pub const REFUSED: u8 = 5;
    /// An ICMPv6 Destination Unreachable that quotes a pinned flow and tells of its care-of address,
    /// not of the flow alone: one in [`UNREACHABLE_EVERY`](super::UNREACHABLE_EVERY) for each.
    pub const CARE_OF_UNREACHABLE: u8 = 6;
    /// A flow that was bound is open again: a [`TrialFailed`](super::TrialFailed) follows, and no packet.
    pub const TRIAL_FAILED: u8 = 7;
}
