//! What the controller shows of its membership.

use std::{net::Ipv6Addr, time::Duration};

use serde::{Serialize, Serializer};

use super::health::Health;

/// An anycast address of this member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupView {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The unicast address that stands for it, C.
    pub care_of: Option<Ipv6Addr>,
    /// Whether this host is a member now.
    pub joined: bool,
    /// Whether configuration or operator want it to be, health and drain apart.
    pub wanted: bool,
    /// How long it has been draining, if it is.
    #[serde(serialize_with = "optional_seconds")]
    pub draining: Option<Duration>,
    /// What the checks of its service say, where there are any.
    pub health: Option<HealthView>,
    /// Where routers are told.
    pub interfaces: Vec<InterfaceView>,
}

/// What the checks of a service say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthView {
    /// The verdict.
    pub health: Health,
    /// How long it has been that, in seconds.
    #[serde(serialize_with = "seconds")]
    pub since: Duration,
    /// What the last check said, in one line.
    pub said: Option<String>,
    /// What the last check that failed said.
    pub last_error: Option<String>,
    /// How long ago that was, in seconds.
    #[serde(serialize_with = "optional_seconds")]
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
}

/// What the member knows of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HandshakeView {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Where the handshake stands.
    pub state: HandshakeState,
    /// Time until something happens by itself, in seconds.
    #[serde(serialize_with = "seconds")]
    pub remaining: Duration,
    /// Handshakes in a row that came to nothing.
    pub failures: u32,
}

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

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn optional_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration
        .map(|duration| duration.as_secs_f64())
        .serialize(serializer)
}
