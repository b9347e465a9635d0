//! `[router]`

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    config::value::Prefix,
    core::router::GeneralQueries,
    model::{mac::Mac, policy::Decision, program::Mode},
};

/// `[router]`
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
    /// Whether several next hops become a resilient next-hop group.
    #[serde(default)]
    pub resilient: Resilient,
    /// Hash buckets of such a group.
    #[serde(default = "default_buckets")]
    pub buckets: Spanned<u16>,
    /// When a bucket may be given to a new member.
    #[serde(default = "default_idle_timer", with = "humantime_serde")]
    pub idle_timer: Duration,
    /// When it is, although it is in use; zero for never.
    #[serde(default, with = "humantime_serde")]
    pub unbalanced_timer: Duration,
    /// How often the kernel is asked whether a member still answers; zero for never.
    #[serde(default = "default_probe_interval", with = "humantime_serde")]
    pub probe_interval: Duration,
    /// Routing table of our routes.
    #[serde(default = "main_table")]
    pub table: Spanned<u32>,
    /// Metric of our routes.
    #[serde(default = "default_metric")]
    pub metric: Spanned<u32>,
    /// Route protocol number that marks a route as ours.
    #[serde(default = "default_protocol")]
    pub protocol: Spanned<u8>,
    /// Refuse MLD messages without Router Alert.
    #[serde(default = "yes")]
    pub require_router_alert: bool,
    /// When General Queries are sent; an interface can differ.
    #[serde(default)]
    pub general_queries: GeneralQueries,
    /// A Done ends a membership at once; an interface can differ.
    #[serde(default)]
    pub fast_leave: bool,
    /// How much one sender of Reports may ask of us.
    #[serde(default)]
    pub limits: Option<Spanned<ReportLimits>>,
    /// Timers of RFC 2710 section 7.
    #[serde(default)]
    pub timers: Option<Spanned<Timers>>,
    /// What differs on one interface.
    #[serde(default)]
    pub interface: BTreeMap<String, Spanned<RouterInterface>>,
    /// Ordered rules; the first match wins and nothing matching is refused.
    #[serde(default)]
    pub policy: Vec<Spanned<Rule>>,
}

/// `[router.limits]`: a token bucket in XDP for each sender, by interface, MAC and source, and
/// one that senders share which are new to a rule on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportLimits {
    /// Reports and Dones per second; 0 is no limit.
    pub reports_per_second: Option<u32>,
    /// As many at once, after a quiet time.
    pub burst: Option<NonZeroU32>,
    /// Senders that are new to a rule on an interface, per second; 0 is no limit.
    pub new_senders_per_second: Option<u32>,
    /// As many at once, after a quiet time.
    pub new_senders_burst: Option<NonZeroU32>,
}

/// `[router.interface.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterInterface {
    /// As in `[router]`.
    pub general_queries: Option<GeneralQueries>,
    /// As in `[router]`.
    pub fast_leave: Option<bool>,
}

/// Which members of a group its route names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextHops {
    /// All of them: equal-cost multipath.
    #[default]
    All,
    /// One of them.
    Best,
    /// None: the route names the link, and Neighbor Discovery finds a member.
    OnLink,
}

/// Whether several next hops become a resilient next-hop group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resilient {
    /// Where the kernel takes it.
    #[default]
    Auto,
    /// Plain multipath.
    Never,
}

/// `[router.timers]`, named as in RFC 2710 section 7. What is not given is derived as it says.
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

/// `[[router.policy]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Link-local source of the Report.
    pub source: Spanned<Prefix>,
    /// Ethernet source of the Report.
    pub mac: Option<Mac>,
    /// Interface on which it comes.
    pub interface: Option<Spanned<String>>,
    /// Anycast address that it names.
    pub anycast: Spanned<Prefix>,
    /// What becomes of it.
    pub action: Decision,
    /// Cap of an allow.
    pub max_members_per_group: Option<NonZeroU32>,
    /// Cap of an allow.
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

const fn default_probe_interval() -> Duration {
    Duration::from_secs(10)
}

fn default_metric() -> Spanned<u32> {
    Spanned::new(0..0, 512)
}

fn default_protocol() -> Spanned<u8> {
    Spanned::new(0..0, 0xac)
}
