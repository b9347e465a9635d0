//! Rules of a router's policy, as people write them.

use std::num::NonZeroU32;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::mac::Mac;

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The member may join.
    Allow,
    /// It may not.
    Deny,
}

/// A rule, as `[[router.policy]]` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Link-local sources.
    pub source: Ipv6Net,
    /// Ethernet source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Name of the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Anycast addresses.
    pub anycast: Ipv6Net,
    /// Lets in, or keeps out.
    pub action: Decision,
    /// Cap of an allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_members_per_group: Option<NonZeroU32>,
    /// Cap of an allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_groups_per_member: Option<NonZeroU32>,
}
