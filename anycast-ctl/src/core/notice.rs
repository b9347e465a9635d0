//! Events that operators want to know of. The log and the monitor show them.

use std::net::Ipv6Addr;

use anycast_common::wire;
use serde::Serialize;

mod fleet;
mod handshake;

pub use fleet::{FleetChange, FleetReady};
pub use handshake::HandshakeOutcome;

/// One event, with the fields by which an operator finds the client, member or address again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Notice {
    /// Router: the Querier of a link changed (RFC 2710 section 6).
    Querier {
        /// Interface index.
        ifindex: u32,
        /// Address of the Querier.
        querier: Ipv6Addr,
        /// Whether this router is the Querier.
        ours: bool,
    },
    /// Router: a member joined a group.
    MemberJoined {
        /// Interface index.
        ifindex: u32,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Link-local address of the member.
        member: Ipv6Addr,
        /// The policy rule that let it in, counted from 0.
        rule: usize,
    },
    /// Router: a member of a group is gone.
    MemberLeft {
        /// Interface index.
        ifindex: u32,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Link-local address of the member.
        member: Ipv6Addr,
        /// Why the member is gone.
        cause: LeaveCause,
    },
    /// Router: a Report or Done was refused.
    MldRefused {
        /// Interface index.
        ifindex: u32,
        /// Source address of the message.
        source: Ipv6Addr,
        /// Ethernet source address of the message.
        #[serde(serialize_with = "colons")]
        #[cfg_attr(test, schemars(with = "String"))]
        mac: [u8; 6],
        /// Whether the data plane or the controller refused it.
        by: RefusedBy,
        /// The anycast address that the message names, where it could be read.
        anycast: Option<Ipv6Addr>,
        /// The reason, which is the name of a counter.
        reason: &'static str,
    },
    /// Router: the route of a group changed.
    Route {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// The next hops of the route. The list is empty when the route was withdrawn, and an on-link route is shown
        /// with `anycast` itself as its next hop.
        next_hops: Vec<Ipv6Addr>,
    },
    /// Member: this host joined or left a group.
    Membership {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// True when the host joined, false when it left.
        joined: bool,
    },
    /// Member: the health of a service changed.
    Health {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Whether the service is healthy now.
        healthy: bool,
        /// Output of the last check, in one line.
        said: String,
    },
    /// Member: a handshake with a client started.
    HandshakeStarted {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Member: a handshake with a client ended.
    Handshake {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// How the handshake ended.
        #[serde(flatten)]
        outcome: HandshakeOutcome,
    },
    /// Correspondent: a binding was made, changed or ended.
    Binding {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// What happened to the binding.
        change: BindingChange,
        /// The care-of address to which new flows went before, if they moved.
        #[serde(skip_serializing_if = "Option::is_none")]
        moved_from: Option<Ipv6Addr>,
    },
    /// Correspondent: a flow that was bound to a care-of address is open again, because nothing showed that the member
    /// answers it there.
    TrialFailed {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// Upper-layer protocol of the flow.
        protocol: u8,
        /// Port of the client; the identifier of an ICMPv6 echo.
        client_port: u16,
        /// Port of the service.
        service_port: u16,
        /// Why, in the words of a counter.
        reason: &'static str,
        /// For how many seconds the client is not bound to this care-of address. None when another flow of theirs was
        /// answered lately, so that bindings go on.
        #[serde(skip_serializing_if = "Option::is_none")]
        left_alone: Option<u64>,
    },
    /// Correspondent: the member at a care-of address failed. All bindings and flows that led to it have ended.
    CareOfFailed {
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// How the failure was detected.
        cause: FailureCause,
        /// Number of flows that were pinned to the care-of address.
        flows: usize,
    },
    /// Correspondent: an operator ended bindings and flows, namely those that match all addresses which are given here.
    Flushed {
        /// The client, A.
        client: Option<Ipv6Addr>,
        /// The anycast address, B.
        anycast: Option<Ipv6Addr>,
        /// The member's unicast address, C.
        care_of: Option<Ipv6Addr>,
        /// Number of bindings that ended.
        bindings: usize,
        /// Number of pinned flows that ended.
        flows: usize,
    },
    /// Member: an operator made the member forget clients, namely those that match all addresses which are given.
    Forgotten {
        /// The client, A.
        client: Option<Ipv6Addr>,
        /// The anycast address, B.
        anycast: Option<Ipv6Addr>,
        /// Our unicast address, C.
        care_of: Option<Ipv6Addr>,
        /// Number of clients that were forgotten.
        clients: usize,
    },
    /// Correspondent: a mobility message was refused.
    MobilityRefused {
        /// Source address of the message.
        source: Ipv6Addr,
        /// Destination address of the message.
        destination: Ipv6Addr,
        /// The reason, which is the name of a counter.
        reason: &'static str,
    },
    /// Correspondent: another gateway of the fleet is there, or is no longer heard.
    FleetPeer {
        /// The name of the gateway.
        name: String,
        /// What happened.
        change: FleetChange,
    },
    /// Correspondent: this gateway knows what the others do, or goes on without.
    FleetReady {
        /// By what.
        how: FleetReady,
    },
    /// Correspondent: the clock of another gateway and ours differ by more than a period of the fleet's keys.
    FleetClock {
        /// The name of the gateway.
        name: String,
        /// By how many seconds its clock is ahead of ours.
        ahead_seconds: i64,
    },
    /// Correspondent: a gateway on the bus has another secret, as it says itself.
    FleetStranger {
        /// The name that it gives.
        name: String,
        /// The fingerprint of its secret.
        fingerprint: String,
    },
    /// The data plane accepted a packet that the controller cannot parse. This is a bug and worth a report.
    Unparsable {
        /// Interface index.
        ifindex: u32,
        /// What is wrong with the packet.
        #[serde(serialize_with = "display")]
        #[cfg_attr(test, schemars(with = "String"))]
        error: wire::Error,
    },
}

