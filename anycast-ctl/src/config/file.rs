//! What may stand in a configuration file. Unknown keys are errors.

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{
    health::Health,
    value::{Mac, Prefix},
};
use crate::{core::router::GeneralQueries, shell::dataplane::Mode};

/// Where the control socket is unless a configuration or an option says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/anycast/control.sock";

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The control socket.
    #[serde(default)]
    pub control: Control,
    /// What is in the kernel.
    #[serde(default)]
    pub data_plane: DataPlane,
    /// This machine is the first hop of members.
    pub router: Option<Spanned<Router>>,
    /// This machine serves anycast addresses.
    pub member: Option<Spanned<Member>>,
    /// This machine answers for clients.
    pub correspondent: Option<Spanned<Correspondent>>,
}

impl Config {
    /// The router role.
    #[must_use]
    pub fn router_role(&self) -> Option<&Router> {
        self.router.as_ref().map(Spanned::get_ref)
    }

    /// The member role.
    #[must_use]
    pub fn member_role(&self) -> Option<&Member> {
        self.member.as_ref().map(Spanned::get_ref)
    }

    /// The correspondent role.
    #[must_use]
    pub fn correspondent_role(&self) -> Option<&Correspondent> {
        self.correspondent.as_ref().map(Spanned::get_ref)
    }
}

/// `[control]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Path of the control socket.
    pub socket: Option<Spanned<PathBuf>>,
}

/// `[data_plane]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataPlane {
    /// An orderly end leaves the programs where they are, for sessions that are pinned to go on. A
    /// crash always does.
    pub keep: bool,
    /// Flows that a correspondent pins at the same time.
    pub flows: Option<Spanned<u32>>,
    /// Bindings of a correspondent, and pairs of a client and a care-of address.
    pub bindings: Option<Spanned<u32>>,
    /// Flows of a member that come by a care-of address.
    pub member_flows: Option<Spanned<u32>>,
    /// Clients that a member knows.
    pub clients: Option<Spanned<u32>>,
    /// Packets that come in fragments at the same time.
    pub fragments: Option<Spanned<u32>>,
}

impl Default for DataPlane {
    fn default() -> Self {
        Self {
            keep: true,
            flows: None,
            bindings: None,
            member_flows: None,
            clients: None,
            fragments: None,
        }
    }
}

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

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The member may join.
    Allow,
    /// It may not.
    Deny,
}

/// `[member]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Links on which Reports are sent and clients arrive.
    pub interfaces: Vec<Spanned<String>>,
    /// How programs are attached.
    #[serde(default)]
    pub mode: Mode,
    /// The anycast addresses that this machine serves.
    pub group: Vec<Spanned<Group>>,
    /// Return routability.
    #[serde(default)]
    pub handshake: Option<Spanned<Handshake>>,
    /// Reports.
    #[serde(default)]
    pub listener: Option<Spanned<Listener>>,
    /// When a session that is pinned here counts as over.
    #[serde(default)]
    pub sessions: Sessions,
}

/// `[member.sessions]`: for how long nothing is heard from the client of a session that a drain
/// still waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// A TCP connection that nobody closed.
    #[serde(with = "humantime_serde")]
    pub tcp: Option<Duration>,
    /// A UDP flow.
    #[serde(with = "humantime_serde")]
    pub udp: Option<Duration>,
    /// An ICMPv6 echo flow.
    #[serde(with = "humantime_serde")]
    pub icmp: Option<Duration>,
    /// A flow of another protocol.
    #[serde(with = "humantime_serde")]
    pub other: Option<Duration>,
}

/// `[[member.group]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The anycast address, B.
    pub anycast: Spanned<Ipv6Addr>,
    /// The unicast address that stands for it here, C; without it there are no handshakes.
    pub care_of: Option<Spanned<Ipv6Addr>>,
    /// Care-of addresses of the group's other members, or prefixes of them; this member's own may be
    /// among them.
    #[serde(default)]
    pub peers: Vec<Spanned<Prefix>>,
    /// Links on which it is joined; all of the member's unless given.
    pub interfaces: Option<Vec<Spanned<String>>>,
    /// When it is joined: `health` where there is a health check, else `start`.
    pub join: Option<Spanned<Join>>,
    /// Checks of the service; membership depends on them.
    pub health: Option<Spanned<Health>>,
    /// The daemon assigns B and C, and removes them at its end.
    #[serde(default)]
    pub assign: bool,
    /// Where it assigns B; `lo` unless given.
    pub assign_to: Option<Spanned<String>>,
}

