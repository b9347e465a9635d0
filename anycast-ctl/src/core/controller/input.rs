//! Inputs of the controller.

use std::{net::Ipv6Addr, sync::Arc};

use anycast_common::{
    abi::{
        event::TrialFailed,
        maps::{Flow, FlowKey},
    },
    wire::ipv6::Packet,
};

use crate::core::{Link, NextHop, Received, Time, member};

/// Something that happened outside the core.
#[derive(Debug)]
pub enum Input<'a> {
    /// An interface appeared or changed.
    Link(Link),
    /// An interface disappeared.
    LinkGone {
        /// Index of the interface.
        ifindex: u32,
    },
    /// The kernel found that a host does not answer Neighbor Solicitations.
    NeighbourFailed {
        /// Interface index.
        ifindex: u32,
        /// Address of the host on that link.
        address: Ipv6Addr,
    },
    /// The kernel still has a route of an earlier run.
    Adopted {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// One of the next hops of the route.
        next_hop: NextHop,
    },
    /// The data plane passed a packet to the controller.
    Packet {
        /// What the data plane took the packet for: one of [`kind`].
        kind: u8,
        /// The packet and where it arrived.
        received: Received<'a>,
    },
    /// The data plane refused a Report or Done and sent it as an example.
    Refused {
        /// The reason, which is the name of a counter.
        reason: &'static str,
        /// The start of the packet, and where it arrived.
        received: Received<'a>,
    },
    /// A flow that the data plane had bound is open again: its trial failed.
    TrialFailed {
        /// The flow, and the care-of address to which it was bound.
        failed: TrialFailed,
        /// The reason, which is the name of a counter.
        reason: &'static str,
    },
    /// The data plane saw a packet of a client that it does not know.
    NewClient {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address that the client sent to, B.
        anycast: Ipv6Addr,
    },
    /// A Neighbor Solicitation arrived.
    Solicited {
        /// Index of the interface on which it arrived.
        ifindex: u32,
        /// This host's own Ethernet address on that interface.
        mac: [u8; 6],
        /// The Neighbor Solicitation.
        packet: Packet<'a>,
    },
    /// A Multicast Router Solicitation arrived.
    RouterSolicited {
        /// Index of the interface on which it arrived.
        ifindex: u32,
        /// The Solicitation.
        packet: Packet<'a>,
    },
    /// A health check of a member has ended.
    Checked {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Result of the check.
        finding: member::Finding,
    },
    /// A message of the fleet's bus.
    Bus(&'a [u8]),
    /// The connection to the fleet's bus is there, or is not.
    BusConnected(bool),
    /// The pinned flows, as [`Action::ReadFlows`] requested them.
    Flows {
        /// When their reading began.
        began: Time,
        /// The flows.
        flows: &'a Arc<Vec<(FlowKey, Flow)>>,
    },
    /// Those that [`Action::ReadRecentFlows`] requested. The time of the input is when their reading began.
    RecentFlows(&'a [(FlowKey, Flow)]),
}

/// A command of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Join a configured group.
    Join {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Leave the group.
    Leave {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Leave the group until `Undrain`, whatever the health checks say.
    Drain {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// End a drain.
    Undrain {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// This machine does not have the member role.
    #[error("this machine has no member role")]
    NotMember,
    /// This group is not configured.
    #[error("{0} is not a configured group")]
    UnknownGroup(Ipv6Addr),
}
