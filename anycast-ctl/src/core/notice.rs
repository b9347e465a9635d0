//! What happened, for people: the log and the monitor show these.

use std::net::Ipv6Addr;

use anycast_common::wire::{self, mobility::status};
use serde::Serialize;

/// One thing that happened. Each has the fields by which an operator finds it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Notice {
    /// Router: the Querier of a link changed (RFC 2710 section 6).
    Querier {
        /// Interface index.
        ifindex: u32,
        /// Address of the Querier.
        querier: Ipv6Addr,
        /// It is this router.
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
        /// Why.
        cause: LeaveCause,
    },
    /// Router: a Report or Done was refused.
    MldRefused {
        /// Interface index.
        ifindex: u32,
        /// Its source.
        source: Ipv6Addr,
        /// Its Ethernet source.
        #[serde(serialize_with = "colons")]
        mac: [u8; 6],
        /// By whom.
        by: RefusedBy,
        /// Its address, where it could be read.
        anycast: Option<Ipv6Addr>,
        /// Why, in the words of a counter.
        reason: &'static str,
    },
    /// Router: the route of a group changed.
    Route {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Its next hops, empty when it was withdrawn; `anycast` itself stands for an on-link one.
        next_hops: Vec<Ipv6Addr>,
    },
    /// Member: joined or left a group.
    Membership {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Joined, or left.
        joined: bool,
    },
    /// Member: the checks of a service came to another verdict.
    Health {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Healthy, or not.
        healthy: bool,
        /// What the last check said.
        said: String,
    },
    /// Member: a handshake with a client begins.
    HandshakeStarted {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Member: a handshake with a client came to an end.
    Handshake {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// How.
        #[serde(flatten)]
        outcome: HandshakeOutcome,
    },
    /// Correspondent: a binding was made, or changed, or came to its end.
    Binding {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// What became of it.
        change: BindingChange,
        /// Where new flows went before, when they moved.
        #[serde(skip_serializing_if = "Option::is_none")]
        moved_from: Option<Ipv6Addr>,
    },
    /// Correspondent: a care-of address failed. Its bindings and flows are over.
    CareOfFailed {
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// How it is known.
        cause: FailureCause,
        /// Flows that were pinned to it.
        flows: usize,
    },
    /// Correspondent: an operator ended bindings and flows; an address that is given was theirs.
    Flushed {
        /// The client, A.
        client: Option<Ipv6Addr>,
        /// The anycast address, B.
        anycast: Option<Ipv6Addr>,
        /// The member's unicast address, C.
        care_of: Option<Ipv6Addr>,
        /// How many bindings.
        bindings: usize,
        /// How many flows.
        flows: usize,
    },
    /// Member: an operator had what is known of clients forgotten; an address that is given was theirs.
    Forgotten {
        /// The client, A.
        client: Option<Ipv6Addr>,
        /// The anycast address, B.
        anycast: Option<Ipv6Addr>,
        /// Our unicast address, C.
        care_of: Option<Ipv6Addr>,
        /// How many.
        clients: usize,
    },
    /// Correspondent: a mobility message was refused.
    MobilityRefused {
        /// Its source.
        source: Ipv6Addr,
        /// Its destination.
        destination: Ipv6Addr,
        /// Why, in the words of a counter.
        reason: &'static str,
    },
    /// A packet that the data plane let through does not parse: a disagreement worth a report.
    Unparsable {
        /// Interface index.
        ifindex: u32,
        /// What is wrong with it.
        #[serde(serialize_with = "display")]
        error: wire::Error,
    },
}

/// Who refused a Report or Done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedBy {
    /// XDP, which shows examples of what it drops.
    DataPlane,
    /// The controller, which shows each.
    Controller,
}

impl Notice {
    /// The role that it is about; none where that cannot be said.
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
            | Self::CareOfFailed { .. }
            | Self::Flushed { .. }
            | Self::MobilityRefused { .. } => Some("correspondent"),
            Self::Unparsable { .. } => None,
        }
    }

    /// Index of the interface that it is about.
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
            | Self::CareOfFailed { .. }
            | Self::Flushed { .. }
            | Self::MobilityRefused { .. } => None,
        }
    }
}

/// Why a member left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveCause {
    /// It said Done, or another Querier asked, and it answered no Address-Specific Query.
    Done,
    /// Its Multicast Listener Interval ran out.
    Timeout,
    /// It does not answer Neighbor Solicitations.
    Unreachable,
    /// Its link went away.
    LinkDown,
    /// The policy no longer lets it in.
    Policy,
    /// The router role came to its end.
    Shutdown,
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "Outcome")]
pub enum HandshakeOutcome {
    /// The client's correspondent acknowledged the Binding Update.
    Bound,
    /// Nothing answered; the client is left alone for a while.
    NoAnswer,
    /// The client does not speak the Mobility Header.
    NotCapable,
    /// The Binding Update was refused with this status (RFC 6275 6.1.8).
    Refused(u8),
    /// This host left the group.
    Left,
}

impl HandshakeOutcome {
    /// The name that the monitor and `handshakes` show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::NoAnswer => "no_answer",
            Self::NotCapable => "not_capable",
            Self::Refused(_) => "refused",
            Self::Left => "left",
        }
    }
}

/// A [`HandshakeOutcome`] as the fields of an event.
#[derive(Serialize)]
struct Outcome {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_name: Option<&'static str>,
}

impl From<HandshakeOutcome> for Outcome {
    fn from(outcome: HandshakeOutcome) -> Self {
        let refused = match outcome {
            HandshakeOutcome::Refused(status) => Some(status),
            _ => None,
        };
        Self {
            outcome: outcome.name(),
            status: refused,
            status_name: refused.map(status::name),
        }
    }
}

/// What became of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingChange {
    /// There was none.
    Created,
    /// There was one; it lives on.
    Renewed,
    /// New flows go to it, and no more to another member.
    Moved,
    /// A Binding Update of lifetime 0.
    Deleted,
    /// Its 16 seconds are over.
    Expired,
    /// Its care-of address does not answer, or did not after an ICMPv6 error about a flow.
    Failed,
    /// An operator wanted it.
    Flushed,
}

/// How the failure of a care-of address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// After ICMPv6 errors several flows were answered no more, and nothing else was heard.
    Unreachable,
    /// No flow was answered for the time of a failure, and one that had been was not.
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
