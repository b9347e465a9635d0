//! What links, groups and timers are known by.

use std::net::Ipv6Addr;

/// Position of a link in the settings.
pub(super) type LinkId = usize;
/// An anycast address on a link.
pub(super) type GroupKey = (Ipv6Addr, LinkId);

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// "general query timer".
    GeneralQuery(LinkId),
    /// "other querier present timer".
    OtherQuerier(LinkId),
    /// How long the last Query of the MLDv2 querier is good for.
    V2Querier(LinkId),
    /// The group that makes an MLDv2 querier speak is left.
    LeaveGroup(LinkId),
    /// The next group is refreshed with Address-Specific Queries.
    Refresh(LinkId),
    /// The next member is probed.
    Probe(LinkId),
    /// "retransmit timer".
    Retransmit(GroupKey),
    /// The timer of an address, here of one member.
    Member(GroupKey, Ipv6Addr),
}
