//! What the control socket shows. Times are in seconds.

use std::{collections::BTreeMap, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::model::mac::Mac;
pub use crate::model::policy::Rule;

mod flows;

pub use flows::{Binding, Flow, FlowPlace, Flushed, Handshake, Heard, Pair, Triple, Which};

/// The daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since it started.
    pub uptime_seconds: f64,
    /// `router`, `member`, `correspondent`.
    pub roles: Vec<String>,
    /// Every configured interface, those that are missing as well.
    pub interfaces: Vec<Interface>,
    /// Links of the router role, as the role itself shows them.
    pub links: Vec<serde_json::Value>,
    /// Groups that this machine serves.
    pub groups: Vec<MemberGroup>,
    /// How many of everything.
    pub summary: Summary,
    /// Maps of an earlier run whose size is not what is configured.
    #[serde(default)]
    pub other_sizes: Vec<OtherSize>,
}

/// A map that was taken over with its sessions, and keeps its size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSize {
    /// Its name.
    pub map: String,
    /// Entries that it has room for.
    pub entries: u32,
    /// Entries that are configured.
    pub configured: u32,
}

/// A configured interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index; none while there is no such interface.
    pub ifindex: Option<u32>,
    /// Up, with a carrier.
    pub up: bool,
    /// The address that MLD messages leave from.
    pub link_local: Option<Ipv6Addr>,
    /// Roles on it.
    pub roles: Vec<String>,
    /// XDP program that is attached.
    pub program: Option<String>,
    /// `native`, `tcx` or `generic`.
    pub mode: Option<String>,
    /// Why this mode.
    pub mode_reason: Option<String>,
}

/// How many of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Groups of the router, and those that this machine serves.
    pub groups: usize,
    /// Members known to the router.
    pub members: usize,
    /// Routes of the router.
    pub routes: usize,
    /// Bindings of the correspondent.
    pub bindings: usize,
    /// Flows that travel by a care-of address.
    pub flows: usize,
    /// Handshakes under way.
    pub handshakes: usize,
}

/// Anycast groups, by role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Groups {
    /// Those with members behind this router.
    pub router: Vec<RouterGroup>,
    /// Those that this machine serves; on the first page.
    pub member: Vec<MemberGroup>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The anycast address, B.
    pub group: Ipv6Addr,
    /// Name of the interface.
    pub interface: String,
    /// Its member; none is the whole group.
    pub member: Option<Ipv6Addr>,
}

/// A page of a list. It may be empty although there are more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T, C> {
    /// In their order.
    pub rows: Vec<T>,
    /// Where the next page begins: after this.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub next: Option<C>,
}

fn none<C>() -> Option<C> {
    None
}

/// The policy of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// In their order.
    pub rules: Vec<PolicyRule>,
    /// Reports and Dones that no rule matched, in the data plane.
    pub default_deny_hits: u64,
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Its number.
    pub id: usize,
    /// The rule.
    pub rule: Rule,
    /// Added at run time.
    pub added: bool,
    /// Reports and Dones that it decided about, in the data plane.
    pub hits: u64,
}

/// What became of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChanged {
    /// The rule that came or went; none when the file was read.
    pub id: Option<usize>,
    /// How many rules there are.
    pub rules: usize,
}

/// What becomes of a Report on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Name of the link.
    pub interface: String,
    /// The Ethernet source that was compared.
    pub mac: Option<Mac>,
    /// Whether it is accepted now.
    pub allow: bool,
    /// Why, in a sentence.
    pub verdict: String,
    /// The rules that were looked at; the last decides, when it has no reason not to.
    pub steps: Vec<Step>,
    /// The source is a member already; caps do not concern it.
    pub member: bool,
    /// Members of the group, and the cap.
    pub members_per_group: (usize, Option<u32>),
    /// Groups of the member on the link, and the cap.
    pub groups_per_member: (usize, Option<u32>),
}

/// A rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub rule: usize,
    /// Why it does not decide.
    pub because: Vec<String>,
}

/// The last refusals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Refusals {
    /// The latest first. Of what the data plane drops there are examples only.
    pub refusals: Vec<Refusal>,
    /// How many there were in all, by reason.
    pub totals: BTreeMap<String, u64>,
}

/// A Report or Done that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Since the first.
    pub first_seconds: f64,
    /// Since the last.
    pub last_seconds: f64,
    /// Name of the interface.
    pub interface: String,
    /// Its source.
    pub source: Ipv6Addr,
    /// Its Ethernet source.
    pub mac: Mac,
    /// The address that it names, where it could be read.
    pub anycast: Option<Ipv6Addr>,
    /// In the words of a counter.
    pub reason: String,
    /// `data_plane` or `controller`.
    pub by: String,
    /// How often it was seen.
    pub seen: u64,
}

/// A monitor has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitoring {
    /// The roles whose events follow; all when there is none.
    pub monitoring: Vec<String>,
}

/// A group at a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterGroup {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Where its members are.
    pub interface: String,
    /// State of RFC 2710 section 6.
    pub state: String,
    /// Next hops of its route.
    pub next_hops: Vec<String>,
    /// How many members.
    pub members: usize,
    /// Since the first of them joined.
    #[serde(default)]
    pub since_seconds: f64,
    /// Until the last of them is forgotten, unless it reports.
    #[serde(default)]
    pub expires_seconds: f64,
}

/// A group at a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberGroup {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The unicast address that stands for it, C.
    pub care_of: Option<Ipv6Addr>,
    /// Listener state of RFC 2710 section 5, by interface.
    pub interfaces: Vec<MemberInterface>,
    /// Whether this machine is a member.
    pub joined: bool,
    /// Whether configuration or operator want it to be, health and drain apart.
    pub wanted: bool,
    /// How long it has been draining, if it is.
    pub draining_seconds: Option<f64>,
    /// Sessions that are pinned to this machine.
    pub sessions: usize,
    /// What the checks of its service say, where there are any.
    pub health: Option<Health>,
}

/// What the checks of a service say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// `unknown`, `healthy` or `unhealthy`.
    pub state: String,
    /// How long it has been that.
    pub since_seconds: f64,
    /// What the last check said, in one line.
    pub said: Option<String>,
    /// What the last check that failed said.
    pub last_error: Option<String>,
    /// How long ago that was.
    pub last_error_age_seconds: Option<f64>,
}

/// A group on one interface of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInterface {
    /// Interface name.
    pub interface: String,
    /// Listener state.
    pub state: String,
}

/// A member of a group, at a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Where the member is.
    pub interface: String,
    /// Its link-local address.
    pub member: Ipv6Addr,
    /// Its Ethernet address.
    pub mac: String,
    /// Since it joined.
    pub since_seconds: f64,
    /// Until it is forgotten, unless it reports.
    pub expires_seconds: f64,
    /// Number of the policy rule that let it in.
    pub rule: Option<usize>,
    /// Whether Address-Specific Queries ask if it is still there.
    pub checking: bool,
}

/// Every counter, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Those of the eBPF programs.
    pub data_plane: BTreeMap<String, u64>,
    /// Those of the controller.
    pub controller: BTreeMap<String, u64>,
}

/// The answer to a command about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// Whether this machine is a member now.
    pub joined: bool,
}
