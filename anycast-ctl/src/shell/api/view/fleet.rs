//! What the control socket shows of a fleet.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// This gateway among the others of its fleet, on a bus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Fleet {
    /// The name by which others know this gateway.
    pub name: String,
    /// For how many seconds the connection to the bus has been there. `None` while it is not.
    pub connected_seconds: Option<f64>,
    /// Whether this gateway knows what the others do, or has waited long enough.
    pub ready: bool,
    /// By what it is ready: `snapshot`, `alone` or `timed_out`.
    pub ready_by: Option<String>,
    /// Seconds since the snapshot was complete with which this gateway began. `None` where there was none.
    pub snapshot_age_seconds: Option<f64>,
    /// Number of pairs of a client and a care-of address that bindings or bound flows use, here or elsewhere.
    pub triples: usize,
    /// Number of messages that wait to be sent.
    pub backlog: usize,
    /// Number of messages that were not sent, because the bus was gone or slow.
    pub unsent: u64,
    /// Number of messages that were not taken, because they came faster than they were handled.
    pub untaken: u64,
    /// The other gateways.
    pub peers: Vec<FleetPeer>,
    /// Gateways on the bus that have another secret, as they say themselves: nothing proves it.
    pub strangers: Vec<FleetStranger>,
}

/// Another gateway of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FleetPeer {
    /// Its name.
    pub name: String,
    /// Whether it was heard within ten seconds.
    pub there: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Seconds since it was heard.
    pub heard_seconds: f64,
    /// By how many seconds its clock is ahead of ours; the time on the way counts, too.
    pub clock_ahead_seconds: f64,
    /// Whether that is more than a period of the fleet's keys.
    pub clock_is_off: bool,
    /// Whether another gateway that is there, or this one, has the same name.
    pub name_is_shared: bool,
    /// Number of its bindings.
    pub bindings: u32,
    /// Number of its bound flows.
    pub flows: u32,
}

/// A gateway that has another secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FleetStranger {
    /// The name that it gives.
    pub name: String,
    /// The fingerprint of its secret.
    pub fingerprint: String,
    /// Seconds since it was heard.
    pub heard_seconds: f64,
}

/// A secret of a fleet that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FleetSecret {
    /// The file in which it is.
    pub file: PathBuf,
    /// What tells it from others, and says nothing of it.
    pub fingerprint: String,
}
