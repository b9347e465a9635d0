//! The control socket. Requests and replies are JSON objects, one per line, in turn.
//!
//! Server and client share these types, so that they always agree.

pub mod client;
pub mod monitor;
pub mod server;
pub mod view;

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::{core::router::Position, model::mac::Mac};

/// Longest request line in octets.
pub const REQUEST_LIMIT: usize = 4096;

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// State of the daemon, its interfaces and its links.
    Status,
    /// A page of anycast groups.
    Groups {
        /// Position at which the previous page ended.
        #[serde(default)]
        after: Option<view::Cursor>,
    },
    /// A page of the members of a router's groups.
    Members {
        /// Only members of this anycast address.
        #[serde(default)]
        group: Option<Ipv6Addr>,
        /// Only the member with this link-local address.
        #[serde(default)]
        member: Option<Ipv6Addr>,
        /// Position at which the previous page ended.
        #[serde(default)]
        after: Option<view::Cursor>,
    },
    /// The policy of a router, with the number of decisions of each rule.
    Policy,
    /// Adds a rule, which stays until the next reload or restart.
    PolicyAdd {
        /// The rule.
        rule: view::Rule,
        /// Position of the rule.
        #[serde(default)]
        position: Position,
    },
    /// Removes a rule, until the next reload or restart.
    PolicyRemove {
        /// Number of the rule.
        id: usize,
    },
    /// Explains what happens to a Report, and why.
    PolicyExplain {
        /// Source address of the Report.
        source: Ipv6Addr,
        /// The anycast address that the Report names.
        anycast: Ipv6Addr,
        /// Interface on which the Report arrives. `None` stands for each link of the router.
        #[serde(default)]
        interface: Option<String>,
        /// Ethernet source address of the Report. `None` stands for the address by which the member is known.
        #[serde(default)]
        mac: Option<Mac>,
    },
    /// Reads the configuration file again, and takes all of it that a running daemon can take, or nothing.
    Reload,
    /// The Reports and Dones that were refused last.
    Refusals,
    /// Sends all events from now on, one per line, until the client disconnects.
    Monitor {
        /// Only events of these roles. An empty list stands for all roles.
        #[serde(default)]
        roles: Vec<String>,
    },
    /// A page of the bindings of a correspondent.
    Bindings {
        /// Only bindings that match these addresses.
        #[serde(default)]
        which: view::Which,
        /// Position at which the previous page ended.
        #[serde(default)]
        after: Option<view::Triple>,
    },
    /// A page of the clients that a member knows.
    Handshakes {
        /// Only this client, A.
        #[serde(default)]
        client: Option<Ipv6Addr>,
        /// Only this anycast address, B.
        #[serde(default)]
        anycast: Option<Ipv6Addr>,
        /// Position at which the previous page ended.
        #[serde(default)]
        after: Option<view::Pair>,
    },
    /// A page of the flows that travel by a care-of address.
    Flows {
        /// Only flows that match these addresses.
        #[serde(default)]
        which: view::Which,
        /// Also the open flows that a correspondent remembers, which travel by plain anycast.
        #[serde(default)]
        open: bool,
        /// Position at which the previous page ended.
        #[serde(default)]
        after: Option<view::FlowCursor>,
    },
    /// Ends bindings and flows of a correspondent, and makes a member forget clients. Without an address, this applies
    /// to all of them.
    Flush {
        /// Only of this client, A.
        #[serde(default)]
        client: Option<Ipv6Addr>,
        /// Only of this anycast address, B.
        #[serde(default)]
        anycast: Option<Ipv6Addr>,
        /// Only to this care-of address, C.
        #[serde(default)]
        care_of: Option<Ipv6Addr>,
    },
    /// The other gateways of the fleet, and the bus.
    Fleet,
    /// No longer show a gateway of the fleet that was taken away. The answer is that of [`Request::Fleet`].
    FleetForget {
        /// Its name.
        name: String,
    },
    /// Why a client is bound or not, and where its packets go.
    Explain {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Every counter.
    Counters,
    /// All metrics, as Prometheus reads them.
    Metrics {
        /// In the format of OpenMetrics, instead of the older one of Prometheus.
        #[serde(default)]
        openmetrics: bool,
    },
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
    /// Leave the group until `undrain`, whatever the health checks say.
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

impl Request {
    /// Whether the request only asks, so that `read_group` may send it.
    #[must_use]
    pub const fn only_asks(&self) -> bool {
        match self {
            Self::Status
            | Self::Groups { .. }
            | Self::Members { .. }
            | Self::Policy
            | Self::PolicyExplain { .. }
            | Self::Refusals
            | Self::Monitor { .. }
            | Self::Bindings { .. }
            | Self::Handshakes { .. }
            | Self::Flows { .. }
            | Self::Explain { .. }
            | Self::Fleet
            | Self::Counters
            | Self::Metrics { .. } => true,
            Self::PolicyAdd { .. }
            | Self::PolicyRemove { .. }
            | Self::Reload
            | Self::FleetForget { .. }
            | Self::Flush { .. }
            | Self::Join { .. }
            | Self::Leave { .. }
            | Self::Drain { .. }
            | Self::Undrain { .. } => false,
        }
    }
}

/// A reply of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<T> {
    /// The answer.
    Ok(T),
    /// Why there is no answer.
    Error(Refusal),
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Kind of the refusal, for programs.
    pub code: RefusalCode,
    /// What is wrong and what to do, for people.
    pub message: String,
}

/// Kind of a [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The line is not a request.
    BadRequest,
    /// The machine does not have the role that the request is for.
    NoSuchRole,
    /// There is no such rule, or the rule is not valid.
    BadRule,
    /// The address is not one of the configured groups.
    UnknownGroup,
    /// The daemon could not execute the request.
    Failed,
    /// This user may ask, and change nothing.
    NotPermitted,
}

/// An answer of the daemon. Each kind has a JSON structure of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Answer to [`Request::Status`].
    Status(Box<view::Status>),
    /// Answer to [`Request::Groups`].
    Groups(view::Groups),
    /// Answer to [`Request::Members`].
    Members(view::Page<view::Member, view::Cursor>),
    /// Answer to [`Request::Policy`].
    Policy(view::Policy),
    /// Answer to [`Request::PolicyAdd`], [`Request::PolicyRemove`] and [`Request::Reload`].
    PolicyChanged(view::PolicyChanged),
    /// Answer to [`Request::PolicyExplain`], with one entry for each link.
    Explained(Vec<view::Explanation>),
    /// Answer to [`Request::Refusals`].
    Refusals(view::Refusals),
    /// Answer to [`Request::Monitor`], before the events.
    Monitoring(view::Monitoring),
    /// Answer to [`Request::Bindings`].
    Bindings(view::Page<view::Binding, view::Triple>),
    /// Answer to [`Request::Handshakes`].
    Handshakes(view::Page<view::Handshake, view::Pair>),
    /// Answer to [`Request::Flows`].
    Flows(view::Page<view::Flow, view::FlowCursor>),
    /// Answer to [`Request::Flush`].
    Flushed(view::Flushed),
    /// Answer to [`Request::Fleet`] and [`Request::FleetForget`].
    Fleet(Box<view::Fleet>),
    /// Answer to [`Request::Explain`].
    ClientExplained(Box<view::ClientExplained>),
    /// Answer to [`Request::Counters`].
    Counters(view::Counters),
    /// Answer to [`Request::Metrics`].
    Metrics(view::Metrics),
    /// Answer to [`Request::Join`], [`Request::Leave`], [`Request::Drain`] and [`Request::Undrain`].
    Done(view::Done),
}

#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
