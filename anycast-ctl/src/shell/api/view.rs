//! What the control socket shows. All times are in seconds.

use std::{collections::BTreeMap, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

pub use crate::model::policy::Rule;

mod checked;
mod explained;
mod fleet;
mod flows;
mod problem;
mod refusals;

pub use checked::{Checked, Doctor};
pub use explained::{
    ClientExplained, Explanation, LimitExplained, RoleExplained, Step, WayExplained,
};
pub use fleet::{Fleet, FleetPeer, FleetSecret, FleetStranger};
pub use flows::{Binding, Flow, FlowCursor, Flushed, Handshake, Heard, Pair, Triple, Which};
pub use problem::Problem;
pub use refusals::{MobilityRefusal, Refusal, Refusals};

/// State of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Process ID of the daemon.
    pub pid: u32,
    /// Seconds since the daemon started.
    pub uptime_seconds: f64,
    /// Names of the roles: `router`, `member`, `correspondent`.
    pub roles: Vec<String>,
    /// All configured interfaces, including those that do not exist.
    pub interfaces: Vec<Interface>,
    /// Links of the router role, in the form in which that role shows them.
    #[cfg_attr(test, schemars(with = "Vec<crate::core::router::LinkView>"))]
    pub links: Vec<serde_json::Value>,
    /// Groups that this machine serves.
    pub groups: Vec<MemberGroup>,
    /// Numbers of groups, members, routes, bindings and flows.
    pub summary: Summary,
    /// Maps that were taken over from an earlier run and whose size differs from the configuration.
    #[serde(default)]
    pub other_sizes: Vec<OtherSize>,
    /// Care-of addresses that this machine may choose as the source of its own connections, which it should not.
    #[serde(default)]
    pub preferred_care_of: Vec<Ipv6Addr>,
    /// Care-of addresses that another host has, too, so that the kernel does not use them here.
    #[serde(default)]
    pub duplicate_care_of: Vec<Ipv6Addr>,
    /// The fleet that this gateway belongs to, where it has a bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
    /// What somebody should look at. With `--check` it makes the command fail.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// A map that was taken over from an earlier run with its sessions, and that keeps its size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OtherSize {
    /// Name of the map.
    pub map: String,
    /// Number of entries for which it has room.
    pub entries: u32,
    /// Number of entries that the configuration wants.
    pub configured: u32,
}

/// A configured interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Interface {
    /// Name of the interface.
    pub name: String,
    /// Index of the interface. `None` while there is no such interface.
    pub ifindex: Option<u32>,
    /// Whether the interface is up and has a carrier.
    pub up: bool,
    /// Link-local address from which MLD messages are sent.
    pub link_local: Option<Ipv6Addr>,
    /// Names of the roles on the interface.
    pub roles: Vec<String>,
    /// Name of the program that is attached for incoming packets.
    pub program: Option<String>,
    /// How the program is attached: `native`, `tcx` or `generic`.
    pub mode: Option<String>,
    /// Why the program is attached in this mode.
    pub mode_reason: Option<String>,
    /// What is legal about it, and surely not what was meant.
    pub warnings: Vec<String>,
}

/// Numbers of groups, members, routes, bindings and flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Summary {
    /// Number of groups of the router, and of groups that this machine serves.
    pub groups: usize,
    /// Number of members that the router knows.
    pub members: usize,
    /// Number of routes of the router.
    pub routes: usize,
    /// Number of bindings of the correspondent.
    pub bindings: usize,
    /// Number of flows that travel by a care-of address.
    pub flows: usize,
    /// Number of handshakes under way.
    pub handshakes: usize,
}

/// Anycast groups, by role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Groups {
    /// The groups that have members behind this router.
    pub router: Vec<RouterGroup>,
    /// The groups that this machine serves. Only the first page has them.
    pub member: Vec<MemberGroup>,
    /// Position after which the next page begins. `None` on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// Position in a list of groups or members, at which a page ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cursor {
    /// The anycast address, B.
    pub group: Ipv6Addr,
    /// Name of the interface.
    pub interface: String,
    /// A member of the group. `None` stands for the end of the whole group.
    pub member: Option<Ipv6Addr>,
}

/// A page of a list. It may be empty although more pages follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T, C> {
    /// The rows, in order.
    pub rows: Vec<T>,
    /// Position after which the next page begins. `None` on the last page.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub next: Option<C>,
}

fn none<C>() -> Option<C> {
    None
}

