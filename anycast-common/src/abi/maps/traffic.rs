//! How much goes by each care-of address.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::Address;
use crate::abi::counters::short;

layout!(Account: 32, Counted: 16, Traffic: 64);

/// Entries of the maps `ACCOUNTS` and `TRAFFIC`: pairs of an anycast and a care-of address of which packets are
/// counted. The first of `TRAFFIC` is of all pairs that have none of their own.
pub const ACCOUNTS: u32 = 4096;

/// (B, C). Map `ACCOUNTS`: index of the [`Traffic`] of the pair. C is `::` for what goes by plain anycast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Account {
    /// The anycast address, B.
    pub anycast: Address,
    /// The member's unicast address, C.
    pub care_of: Address,
}

/// Packets in one direction. What offloads have merged is one packet, as it is for the kernel's own counters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct Counted {
    /// How many, without those of the short way.
    pub packets: u64,
    /// Octets of all, from the IPv6 header on.
    pub octets: u64,
}

/// What was counted of a pair. As large as a line of a processor's cache; the kernel aligns it to eight octets. Map
/// `TRAFFIC`, for each CPU.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct Traffic {
    /// A client's packets that went to C, or came by C to a member. By plain anycast: that came to a member by B.
    pub to_member: Counted,
    /// A member's packets that came from C, or left a member from C. By plain anycast: that left a member from B.
    pub to_client: Counted,
    /// Packets that went the short way, see [`short`].
    pub short: [u64; short::ALL],
}
