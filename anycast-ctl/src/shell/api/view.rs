//! What the control socket shows. Times are in seconds.

use std::{collections::BTreeMap, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

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
    /// `native` or `generic`.
    pub mode: Option<String>,
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
    /// Those that this machine serves.
    pub member: Vec<MemberGroup>,
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
    /// Policy rule that let it in, counted from 0.
    pub rule: Option<usize>,
    /// Whether Address-Specific Queries ask if it is still there.
    pub checking: bool,
}

/// A binding, at a correspondent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
    /// Sequence number of its Binding Update.
    pub sequence: u16,
    /// Since its last Binding Update.
    pub age_seconds: f64,
    /// Until it ends.
    pub remaining_seconds: f64,
    /// Flows that are pinned to it.
    pub flows: usize,
}

/// A flow that travels by a care-of address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// The client, A.
    pub client: Ipv6Addr,
    /// Its port.
    pub client_port: u16,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The port of the service.
    pub service_port: u16,
    /// Upper-layer protocol number.
    pub protocol: u8,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
    /// Since it was pinned; a member does not know.
    pub age_seconds: Option<f64>,
    /// Since its last packet.
    pub idle_seconds: f64,
    /// `correspondent` or `member`: who says so.
    pub role: String,
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
