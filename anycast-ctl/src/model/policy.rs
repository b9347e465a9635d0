//! Rules of a router's policy, in the form in which people write them.

use std::num::NonZeroU32;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::mac::Mac;

/// The decision of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The member may join the group.
    Allow,
    /// The member may not join the group.
    Deny,
}

/// A policy rule, as `[[router.policy]]` in the configuration file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Prefix of the link-local source address of the Report.
    #[cfg_attr(test, schemars(with = "String"))]
    pub source: Ipv6Net,
    /// Ethernet source address of the Report. `None` matches every address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub mac: Option<Mac>,
    /// Name of the interface on which the Report arrives. `None` matches every interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Prefix of the anycast address that the Report names.
    #[cfg_attr(test, schemars(with = "String"))]
    pub anycast: Ipv6Net,
    /// Whether the rule lets the member in or keeps it out.
    pub action: Decision,
    /// For a rule that allows: the largest number of members of one group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_members_per_group: Option<NonZeroU32>,
    /// For a rule that allows: the largest number of groups of one member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_groups_per_member: Option<NonZeroU32>,
}
