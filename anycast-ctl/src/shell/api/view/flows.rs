//! What the control socket shows of bindings, handshakes and flows.

use std::net::Ipv6Addr;

use anycast_common::abi::maps::FlowKey;
use serde::{Deserialize, Serialize};

use crate::core::correspondent::Selection;

/// Which bindings or flows; each address that is given must be theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Where a page of handshakes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
}

/// Where a page of bindings ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triple {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
}

/// Where a page of flows ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowPlace {
    /// Among those of a member, which come after those of a correspondent.
    pub member: bool,
    /// The client, A.
    pub client: Ipv6Addr,
    /// Its port.
    pub client_port: u16,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The port of the service.
    pub service_port: u16,
    /// Upper-layer protocol number.
    pub protocol: u8,
}

impl FlowPlace {
    /// At this flow.
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

    /// The flow.
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

/// A binding, at a correspondent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
    /// Whether new flows of (A, B) go to it. The others lead flows of their own only.
    pub steers: bool,
    /// Sequence number of its Binding Update.
    pub sequence: u16,
    /// Since it stands without a gap.
    pub age_seconds: f64,
    /// Until it ends.
    pub remaining_seconds: f64,
    /// Flows that were pinned to it when the flows were last read.
    pub flows: usize,
    /// How long ago that was; none before the first time.
    pub flows_age_seconds: Option<f64>,
}

/// A client that a member knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handshake {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// `testing`, `updating`, `bound`, `back_off`, or `resting` where only the last sequence number
    /// and the failures are remembered.
    pub state: String,
    /// What has not come yet: `home_test`, `care_of_test`, `binding_ack`.
    pub waiting_for: Vec<String>,
    /// Transmissions of the handshake that is under way, or of the last; both Test Inits are one.
    pub attempts: u32,
    /// Handshakes in a row that came to nothing.
    pub failures: u32,
    /// Since it is in its state.
    pub since_seconds: f64,
    /// Until the next thing happens by itself: it is sent again, or given up, the binding ends, or the
    /// client is not left alone any more, or forgotten.
    pub next_seconds: f64,
    /// What the client said last of what was sent to it.
    pub last_answer: Option<Heard>,
    /// Why the client is left alone, while it is: `no_answer`, `not_capable` or `refused`.
    pub left_alone: Option<String>,
}

/// What a client said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// `binding_ack`, `binding_error` or `parameter_problem`.
    pub message: String,
    /// Its status.
    pub status: Option<u8>,
    /// What the status says.
    pub status_name: Option<String>,
}

/// A flow that travels by a care-of address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// The client, A.
    pub client: Ipv6Addr,
    /// Its port.
    pub client_port: u16,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The port of the service.
    pub service_port: u16,
    /// Upper-layer protocol number.
    pub protocol: u8,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
    /// Since it was pinned; a member does not know.
    pub age_seconds: Option<f64>,
    /// Since its last packet.
    pub idle_seconds: f64,
    /// `correspondent` or `member`: who says so.
    pub role: String,
}

/// What a flush has ended; what belongs to a role that the machine does not have is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// Bindings of a correspondent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindings: Option<usize>,
    /// Its pinned flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<usize>,
    /// Clients that a member has forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<usize>,
}
