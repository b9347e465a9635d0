//! The rules by which a router allows Reports, and what it refuses.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::Address;

layout!(PolicyRule: 80, Refused: 64, Example: 16);

/// One ordered rule of the router's policy (draft host-anycast section 5): the first match wins, and a
/// Report that no rule matches is refused. The controller compiles them all for the map `POLICY`, see
/// [`Policy`](crate::abi::policy::Policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct PolicyRule {
    /// Source prefix, host bits zero.
    pub source: Address,
    /// Mask of `source`.
    pub source_mask: Address,
    /// Anycast prefix, host bits zero.
    pub anycast: Address,
    /// Mask of `anycast`.
    pub anycast_mask: Address,
    /// Interface index; 0 matches every interface.
    pub ifindex: u32,
    /// [`policy`] action.
    pub action: u8,
    /// 1 when `mac` must match, because a link-local source is easy to forge.
    pub match_mac: u8,
    /// Ethernet source address.
    pub mac: [u8; 6],
    /// Number of the rule, below [`DEFAULT_DENY`]: its index in the map `POLICY_HITS`.
    pub id: u32,
}

/// Values of [`PolicyRule::action`].
pub mod policy {
    /// The Report goes to the controller.
    pub const ALLOW: u8 = 1;
    /// The Report is dropped and counted.
    pub const DENY: u8 = 2;
}

/// Rules of a policy, with the default deny as the last, and capacity of the map `POLICY_HITS`.
pub const POLICY_RULES: u32 = 256;
/// Index in the map `POLICY_HITS` of what no rule matched. A per-CPU `u64` for each rule counts
/// what it decided.
pub const DEFAULT_DENY: u32 = POLICY_RULES - 1;

/// A Report or Done that the policy refuses, to the last octet that matters: its checksum was right.
/// Map `REFUSED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Refused {
    /// Ethernet source and type.
    pub ethernet: u64,
    /// Link-local source.
    pub source: [u64; 2],
    /// The MLD message.
    pub message: [u64; 3],
    /// The timer tick, in jiffies, in which such refusals were known to need no example, and [`AGE`](super::AGE) for
    /// each policy until then, this one included.
    pub stamp: u64,
    /// Interface by which it came.
    pub ifindex: u32,
    /// Number of the rule.
    pub rule: u16,
    /// The counter of such refusals.
    pub reason: u16,
}

/// Examples of one reason for refusals. Map `EXAMPLES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Example {
    /// When the token bucket is full again.
    pub full: u64,
    /// The timer tick, in jiffies, in which it was last found empty: it is so until the next.
    pub empty_in: u64,
}
