//! Actions, by which the core asks the shell to do something. Every action is idempotent.
//!
//! Each part of the shell that performs actions has an enum of its own, which it matches in one place.

use std::net::Ipv6Addr;

use anycast_common::abi::maps::{Flow, FlowKey};
use serde::Serialize;

use super::{Notice, Time, rr::NodeKey};

/// The actions of one step, in order.
pub type Actions = Vec<Action>;

/// A next hop of an anycast route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NextHop {
    /// Link-local address of the member. `None` for an on-link route.
    pub via: Option<Ipv6Addr>,
    /// Index of the interface to which the next hop belongs.
    pub ifindex: u32,
}

/// One action. The variants are grouped by the part of the shell that performs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends a complete IPv6 packet. `ifindex` is set where the destination needs a scope.
    Send {
        /// Index of the outgoing interface. With `None`, the routing table chooses the interface.
        ifindex: Option<u32>,
        /// The packet, from its IPv6 header on.
        packet: Vec<u8>,
    },
    /// Changes a map of the data plane.
    Map(MapAction),
    /// Router: changes a route.
    Route(RouteAction),
    /// Router: asks the kernel to verify that a member still answers on its link. The kernel notifies the shell when it
    /// does not.
    ProbeNeighbour {
        /// Interface index.
        ifindex: u32,
        /// Link-local address of the member.
        address: Ipv6Addr,
    },
    /// Member and router: changes the multicast groups to which the host listens.
    Group(GroupAction),
    /// Member: starts or stops a health check.
    Check(CheckAction),
    /// Correspondent: sends a message to the other gateways of the fleet.
    Publish {
        /// To this gateway alone. With `None`, to all.
        to: Option<u64>,
        /// The message.
        octets: Vec<u8>,
    },
    /// Correspondent: reads the pinned flows, and gives them to the core.
    ReadFlows {
        /// Whether something waits for what is found, such as a flow about which an ICMPv6 error came.
        soon: bool,
    },
    /// Correspondent: something waits for the next reading of the flows, so that the one that is under way must not
    /// take longer than it has to.
    HurryFlows,
    /// Correspondent: reads the pinned flows that were in use since this time, and gives them to the core.
    ReadRecentFlows {
        /// The time.
        since: Time,
    },
    /// Reports something that an operator may want to see in a log or a monitor.
    Notice(Notice),
}

/// A change of the maps of the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapAction {
    /// Member: tells the data plane that `anycast` is served here.
    SetLocalAnycast {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Whether the programs report new clients, so that a handshake starts.
        report_clients: bool,
    },
    /// Member: the programs do not report packets of `client` to `anycast` before `until`.
    QuietClient {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Time from which on they are reported again.
        until: Time,
    },
    /// Member: the programs may lead flows of `client` that come by `anycast` to `care_of` before `until`. A time in
    /// the past ends that.
    LeadClient {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// The member's own unicast address, C.
        care_of: Ipv6Addr,
        /// Time at which the binding ends.
        until: Time,
    },
    /// Correspondent: new flows of `client` to `anycast` go to `care_of` until `expires`.
    SetBinding {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// Time at which the binding ends.
        expires: Time,
    },
    /// Correspondent: new flows of `client` to `anycast` no longer go to a care-of address.
    RemoveBinding {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Correspondent: packets from `care_of` to `client` belong to `anycast`.
    SetCareOf {
        /// The client, A.
        client: Ipv6Addr,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Until this time, a packet from C to A binds its flow to C, if that flow is open.
        expires: Time,
    },
    /// Correspondent: forgets the pair of `client` and `care_of`, which nothing uses any more.
    RemoveCareOf {
        /// The client, A.
        client: Ipv6Addr,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
    },
    /// Correspondent: remembers a flow that another gateway of the fleet has bound, or adds to what is known of it.
    AdoptFlow {
        /// Key of the flow.
        key: FlowKey,
        /// The pin, as it is at the other gateway. Its times are those of this host's clock.
        flow: Flow,
    },
    /// Correspondent: makes a flow open whose trial failed at another gateway, unless it was answered.
    OpenFlow {
        /// Key of the flow.
        key: FlowKey,
        /// The member's unicast address to which it was bound, C.
        care_of: Ipv6Addr,
    },
    /// Correspondent: removes the pin of a flow, unless the flow has begun anew, or the member has been heard since the
    /// pin was read.
    RemoveFlow {
        /// Key of the flow.
        key: FlowKey,
        /// The pin, as it was read.
        flow: Flow,
    },
    /// Correspondent: removes the pin of a flow that an operator has ended, in use or not, unless it has begun anew.
    EndFlow {
        /// Key of the flow.
        key: FlowKey,
        /// The pin, as it was read.
        flow: Flow,
    },
    /// Correspondent: the programs answer Test Inits with tokens of this node key, while it is fresh.
    SetNodeKey(NodeKey),
    /// Correspondent: the programs have no node key any more, and leave Test Inits to the controller.
    RemoveNodeKey,
}

/// A change of the routes of the router role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// Gives the /128 route of `anycast` exactly these next hops.
    Set {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// At least one next hop. They are sorted and without duplicates.
        next_hops: Vec<NextHop>,
    },
    /// Removes our route of `anycast`.
    Remove {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
}

/// A change of the multicast groups to which the host listens. No two roles need the same group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupAction {
    /// Joins `group` on the interface.
    Join {
        /// Interface index.
        ifindex: u32,
        /// For a member, a solicited-node address. For a router, the transient group by which it looks for an MLDv2
        /// querier.
        group: Ipv6Addr,
    },
    /// Leaves `group` on the interface.
    Leave {
        /// Interface index.
        ifindex: u32,
        /// The same group as in the join.
        group: Ipv6Addr,
    },
}

/// A change of the health checks that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckAction {
    /// Starts a check of the service behind `anycast`.
    Start {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Number of the check, which its result carries as well.
        run: u64,
    },
    /// Stops the check of `anycast`, whose result is no longer needed.
    Abort {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
}