impl Group {
    /// When it is joined.
    #[must_use]
    pub fn join(&self) -> Join {
        match (&self.join, &self.health) {
            (Some(join), _) => *join.get_ref(),
            (None, Some(_)) => Join::Health,
            (None, None) => Join::Start,
        }
    }
}

/// When a group is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// When the daemon starts; a health check makes it leave.
    Start,
    /// When its health check has passed.
    Health,
    /// When `anycast-ctl join` says so, and its health check, if there is one.
    Manual,
}

/// `[member.handshake]`: what keeps a forged source from making a reflector of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handshake {
    /// Time between handshakes with one client, after the first few.
    #[serde(with = "humantime_serde")]
    pub client_interval: Option<Duration>,
    /// Handshakes per second with the clients of one /64.
    pub prefix_rate: Option<NonZeroU32>,
    /// Handshakes per second with all clients.
    pub rate: Option<NonZeroU32>,
    /// Clients that are remembered.
    pub max_clients: Option<NonZeroUsize>,
    /// How long a client is left alone after a failure; doubled with each further one.
    #[serde(with = "humantime_serde")]
    pub first_back_off: Option<Duration>,
    /// How long at most.
    #[serde(with = "humantime_serde")]
    pub max_back_off: Option<Duration>,
    /// How long a client that does not know the Mobility Header is left alone.
    #[serde(with = "humantime_serde")]
    pub not_capable: Option<Duration>,
}

/// `[member.listener]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// How often an unsolicited Report is repeated (RFC 2710 section 7.1).
    pub robustness: Option<NonZeroU32>,
    /// Greatest delay between those (RFC 2710 section 7.10).
    #[serde(with = "humantime_serde")]
    pub unsolicited_report_interval: Option<Duration>,
}

/// `[correspondent]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correspondent {
    /// Links towards the clients and towards the network.
    pub interfaces: Vec<Spanned<String>>,
    /// How programs are attached.
    #[serde(default)]
    pub mode: Mode,
    /// This host is one of the clients: what it sends itself may be bound, too. TCX alone sees that.
    pub local: Option<Spanned<bool>>,
    /// The clients that this machine answers for.
    pub client_prefixes: Vec<Spanned<Prefix>>,
    /// Bindings that are kept at the same time, those included whose sequence number is remembered
    /// after their end; at most as many as `[data_plane] bindings`.
    pub max_bindings: Option<NonZeroUsize>,
    /// Anycast prefixes that may be bound; any when there is none.
    #[serde(default)]
    pub allow: Vec<Spanned<Prefix>>,
    /// File that keeps nonces from an orderly end of the daemon to its next start.
    pub state: Option<Spanned<PathBuf>>,
    /// When a pinned flow has ended.
    #[serde(default)]
    pub pins: Pins,
    /// How much is answered.
    #[serde(default)]
    pub limits: Option<Spanned<MessageLimits>>,
}

impl Correspondent {
    /// Whether this host is one of the clients.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.local.as_ref().is_some_and(|local| *local.get_ref())
    }

    /// How programs are attached: XDP does not see what this host sends.
    #[must_use]
    pub fn effective_mode(&self) -> Mode {
        match self.mode {
            Mode::Auto if self.is_client() => Mode::Tcx,
            mode => mode,
        }
    }
}

/// `[correspondent.limits]`: Test Inits per second, and as many Binding Updates beside them; twice as
/// many at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessageLimits {
    /// To one client.
    pub client_rate: Option<NonZeroU32>,
    /// From one /64.
    pub prefix_rate: Option<NonZeroU32>,
    /// To all clients that sent a packet of late.
    pub rate: Option<NonZeroU32>,
    /// To all others.
    pub unsolicited_rate: Option<NonZeroU32>,
}

/// `[correspondent.pins]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pins {
    /// An idle TCP connection.
    #[serde(with = "humantime_serde")]
    pub tcp: Option<Duration>,
    /// An idle UDP flow.
    #[serde(with = "humantime_serde")]
    pub udp: Option<Duration>,
    /// An idle ICMPv6 echo flow.
    #[serde(with = "humantime_serde")]
    pub icmp: Option<Duration>,
    /// An idle flow of another protocol.
    #[serde(with = "humantime_serde")]
    pub other: Option<Duration>,
    /// A TCP connection that both ends closed.
    #[serde(with = "humantime_serde")]
    pub closed: Option<Duration>,
    /// The client sends and the member, which answered before, says nothing.
    #[serde(with = "humantime_serde")]
    pub failure: Option<Duration>,
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