/// The policy of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Policy {
    /// The rules, in order.
    pub rules: Vec<PolicyRule>,
    /// Number of Reports and Dones in the data plane that no rule matched.
    pub default_deny_hits: u64,
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyRule {
    /// Number of the rule.
    pub id: usize,
    /// The rule.
    pub rule: Rule,
    /// Whether the rule was added at run time.
    pub added: bool,
    /// Number of Reports and Dones in the data plane about which the rule decided.
    pub hits: u64,
}

/// Result of a change of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyChanged {
    /// Number of the rule that was added or removed. `None` when the file was read again.
    pub id: Option<usize>,
    /// Number of rules afterwards.
    pub rules: usize,
    /// After a reload: keys of the file that differ from what the daemon runs with, and take a restart.
    pub restart: Vec<String>,
}

/// The answer to a monitor request, before its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Monitoring {
    /// Names of the roles whose events follow. An empty list stands for all roles.
    pub monitoring: Vec<String>,
}

/// A group, as a router knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RouterGroup {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Name of the interface on which its members are.
    pub interface: String,
    /// State of the group (RFC 2710 section 6).
    pub state: String,
    /// Next hops of the group's route.
    pub next_hops: Vec<String>,
    /// Number of members.
    pub members: usize,
    /// Seconds since the first of its members joined.
    #[serde(default)]
    pub since_seconds: f64,
    /// Seconds until the last member is forgotten, unless it sends another Report.
    #[serde(default)]
    pub expires_seconds: f64,
}

/// A group, as a member knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberGroup {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address for the group, C.
    pub care_of: Option<Ipv6Addr>,
    /// Listener state (RFC 2710 section 5) on each interface.
    pub interfaces: Vec<MemberInterface>,
    /// Whether this machine is a member now.
    pub joined: bool,
    /// Whether the configuration or an operator wants this machine to be a member, regardless of health and drain.
    pub wanted: bool,
    /// Seconds since the drain began, if the group is being drained.
    pub draining_seconds: Option<f64>,
    /// Number of sessions that are pinned to this machine.
    pub sessions: usize,
    /// Result of the health checks of the service, if it has any.
    pub health: Option<Health>,
}

/// Result of the health checks of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Health {
    /// State of the service: `unknown`, `healthy` or `unhealthy`.
    pub state: String,
    /// Seconds since the service entered this state.
    pub since_seconds: f64,
    /// Output of the last check, in one line.
    pub said: Option<String>,
    /// Output of the last check that failed, in one line.
    pub last_error: Option<String>,
    /// Seconds since the last check that failed.
    pub last_error_age_seconds: Option<f64>,
}

/// A group on one interface of a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberInterface {
    /// Name of the interface.
    pub interface: String,
    /// Listener state (RFC 2710 section 5).
    pub state: String,
    /// The router from which the last Query was heard there.
    #[serde(default)]
    pub last_query_from: Option<Ipv6Addr>,
    /// Seconds since that Query.
    #[serde(default)]
    pub last_query_seconds: Option<f64>,
}

/// A member of a group, as a router knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Member {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Name of the interface on which the member is.
    pub interface: String,
    /// Link-local address of the member.
    pub member: Ipv6Addr,
    /// Ethernet address of the member.
    pub mac: String,
    /// Seconds since the member joined.
    pub since_seconds: f64,
    /// Seconds until the member is forgotten, unless it sends another Report.
    pub expires_seconds: f64,
    /// Number of the policy rule that allowed the member.
    pub rule: Option<usize>,
    /// Whether Address-Specific Queries are checking if the member is still there.
    pub checking: bool,
}

/// All counters, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counters {
    /// Counters of the eBPF programs.
    pub data_plane: BTreeMap<String, u64>,
    /// Counters of the controller.
    pub controller: BTreeMap<String, u64>,
}

/// What `detach` removed. It asks no daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Detached {
    /// Number of programs.
    pub programs: usize,
    /// Number of addresses that a daemon had assigned.
    pub addresses: usize,
    /// Number of routes that a router had left.
    #[serde(default)]
    pub routes: usize,
}

/// What `capture` wrote. It asks no daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Captured {
    /// Packets.
    pub packets: u64,
    /// Of those, the ones that a program changed: each is in the file as it came and as it went.
    pub changed: u64,
    /// Packets that the filter selected, beyond the rate.
    pub limited: u64,
    /// Packets for which there was no room in the ring buffer.
    pub lost: u64,
}

/// All metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Metrics {
    /// The text that Prometheus reads.
    pub text: String,
}

/// The answer to a command about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Done {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Whether this machine is a member of the group now.
    pub joined: bool,
}
