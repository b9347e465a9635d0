//! What the controller can be told.

use std::net::Ipv6Addr;

use anycast_common::{
    abi::maps::{Flow, FlowKey},
    wire::ipv6::Packet,
};

use crate::core::{Link, NextHop, Received, member};

/// Something that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// An interface appeared or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone {
        /// Its index.
        ifindex: u32,
    },
    /// The kernel finds that a host does not answer Neighbor Solicitations.
    NeighbourFailed {
        /// Interface index.
        ifindex: u32,
        /// Its address on that link.
        address: Ipv6Addr,
    },
    /// The kernel still has the route of an earlier run.
    Adopted {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// One of its next hops.
        next_hop: NextHop,
    },
    /// The data plane gave us a packet.
    Packet {
        /// What it took it for: one of [`kind`].
        kind: u8,
        /// The packet.
        received: Received<'a>,
    },
    /// The data plane refused a Report or Done; this is an example.
    Refused {
        /// Why, in the words of a counter.
        reason: &'static str,
        /// The start of the packet.
        received: Received<'a>,
    },
    /// The data plane saw a client that it does not know.
    NewClient {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address that it sent to, B.
        anycast: Ipv6Addr,
    },
    /// A Neighbor Solicitation came.
    Solicited {
        /// Interface on which it came.
        ifindex: u32,
        /// Our own Ethernet address there.
        mac: [u8; 6],
        /// The packet.
        packet: Packet<'a>,
    },
    /// A health check of the member has ended.
    Checked {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// What it found.
        finding: member::Finding,
    },
    /// The pinned flows, as [`Action::ReadFlows`] wanted; `now` is when their reading began.
    Flows(&'a [(FlowKey, Flow)]),
}

/// What an operator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Become a member of a configured group.
    Join {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Stop being one.
    Leave {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Stop being one until `Undrain`, whatever health checks say.
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
    /// The machine does not have the role.
    #[error("this machine has no member role")]
    NotMember,
    /// There is no such group.
    #[error("{0} is not a configured group")]
    UnknownGroup(Ipv6Addr),
}
