//! Identifiers of links, groups and timers.

use std::net::Ipv6Addr;

/// Position of a link in the settings.
pub(super) type LinkId = usize;
/// An anycast address on a link.
pub(super) type GroupKey = (Ipv6Addr, LinkId);

/// The purpose of a timer. Quoted names are those of RFC 2710 section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// Ends the time in which the member that an earlier run chose is preferred when it reports.
    Earlier,
    /// The "general query timer".
    GeneralQuery(LinkId),
    /// The "other querier present timer".
    OtherQuerier(LinkId),
    /// Ends when the last Query of the MLDv2 querier is no longer valid.
    V2Querier(LinkId),
    /// Ends the time for which the members of a link that is down are held.
    Hold(LinkId),
    /// Leaves the multicast group that this router joined to make an MLDv2 querier send a Query about it.
    LeaveGroup(LinkId),
    /// Refreshes the next group with Address-Specific Queries.
    Refresh(LinkId),
    /// Probes the next member.
    Probe(LinkId),
    /// Sends the next Multicast Router Advertisement.
    Advertise(LinkId),
    /// The "retransmit timer".
    Retransmit(GroupKey),
    /// The timer of an address, which here belongs to one member.
    Member(GroupKey, Ipv6Addr),
}
