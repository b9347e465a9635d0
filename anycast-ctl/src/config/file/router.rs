//! The `[router]` section of the configuration file.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    config::value::Prefix,
    core::router::GeneralQueries,
    model::{mac::Mac, policy::Decision, program::Mode},
};

/// The `[router]` section: this machine is the first-hop router of members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Router {
    /// Links on which members are.
    pub interfaces: Vec<Spanned<String>>,
    /// How programs are attached.
    #[serde(default)]
    pub mode: Mode,
    /// Which members of a group its route names.
    #[serde(default)]
    pub next_hops: NextHops,
    /// Whether a route with several next hops uses a resilient next-hop group.
    #[serde(default)]
    pub resilient: Resilient,
    /// Hash buckets of a resilient next-hop group.
    #[serde(default = "default_buckets")]
    pub buckets: Spanned<u16>,
    /// After this time without a packet, a bucket may be given to a new member.
    #[serde(default = "default_idle_timer", with = "humantime_serde")]
    pub idle_timer: Duration,
    /// After this time, a bucket is given to a new member although it is in use. Zero means never.
    #[serde(default, with = "humantime_serde")]
    pub unbalanced_timer: Duration,
    /// How often the kernel is asked whether a member still answers Neighbor Solicitations. Zero means never.
    #[serde(default = "default_probe_interval", with = "humantime_serde")]
    pub probe_interval: Duration,
    /// How long members and routes stay when their link goes down. Zero means that they go with it.
    #[serde(default = "default_link_hold", with = "humantime_serde")]
    pub link_hold: Duration,
    /// AdvertisementInterval of RFC 4286: how often snooping switches are told of this router. Zero means never.
    #[serde(default = "default_advertisement_interval", with = "humantime_serde")]
    pub advertisement_interval: Duration,
    /// Prefixes of the link-local addresses of routers whose Queries count. None means that everybody's do.
    #[serde(default)]
    pub queriers: Vec<Spanned<Prefix>>,
    /// Routing table in which the daemon writes its routes.
    #[serde(default = "main_table")]
    pub table: Spanned<u32>,
    /// Metric of the routes that the daemon writes.
    #[serde(default = "default_metric")]
    pub metric: Spanned<u32>,
    /// Route protocol number that marks a route as ours.
    #[serde(default = "default_protocol")]
    pub protocol: Spanned<u8>,
    /// Whether routes stay when the daemon ends in order, until its next run or `anycast-ctl detach`.
    #[serde(default)]
    pub keep_routes: bool,
    /// Whether MLD messages without a Router Alert option are refused.
    #[serde(default = "yes")]
    pub require_router_alert: bool,
    /// Whether General Queries are sent. `[router.interface.NAME]` can override it.
    #[serde(default)]
    pub general_queries: GeneralQueries,
    /// Whether a Done ends a membership at once, without a check. `[router.interface.NAME]` can override it.
    #[serde(default)]
    pub fast_leave: bool,
    /// Limits on how many Reports and Dones the router accepts.
    #[serde(default)]
    pub limits: Option<Spanned<ReportLimits>>,
    /// Timers of RFC 2710 section 7.
    #[serde(default)]
    pub timers: Option<Spanned<Timers>>,
    /// Settings for single interfaces, by interface name.
    #[serde(default)]
    pub interface: BTreeMap<String, Spanned<RouterInterface>>,
    /// Ordered rules of the policy. The first rule that matches decides, and a Report that no rule matches is refused.
    #[serde(default)]
    pub policy: Vec<Spanned<Rule>>,
}

/// The `[router.limits]` section. XDP keeps a token bucket for each sender, which is identified by interface, MAC
/// address and source address. In addition, the senders that are new to a rule on an interface share one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportLimits {
    /// Reports and Dones of one sender per second. Zero means no limit.
    pub reports_per_second: Option<u32>,
    /// Size of a sender's token bucket: as many messages are accepted at once.
    pub burst: Option<NonZeroU32>,
    /// Senders per second that are new to a rule on an interface. Zero means no limit.
    pub new_senders_per_second: Option<u32>,
    /// Size of the token bucket for new senders: as many new senders are accepted at once.
    pub new_senders_burst: Option<NonZeroU32>,
}

/// The `[router.interface.NAME]` section, which overrides settings of `[router]` for one interface.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterInterface {
    /// Whether General Queries are sent on this interface.
    pub general_queries: Option<GeneralQueries>,
    /// Whether a Done ends a membership at once on this interface.
    pub fast_leave: Option<bool>,
}

/// Which members of a group its route names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextHops {
    /// The route has every member as a next hop (equal-cost multipath).
    #[default]
    All,
    /// The route has one member as its next hop.
    Best,
    /// The route has no next hop but names the link. Neighbor Discovery then finds a member for the anycast address
    /// itself.
    OnLink,
}

/// Whether a route with several next hops uses a resilient next-hop group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resilient {
    /// Resilient groups are used where the kernel supports them, and where no zebra (FRR) reads its routes.
    #[default]
    Auto,
    /// Resilient groups are used where the kernel supports them. zebra does not see routes with several next hops then.
    Always,
    /// Plain multipath routes are used.
    Never,
}

/// The `[router.timers]` section. Names are those of RFC 2710 section 7. A value that is not given is derived from the
/// others as that section says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timers {
    /// Robustness Variable.
    pub robustness: Option<u8>,
    /// Query Interval.
    #[serde(with = "humantime_serde")]
    pub query_interval: Option<Duration>,
    /// Query Response Interval.
    #[serde(with = "humantime_serde")]
    pub query_response_interval: Option<Duration>,
    /// Startup Query Interval.
    #[serde(with = "humantime_serde")]
    pub startup_query_interval: Option<Duration>,
    /// Startup Query Count.
    pub startup_query_count: Option<u8>,
    /// Last Listener Query Interval.
    #[serde(with = "humantime_serde")]
    pub last_listener_query_interval: Option<Duration>,
    /// Last Listener Query Count.
    pub last_listener_query_count: Option<u8>,
}

/// One `[[router.policy]]` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Prefix of the link-local source address of the Report.
    pub source: Spanned<Prefix>,
    /// Ethernet source address of the Report. `None` matches every address.
    pub mac: Option<Mac>,
    /// Interface on which the Report arrives. `None` matches every interface.
    pub interface: Option<Spanned<String>>,
    /// Prefix of the anycast address that the Report names.
    pub anycast: Spanned<Prefix>,
    /// Whether the rule lets the member in or keeps it out.
    pub action: Decision,
    /// For a rule that allows: the largest number of members of one group.
    pub max_members_per_group: Option<NonZeroU32>,
    /// For a rule that allows: the largest number of groups of one member, 1024 if it does not say so.
    pub max_groups_per_member: Option<NonZeroU32>,
}

const fn yes() -> bool {
    true
}

fn main_table() -> Spanned<u32> {
    Spanned::new(0..0, 254)
}

fn default_buckets() -> Spanned<u16> {
    Spanned::new(0..0, 128)
}

const fn default_idle_timer() -> Duration {
    Duration::from_secs(120)
}

const fn default_link_hold() -> Duration {
    Duration::from_secs(3)
}

const fn default_probe_interval() -> Duration {
    Duration::from_secs(10)
}

const fn default_advertisement_interval() -> Duration {
    Duration::from_secs(20)
}

fn default_metric() -> Spanned<u32> {
    Spanned::new(0..0, 512)
}

fn default_protocol() -> Spanned<u8> {
    Spanned::new(0..0, 0xac)
}
