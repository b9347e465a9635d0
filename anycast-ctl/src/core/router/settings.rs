//! Settings of the router role.

use std::time::Duration;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::{Policy, Timers};

/// Settings of the router role.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The links on which members may join.
    pub links: Vec<LinkSettings>,
    /// The policy: which member may join which group.
    pub policy: Policy,
    /// Which members become next hops of a route.
    pub next_hops: NextHopChoice,
}

/// Settings of one link.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// Name of the interface.
    pub interface: String,
    /// Timers, the same as every other router's on this link.
    pub timers: Timers,
    /// Whether General Queries are sent.
    pub general_queries: GeneralQueries,
    /// Whether a Done ends a membership at once, without a check. A forged Done then cuts a member off until its next
    /// Report.
    pub fast_leave: bool,
    /// Who may be the Querier. Queries of others change nothing. Empty means everybody.
    pub queriers: Vec<Ipv6Net>,
    /// How long members and routes stay when the link goes down. Zero means that they go with it.
    pub hold: Duration,
    /// How often the kernel is asked whether a member still answers Neighbor Solicitations. `None` means never.
    pub probe_interval: Option<Duration>,
    /// AdvertisementInterval of RFC 4286: how often the router tells snooping switches that it is there, 4 to 180
    /// seconds. `None` means never.
    pub advertisement_interval: Option<Duration>,
}

impl LinkSettings {
    /// Defaults for the interface `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            interface: name.into(),
            timers: Timers::default(),
            general_queries: GeneralQueries::default(),
            fast_leave: false,
            queriers: Vec::new(),
            hold: Duration::ZERO,
            probe_interval: None,
            advertisement_interval: None,
        }
    }
}

/// Whether the Querier sends General Queries.
///
/// A General Query of MLDv1 puts every host of the link into MLDv1 mode (RFC 3810 section 8.2.1)
/// and takes part in the election of all MLD routers there. Where none is sent, known groups are
/// refreshed with Address-Specific Queries, which only members read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum GeneralQueries {
    /// Sent as RFC 2710 says, whichever other routers are on the link.
    Always,
    /// Sent as RFC 2710 says, except while an MLDv2 querier is heard, whose General Queries the members answer as well.
    ///
    /// When a link comes up, the first Query waits for [`Timers::listening_time`]. In that time the router leaves a
    /// multicast group of its own, about which an MLDv2 querier has to ask (RFC 3810 section 7.4.2).
    #[default]
    Polite,
    /// Never sent. The router learns of members that were there before it from their next Report.
    Never,
}

/// Which members become next hops of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NextHopChoice {
    /// All of them, as a multipath route.
    #[default]
    All,
    /// The longest-standing one, so that no flow moves when another member joins.
    Best,
    /// None: the route names the links of the members, and Neighbor Discovery finds a member.
    OnLink,
}