/// Who refused a Report or Done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RefusedBy {
    /// The XDP program, which reports only examples of what it drops.
    DataPlane,
    /// The controller, which reports every message that it refuses.
    Controller,
}

impl Notice {
    /// The name of the event, by which the log, the monitor and the documents know it.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::Querier { .. } => "querier",
            Self::MemberJoined { .. } => "member_joined",
            Self::MemberLeft { .. } => "member_left",
            Self::MldRefused { .. } => "mld_refused",
            Self::Route { .. } => "route",
            Self::Membership { .. } => "membership",
            Self::Health { .. } => "health",
            Self::HandshakeStarted { .. } => "handshake_started",
            Self::Handshake { .. } => "handshake",
            Self::Binding { .. } => "binding",
            Self::TrialFailed { .. } => "trial_failed",
            Self::CareOfFailed { .. } => "care_of_failed",
            Self::Flushed { .. } => "flushed",
            Self::Forgotten { .. } => "forgotten",
            Self::MobilityRefused { .. } => "mobility_refused",
            Self::FleetPeer { .. } => "fleet_peer",
            Self::FleetReady { .. } => "fleet_ready",
            Self::FleetClock { .. } => "fleet_clock",
            Self::FleetStranger { .. } => "fleet_stranger",
            Self::Unparsable { .. } => "unparsable",
        }
    }

    /// The role that the event belongs to. `None` when no role can be told.
    #[must_use]
    pub fn role(&self) -> Option<&'static str> {
        match self {
            Self::Querier { .. }
            | Self::MemberJoined { .. }
            | Self::MemberLeft { .. }
            | Self::MldRefused { .. }
            | Self::Route { .. } => Some("router"),
            Self::Membership { .. }
            | Self::Health { .. }
            | Self::HandshakeStarted { .. }
            | Self::Handshake { .. }
            | Self::Forgotten { .. } => Some("member"),
            Self::Binding { .. }
            | Self::TrialFailed { .. }
            | Self::CareOfFailed { .. }
            | Self::Flushed { .. }
            | Self::FleetPeer { .. }
            | Self::FleetReady { .. }
            | Self::FleetClock { .. }
            | Self::FleetStranger { .. }
            | Self::MobilityRefused { .. } => Some("correspondent"),
            Self::Unparsable { .. } => None,
        }
    }

    /// Index of the interface that the event belongs to.
    #[must_use]
    pub fn ifindex(&self) -> Option<u32> {
        match self {
            Self::Querier { ifindex, .. }
            | Self::MemberJoined { ifindex, .. }
            | Self::MemberLeft { ifindex, .. }
            | Self::MldRefused { ifindex, .. }
            | Self::Unparsable { ifindex, .. } => Some(*ifindex),
            Self::Route { .. }
            | Self::Membership { .. }
            | Self::Health { .. }
            | Self::HandshakeStarted { .. }
            | Self::Handshake { .. }
            | Self::Forgotten { .. }
            | Self::Binding { .. }
            | Self::TrialFailed { .. }
            | Self::CareOfFailed { .. }
            | Self::Flushed { .. }
            | Self::FleetPeer { .. }
            | Self::FleetReady { .. }
            | Self::FleetClock { .. }
            | Self::FleetStranger { .. }
            | Self::MobilityRefused { .. } => None,
        }
    }
}

/// Why a member is no longer in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaveCause {
    /// The member sent a Done, or another Querier asked, and the member then answered no Address-Specific Query.
    Done,
    /// The member sent no Report within the Multicast Listener Interval.
    Timeout,
    /// The member does not answer Neighbor Solicitations.
    Unreachable,
    /// The link of the member went down or disappeared.
    LinkDown,
    /// The interface of the member's link has no longer the router role.
    NotConfigured,
    /// The policy no longer allows the member.
    Policy,
    /// The router role was shut down.
    Shutdown,
}

/// What happened to a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BindingChange {
    /// A binding was made where there was none.
    Created,
    /// The lifetime of the binding was extended.
    Renewed,
    /// New flows now go to this care-of address, and no longer to that of another member.
    Moved,
    /// A Binding Update of lifetime 0 ended the binding.
    Deleted,
    /// The binding's lifetime of 16 seconds ran out.
    Expired,
    /// The care-of address does not answer, or did not answer a flow after an ICMPv6 error about it.
    Failed,
    /// An operator ended the binding.
    Flushed,
}

/// How the failure of a care-of address was detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// After ICMPv6 errors about several flows, these flows were not answered, and nothing else was heard from the
    /// member.
    Unreachable,
    /// During the failure time no flow to the care-of address was answered, although at least one had been answered
    /// before.
    Silence,
}

fn display<S: serde::Serializer>(error: &wire::Error, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

fn colons<S: serde::Serializer>(mac: &[u8; 6], serializer: S) -> Result<S::Ok, S::Error> {
    let [a, b, c, d, e, f] = mac;
    serializer.collect_str(&format_args!(
        "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
    ))
}
