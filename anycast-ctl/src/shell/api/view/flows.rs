//! What the control socket shows of bindings, handshakes and flows.

use std::net::Ipv6Addr;

use anycast_common::abi::maps::FlowKey;
use serde::{Deserialize, Serialize};

use crate::core::correspondent::Selection;

/// Selects bindings or flows: those that match every address which is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Which {
    /// The client, A.
    pub client: Option<Ipv6Addr>,
    /// The anycast address, B.
    pub anycast: Option<Ipv6Addr>,
    /// The member's unicast address, C.
    pub care_of: Option<Ipv6Addr>,
}

impl From<Which> for Selection {
    fn from(which: Which) -> Self {
        let Which {
            client,
            anycast,
            care_of,
        } = which;
        Self {
            client,
            anycast,
            care_of,
        }
    }
}

/// Position in a list of handshakes, at which a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pair {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
}

/// Position in a list of bindings, at which a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Triple {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
}

/// The flow in a list of flows with which a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowCursor {
    /// Whether the flow is one of the member role. Flows of a member come after those of a correspondent.
    pub member: bool,
    /// The client, A.
    pub client: Ipv6Addr,
    /// Port of the client.
    pub client_port: u16,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Port of the service.
    pub service_port: u16,
    /// Upper-layer protocol number.
    pub protocol: u8,
}

impl FlowCursor {
    /// The cursor of a page that ends with this flow.
    #[must_use]
    pub fn of(key: &FlowKey, member: bool) -> Self {
        Self {
            member,
            client: key.client.into(),
            client_port: u16::from_be_bytes(key.client_port),
            anycast: key.anycast.into(),
            service_port: u16::from_be_bytes(key.service_port),
            protocol: key.protocol,
        }
    }

    /// The key of the flow.
    #[must_use]
    pub fn key(&self) -> FlowKey {
        FlowKey {
            client: self.client.octets(),
            anycast: self.anycast.octets(),
            client_port: self.client_port.to_be_bytes(),
            service_port: self.service_port.to_be_bytes(),
            protocol: self.protocol,
            reserved: [0; 3],
        }
    }
}

/// A binding of a correspondent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Binding {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
    /// Where the binding comes from: `own`, or `fleet` or `snapshot` where another gateway of the fleet got its update.
    #[serde(default)]
    pub origin: String,
    /// Whether new flows of the client A to the anycast address B go to this member. The other bindings of (A, B) only
    /// carry the flows that are pinned to them.
    pub steers: bool,
    /// Sequence number of its Binding Update.
    pub sequence: u16,
    /// Seconds for which the binding has existed without interruption.
    pub age_seconds: f64,
    /// Seconds until it ends.
    pub remaining_seconds: f64,
    /// Number of flows that were pinned to it when the flows were last read.
    pub flows: usize,
    /// Seconds since the flows were last read. `None` before the first time.
    pub flows_age_seconds: Option<f64>,
}

/// A client that a member knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Handshake {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// State of the handshake: `testing`, `updating`, `bound`, `back_off`, or `resting`. In the last one, only the last
    /// sequence number and the failures are remembered.
    pub state: String,
    /// Messages that have not arrived yet: `home_test`, `care_of_test`, `binding_ack`.
    pub waiting_for: Vec<String>,
    /// Number of transmissions in the present or the last handshake. Both Test Inits together count as one.
    pub attempts: u32,
    /// Number of handshakes in a row that failed.
    pub failures: u32,
    /// Seconds since it entered its state.
    pub since_seconds: f64,
    /// Seconds until the state changes without further input: the message is sent again, the handshake is given up, the
    /// binding ends, the client is no longer left alone, or the client is forgotten.
    pub next_seconds: f64,
    /// The client's last answer to what was sent to it.
    pub last_answer: Option<Heard>,
    /// Why the client is left alone, if it is: `no_answer`, `not_capable` or `refused`.
    pub left_alone: Option<String>,
}

/// An answer of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Heard {
    /// Kind of the message: `binding_ack`, `binding_error` or `parameter_problem`.
    pub message: String,
    /// Status in the message.
    pub status: Option<u8>,
    /// Name of the status.
    pub status_name: Option<String>,
}

/// A flow that travels by a care-of address, or one that a correspondent remembers as open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Flow {
    /// The client, A.
    pub client: Ipv6Addr,
    /// Port of the client.
    pub client_port: u16,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Port of the service.
    pub service_port: u16,
    /// Upper-layer protocol number.
    pub protocol: u8,
    /// The member's unicast address, C. `None` for an open flow.
    pub care_of: Option<Ipv6Addr>,
    /// `open`: it travels by plain anycast. `own`: a member opened it from C, and it stays as it is. `trial`: it is
    /// bound to C, which has not answered by this way yet. `bound`: C has answered. A member does not know that.
    pub state: Option<String>,
    /// Seconds since the flow became bound, or open. A member does not know that.
    pub age_seconds: Option<f64>,
    /// Seconds since its last packet.
    pub idle_seconds: f64,
    /// The role that reports the flow: `correspondent` or `member`.
    pub role: String,
}

/// What a flush has ended. A field is left out when the machine does not have the role that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Flushed {
    /// Number of bindings of a correspondent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindings: Option<usize>,
    /// Number of pinned flows of a correspondent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<usize>,
    /// Number of clients that a member has forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<usize>,
}
