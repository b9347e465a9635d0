//! The control socket: one JSON object per line, request and reply in turn.
//!
//! Server and client share these types, so they cannot drift.

pub mod client;
pub mod monitor;
pub mod server;
pub mod view;

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::{core::router::Place, model::mac::Mac};

/// Longest request line, in octets.
pub const REQUEST_LIMIT: usize = 4096;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The daemon, its interfaces and links.
    Status,
    /// A page of anycast groups.
    Groups {
        /// Where the page before ended.
        #[serde(default)]
        after: Option<view::Cursor>,
    },
    /// A page of the members of a router's groups.
    Members {
        /// Of this anycast address only.
        #[serde(default)]
        group: Option<Ipv6Addr>,
        /// This link-local address only.
        #[serde(default)]
        member: Option<Ipv6Addr>,
        /// Where the page before ended.
        #[serde(default)]
        after: Option<view::Cursor>,
    },
    /// The policy of a router, with what each rule decided.
    Policy,
    /// Adds a rule until the next reload or restart.
    PolicyAdd {
        /// The rule.
        rule: view::Rule,
        /// Where.
        #[serde(default)]
        place: Place,
    },
    /// Takes a rule out until the next reload or restart.
    PolicyRemove {
        /// Its number.
        id: usize,
    },
    /// What becomes of a Report, and why.
    PolicyExplain {
        /// Its source.
        source: Ipv6Addr,
        /// The address that it names.
        anycast: Ipv6Addr,
        /// The link on which it comes; each of the router unless given.
        #[serde(default)]
        interface: Option<String>,
        /// Its Ethernet source; that of the member unless given.
        #[serde(default)]
        mac: Option<Mac>,
    },
    /// The policy of the configuration file applies from now on.
    Reload,
    /// The last Reports and Dones that were refused.
    Refusals,
    /// What happens from now on, a line each, until the client has enough.
    Monitor {
        /// Of these roles only; of all when there is none.
        #[serde(default)]
        roles: Vec<String>,
    },
    /// A page of the bindings of a correspondent.
    Bindings {
        /// Of these only.
        #[serde(default)]
        which: view::Which,
        /// Where the page before ended.
        #[serde(default)]
        after: Option<view::Triple>,
    },
    /// A page of the clients that a member knows.
    Handshakes {
        /// This client only, A.
        #[serde(default)]
        client: Option<Ipv6Addr>,
        /// Of this anycast address only, B.
        #[serde(default)]
        anycast: Option<Ipv6Addr>,
        /// Where the page before ended.
        #[serde(default)]
        after: Option<view::Pair>,
    },
    /// A page of the flows that travel by a care-of address.
    Flows {
        /// Of these only.
        #[serde(default)]
        which: view::Which,
        /// Where the page before ended.
        #[serde(default)]
        after: Option<view::FlowPlace>,
    },
    /// Ends bindings and flows of a correspondent, and has a member forget what it knows of clients; all
    /// of them where no address is given.
    Flush {
        /// Of this client only, A.
        #[serde(default)]
        client: Option<Ipv6Addr>,
        /// Of this anycast address only, B.
        #[serde(default)]
        anycast: Option<Ipv6Addr>,
        /// To this unicast address only, C.
        #[serde(default)]
        care_of: Option<Ipv6Addr>,
    },
    /// Every counter.
    Counters,
    /// Become a member of a group.
    Join {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Stop being one.
    Leave {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Stop being one until `undrain`, whatever health checks say.
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

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<T> {
    /// The answer.
    Ok(T),
    /// Why there is none.
    Error(Refusal),
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what is wrong and what to do.
    pub message: String,
}

/// Kinds of [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The line is not a request.
    BadRequest,
    /// The machine does not have the role that the request is for.
    NoSuchRole,
    /// There is no such rule, or the rule cannot be.
    BadRule,
    /// The address is not one of the configured groups.
    UnknownGroup,
    /// The daemon could not do it.
    Failed,
}

/// The answers, each with its own shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<view::Status>),
    /// To [`Request::Groups`].
    Groups(view::Groups),
    /// To [`Request::Members`].
    Members(view::Page<view::Member, view::Cursor>),
    /// To [`Request::Policy`].
    Policy(view::Policy),
    /// To [`Request::PolicyAdd`], [`Request::PolicyRemove`] and [`Request::Reload`].
    PolicyChanged(view::PolicyChanged),
    /// To [`Request::PolicyExplain`]: one for each link.
    Explained(Vec<view::Explanation>),
    /// To [`Request::Refusals`].
    Refusals(view::Refusals),
    /// To [`Request::Monitor`], before the events.
    Monitoring(view::Monitoring),
    /// To [`Request::Bindings`].
    Bindings(view::Page<view::Binding, view::Triple>),
    /// To [`Request::Handshakes`].
    Handshakes(view::Page<view::Handshake, view::Pair>),
    /// To [`Request::Flows`].
    Flows(view::Page<view::Flow, view::FlowPlace>),
    /// To [`Request::Flush`].
    Flushed(view::Flushed),
    /// To [`Request::Counters`].
    Counters(view::Counters),
    /// To [`Request::Join`], [`Request::Leave`], [`Request::Drain`] and [`Request::Undrain`].
    Done(view::Done),
}

#[cfg(test)]
mod tests;
