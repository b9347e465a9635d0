//! What the core asks the shell to do. Every action is idempotent.
//!
//! Each part of the shell that carries something out has one enum of its own, which it takes apart in one place.

use std::net::Ipv6Addr;

use anycast_common::abi::maps::{Flow, FlowKey};
use serde::Serialize;

use super::{Notice, Time};

/// The actions of one step, in order.
pub type Actions = Vec<Action>;

/// A next hop of an anycast route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NextHop {
    /// Link-local address of the member; none for an on-link route.
    pub via: Option<Ipv6Addr>,
    /// Interface index.
    pub ifindex: u32,
}

/// One thing to do, by the part of the shell that does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends a complete IPv6 packet. `ifindex` is set where the destination needs a scope.
    Send {
        /// Outgoing interface; none lets the routing table choose.
        ifindex: Option<u32>,
        /// The packet, from its IPv6 header on.
        packet: Vec<u8>,
    },
    /// Changes a map of the data plane.
    Map(MapAction),
    /// Router: changes a route.
    Route(RouteAction),
    /// Router: the kernel finds out whether a member still answers on its link, and tells when not.
    ProbeNeighbour {
        /// Interface index.
        ifindex: u32,
        /// Link-local address of the member.
        address: Ipv6Addr,
    },
    /// Member, router: changes which multicast groups the host listens to.
    Group(GroupAction),
    /// Member: begins or ends a health check.
    Check(CheckAction),
    /// Correspondent: the pinned flows are read and given to the core.
    ReadFlows,
    /// Something that an operator may want to see in a log or a monitor.
    Notice(Notice),
}

/// What the maps of the data plane say from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapAction {
    /// Member: the data plane knows `anycast` as served here.
    SetLocalAnycast {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Whether new clients are reported, so that a handshake starts.
        report_clients: bool,
    },
    /// Member: packets of `client` to `anycast` are not reported before `until`.
    QuietClient {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// When they may be reported again.
        until: Time,
    },
    /// Member: flows of `client` that come by `anycast` may be led to `care_of` before `until`; a time that is past
    /// takes it back.
    LeadClient {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Our unicast address, C.
        care_of: Ipv6Addr,
        /// When the binding ends.
        until: Time,
    },
    /// Correspondent: new flows (A, B) go to `care_of` until `expires`.
    SetBinding {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// End of the binding.
        expires: Time,
    },
    /// Correspondent: (A, B) is not bound.
    RemoveBinding {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Correspondent: packets C -> A belong to `anycast`.
    SetCareOf {
        /// The client, A.
        client: Ipv6Addr,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Until then a packet C -> A binds its flow to C, when that is open.
        expires: Time,
    },
    /// Correspondent: nothing uses the pair any more.
    RemoveCareOf {
        /// The client, A.
        client: Ipv6Addr,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
    },
    /// Correspondent: the flow is not pinned any more, unless it began anew or the member was heard
    /// since it was read.
    RemoveFlow {
        /// The flow.
        key: FlowKey,
        /// Its pin, as it was read.
        flow: Flow,
    },
}

/// Which routes the router role has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// The /128 route of `anycast` has exactly these next hops (at least one).
    Set {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Sorted, no duplicates.
        next_hops: Vec<NextHop>,
    },
    /// `anycast` has no route of ours.
    Remove {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
}

/// Which multicast groups the host listens to. No two roles want the same group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupAction {
    /// The host listens to `group` on the interface.
    Join {
        /// Interface index.
        ifindex: u32,
        /// Member: a solicited-node address. Router: the transient group by which it listens.
        group: Ipv6Addr,
    },
    /// The host does not listen to `group` on the interface any more.
    Leave {
        /// Interface index.
        ifindex: u32,
        /// The same group as when it joined.
        group: Ipv6Addr,
    },
}

/// Which services are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckAction {
    /// The service behind `anycast` is checked. The result names `run`.
    Start {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Number of the check.
        run: u64,
    },
    /// Nothing waits for the check of `anycast` any more.
    Abort {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
}
