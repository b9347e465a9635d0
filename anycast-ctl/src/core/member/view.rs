//! What the controller shows of the member role.

use std::{net::Ipv6Addr, time::Duration};

use serde::Serialize;

use crate::core::{
    notice::HandshakeOutcome,
    seconds::{maybe_seconds, seconds},
};

/// An anycast address of this member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupView {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The unicast address that stands for it, C.
    pub care_of: Option<Ipv6Addr>,
    /// Whether this host is a member now.
    pub joined: bool,
    /// Whether the configuration or the operator wants the membership, regardless of health and drain.
    pub wanted: bool,
    /// How long the group has been draining, if it is.
    #[serde(serialize_with = "maybe_seconds")]
    pub draining: Option<Duration>,
    /// What the health checks say, if there are any.
    pub health: Option<HealthView>,
    /// The interfaces on which Reports are sent.
    pub interfaces: Vec<InterfaceView>,
}

/// The verdict about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// No check has ended yet.
    Unknown,
    /// As many checks in a row have passed as the setting `rise` asks for.
    Healthy,
    /// As many checks in a row have failed as the setting `fall` asks for, or too few have passed
    /// since the start.
    Unhealthy,
}

/// What the checks of a service say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthView {
    /// The verdict.
    pub health: Health,
    /// How long the verdict has been this one, in seconds.
    #[serde(serialize_with = "seconds")]
    pub since: Duration,
    /// What the last check said, in one line.
    pub said: Option<String>,
    /// What the last check that failed said.
    pub last_error: Option<String>,
    /// How long ago that was, in seconds.
    #[serde(serialize_with = "maybe_seconds")]
    pub last_error_age: Option<Duration>,
}

/// An interface on which a group is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceView {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// Whether a Report is about to be sent (RFC 2710: Delaying Listener, else Idle Listener).
    pub report_owed: bool,
    /// The last Query that was heard there.
    pub last_query: Option<QueryView>,
}

/// A Query that a member heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct QueryView {
    /// The router that sent it.
    pub from: Ipv6Addr,
    /// How long ago, in seconds.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
}

/// What the member knows of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeView {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Where the handshake stands.
    pub state: HandshakeState,
    /// The messages that have not come yet.
    pub waiting_for: Vec<Awaited>,
    /// Number of transmissions of the present handshake, or of the last one. Both Test Inits are one.
    pub attempts: u32,
    /// Number of handshakes in a row that failed.
    pub failures: u32,
    /// How long the handshake has been in its state.
    pub since: Duration,
    /// Time until something happens by itself.
    pub remaining: Duration,
    /// The last answer of the client that was believed.
    pub heard: Option<Heard>,
    /// Why the client is left alone, if it is.
    pub alone: Option<HandshakeOutcome>,
}

/// A message that a handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// HoT.
    HomeTest,
    /// CoT.
    CareOfTest,
    /// BA.
    BindingAck,
}

/// An answer of a client to a message of this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A Binding Acknowledgement with this status (RFC 6275 section 6.1.8).
    BindingAck(u8),
    /// A Binding Error with this status (RFC 6275 section 6.1.9).
    BindingError(u8),
    /// A Parameter Problem: the client does not know the Mobility Header.
    ParameterProblem,
}

/// Selects clients. A field that is `None` selects all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandshakeFilter {
    /// The client, A.
    pub client: Option<Ipv6Addr>,
    /// The anycast address, B.
    pub anycast: Option<Ipv6Addr>,
}

/// The end of a page: the next one begins after this anycast address and client.
pub type HandshakeCursor = (Ipv6Addr, Ipv6Addr);

/// Where a handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HandshakeState {
    /// Nothing is under way; the last sequence number is remembered.
    Resting,
    /// Test Inits are out.
    Testing,
    /// A Binding Update is out.
    Updating,
    /// The client's correspondent has bound it.
    Bound,
    /// It is left alone after a failure.
    BackOff,
}
