//! The control socket: one JSON object per line, request and reply in turn.
//!
//! Server and client share these types, so they cannot drift.

pub mod client;
pub mod server;
pub mod view;

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

/// Longest request line, in octets.
pub const REQUEST_LIMIT: usize = 4096;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The daemon, its interfaces and links.
    Status,
    /// Anycast groups.
    Groups,
    /// Members of the groups of a router.
    Members,
    /// Bindings of a correspondent.
    Bindings,
    /// Flows that travel by a care-of address.
    Flows,
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
    Members(Vec<view::Member>),
    /// To [`Request::Bindings`].
    Bindings(Vec<view::Binding>),
    /// To [`Request::Flows`].
    Flows(Vec<view::Flow>),
    /// To [`Request::Counters`].
    Counters(view::Counters),
    /// To [`Request::Join`], [`Request::Leave`], [`Request::Drain`] and [`Request::Undrain`].
    Done(view::Done),
}

#[cfg(test)]
mod tests;
