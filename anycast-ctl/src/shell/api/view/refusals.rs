//! What was refused lately.

use std::{collections::BTreeMap, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::model::mac::Mac;

/// The Reports and Dones that were refused last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refusals {
    /// The refusals, the latest first. The data plane reports only examples of what it drops.
    pub refusals: Vec<Refusal>,
    /// Mobility messages that a correspondent refused, the latest first. Ten a second at most are remembered.
    #[serde(default)]
    pub mobility: Vec<MobilityRefusal>,
    /// Number of all refusals, by reason.
    pub totals: BTreeMap<String, u64>,
}

/// A mobility message that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MobilityRefusal {
    /// Seconds since it was first seen.
    pub first_seconds: f64,
    /// Seconds since it was last seen.
    pub last_seconds: f64,
    /// Source of the message: an anycast or a care-of address.
    pub source: Ipv6Addr,
    /// Destination of the message: the client.
    pub client: Ipv6Addr,
    /// The reason, which is the name of a counter.
    pub reason: String,
    /// How often it was seen.
    pub seen: u64,
}

/// A Report or Done that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refusal {
    /// Seconds since it was first seen.
    pub first_seconds: f64,
    /// Seconds since it was last seen.
    pub last_seconds: f64,
    /// Name of the interface.
    pub interface: String,
    /// Source address of the message.
    pub source: Ipv6Addr,
    /// Ethernet source address of the message.
    #[cfg_attr(test, schemars(with = "String"))]
    pub mac: Mac,
    /// The anycast address that the message names, where it could be read.
    pub anycast: Option<Ipv6Addr>,
    /// The reason, which is the name of a counter.
    pub reason: String,
    /// Who refused the message: `data_plane` or `controller`.
    pub by: String,
    /// How often it was seen.
    pub seen: u64,
}
