//! What a configuration must not say, although it can be read.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv6Addr,
    ops::Range,
    path::Path,
    time::Duration,
};

use anycast_common::{abi::maps, wire::ipv6};
use ipnet::Ipv6Net;
use toml::Spanned;

use super::{
    file::{Config, Correspondent, DataPlane, Decision, Group, Join, Member, Router, Rule},
    limits,
    report::{self, Problem},
    settings,
    value::Prefix,
};
use crate::shell::dataplane::{Mode, SIZES, Sizes};

/// Longest path that fits a `sockaddr_un`, its final zero apart.
const SOCKET_PATH: usize = 107;
/// Longest interface name (IFNAMSIZ without its final zero).
const INTERFACE_NAME: usize = 15;
/// Route protocols up to `RTPROT_STATIC` belong to the kernel and to administrators.
const RESERVED_PROTOCOLS: u8 = 4;
/// Timers of next-hop groups: 2^31 ticks of the fastest kernels, rounded down.
const LONGEST_TIMER: Duration = Duration::from_secs(24 * 3600);
/// The kernel takes three seconds to be sure of an answer that does not come.
const SHORTEST_PROBE: Duration = Duration::from_secs(1);
/// The table `local`, in which the kernel keeps its own addresses.
const LOCAL_TABLE: u32 = 255;

/// Everything that is wrong, in the order of the lines.
pub(super) fn validate(config: &Config, text: &str) -> Vec<Problem> {
    let mut check = Check {
        text,
        problems: Vec::new(),
    };
    check.config(config);
    check.problems.sort();
    check.problems
}

/// Everything that is wrong with one rule, for a router of these interfaces.
pub(super) fn rule(rule: &Rule, interfaces: &[Spanned<String>]) -> Vec<Problem> {
    let mut check = Check {
        text: "",
        problems: Vec::new(),
    };
    check.rule(rule, interfaces);
    check.problems
}

struct Check<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, span: Range<usize>, reason: impl Into<String>) {
        self.problems.push(Problem {
            // A default has no place in the file.
            line: (!span.is_empty()).then(|| report::line(self.text, span.start)),
            reason: reason.into(),
        });
    }

    fn config(&mut self, config: &Config) {
        if let Some(socket) = &config.control.socket {
            self.socket(socket.span(), socket.get_ref());
        }
        if config.router.is_none() && config.member.is_none() && config.correspondent.is_none() {
            self.problems.push(Problem {
                line: None,
                reason: "no role: give at least one of [router], [member], [correspondent]".into(),
            });
        }
        if let Some(router) = &config.router {
            self.router(router.span(), router.get_ref());
        }
        if let Some(member) = &config.member {
            self.member(member.span(), member.get_ref());
        }
        if let Some(correspondent) = &config.correspondent {
            self.correspondent(correspondent.span(), correspondent.get_ref());
            self.max_bindings(correspondent, settings::sizes(config));
        }
        self.modes(config);
        self.sizes(&config.data_plane);
    }

    /// Maps are made as large as this at once.
    fn sizes(&mut self, given: &DataPlane) {
        for (name, given) in [
            ("flows", &given.flows),
            ("bindings", &given.bindings),
            ("member_flows", &given.member_flows),
            ("clients", &given.clients),
            ("fragments", &given.fragments),
        ] {
            let Some(given) = given else { continue };
            if !SIZES.contains(given.get_ref()) {
                let (least, most) = (SIZES.start(), SIZES.end());
                self.problem(
                    given.span(),
                    format!("[data_plane] {name} is between {least} and {most}"),
                );
            }
        }
    }

    fn max_bindings(&mut self, correspondent: &Spanned<Correspondent>, sizes: Sizes) {
        let given = correspondent.get_ref().max_bindings;
        let most = sizes.bindings;
        if given.is_some_and(|given| given.get() > most as usize) {
            let reason = format!(
                "max_bindings is more than the {most} that the data plane holds ([data_plane] bindings)"
            );
            self.problem(correspondent.span(), reason);
        } else if given.is_none() && settings::DEFAULT_BINDINGS > most as usize {
            let reason = format!(
                "[data_plane] bindings is {most}: give a max_bindings that is not above it"
            );
            self.problem(correspondent.span(), reason);
        }
    }

    fn socket(&mut self, span: Range<usize>, path: &Path) {
        if !path.is_absolute() {
            self.problem(
                span,
                format!("{}: the socket needs an absolute path", path.display()),
            );
        } else if path.as_os_str().len() > SOCKET_PATH {
            self.problem(
                span,
                format!("the path of a Unix socket has at most {SOCKET_PATH} octets"),
            );
        }
    }

    /// A role without interfaces does nothing; one named twice would be attached twice.
    fn interfaces(&mut self, span: Range<usize>, role: &str, interfaces: &[Spanned<String>]) {
        if interfaces.is_empty() {
            self.problem(span, format!("{role} has no interfaces"));
        }
        let mut seen = HashSet::new();
        for interface in interfaces {
            let name = interface.get_ref();
            if !is_interface_name(name) {
                self.problem(
                    interface.span(),
                    format!("{name:?} cannot be an interface name"),
                );
            } else if !seen.insert(name) {
                self.problem(
                    interface.span(),
                    format!("interface {name} is listed twice"),
                );
            }
        }
    }

    /// An interface has one program for what comes in, whatever the number of its roles.
    fn modes(&mut self, config: &Config) {
        let mut modes: HashMap<String, Mode> = HashMap::new();
        for (_, mode, interfaces) in settings::attachments(config) {
            for interface in interfaces {
                let name = interface.get_ref();
                let first = *modes.entry(name.clone()).or_insert(mode);
                if first != mode {
                    self.problem(
                        interface.span(),
                        format!("interface {name} has another `mode` in another role"),
                    );
                }
            }
        }
    }

    fn router(&mut self, span: Range<usize>, router: &Router) {
        self.interfaces(span.clone(), "[router]", &router.interfaces);
        if matches!(*router.table.get_ref(), 0 | LOCAL_TABLE) {
            self.problem(
                router.table.span(),
                format!("table {} cannot hold our routes", router.table.get_ref()),
            );
        }
        if *router.metric.get_ref() == 0 {
            self.problem(
                router.metric.span(),
                "metric 0 means 1024 to the kernel: write the metric",
            );
        }
        self.next_hops(span, router);
        let protocol = *router.protocol.get_ref();
        if protocol <= RESERVED_PROTOCOLS {
            self.problem(
                router.protocol.span(),
                format!("route protocol {protocol} marks routes that are not ours: use 5 to 255"),
            );
        }
        if let Err((span, reason)) = settings::timers(router.timers.as_ref()) {
            self.problem(span, reason);
        }
        for (name, interface) in &router.interface {
            if !lists(&router.interfaces, name) {
                self.problem(
                    interface.span(),
                    format!("interface {name} is not in the `interfaces` of [router]"),
                );
            }
        }
        let most = maps::POLICY_RULES as usize - 1;
        if let Some(rule) = router.policy.get(most) {
            self.problem(rule.span(), format!("more than {most} policy rules"));
        }
        for rule in &router.policy {
            self.rule(rule.get_ref(), &router.interfaces);
        }
    }

    fn next_hops(&mut self, span: Range<usize>, router: &Router) {
        if *router.buckets.get_ref() == 0 {
            self.problem(
                router.buckets.span(),
                "buckets = 0: a next-hop group needs at least as many as it has members",
            );
        }
        for (name, timer) in [
            ("idle_timer", router.idle_timer),
            ("unbalanced_timer", router.unbalanced_timer),
        ] {
            if timer > LONGEST_TIMER {
                self.problem(
                    span.clone(),
                    format!("{name} is above {LONGEST_TIMER:?}, the most that the kernel takes"),
                );
            }
        }
        let probe = router.probe_interval;
        if !probe.is_zero() && probe < SHORTEST_PROBE {
            self.problem(
                span,
                format!("probe_interval {probe:?}: at least {SHORTEST_PROBE:?}, or 0s for never"),
            );
        }
    }

    fn rule(&mut self, rule: &Rule, interfaces: &[Spanned<String>]) {
        if let Some(interface) = &rule.interface
            && !lists(interfaces, interface.get_ref())
        {
            self.problem(
                interface.span(),
                format!(
                    "interface {} is not in the `interfaces` of [router]: the rule would never match",
                    interface.get_ref()
                ),
            );
        }
        self.host_bits(&rule.source);
        self.host_bits(&rule.anycast);
        let source = rule.source.get_ref().0;
        if !overlap(&source, "fe80::/10") {
            self.problem(
                rule.source.span(),
                format!("source {source}: Reports come from link-local addresses (fe80::/10), the rule would never match"),
            );
        }
        let anycast = rule.anycast.get_ref().0;
        if within(&anycast, "ff00::/8") || within(&anycast, "fe80::/10") {
            self.problem(
                rule.anycast.span(),
                format!("anycast {anycast}: multicast and link-local addresses cannot be anycast"),
            );
        } else if anycast.prefix_len() == 128
            && let Err(error) = ipv6::anycastable(anycast.addr())
        {
            self.problem(
                rule.anycast.span(),
                format!("anycast {}: {error}", anycast.addr()),
            );
        }
        if rule.action == Decision::Deny
            && (rule.max_members_per_group.is_some() || rule.max_groups_per_member.is_some())
        {
            self.problem(rule.source.span(), "a rule that denies has no caps");
        }
    }

    fn member(&mut self, span: Range<usize>, member: &Member) {
        self.interfaces(span.clone(), "[member]", &member.interfaces);
        if member.group.is_empty() {
            self.problem(span.clone(), "[member] has no [[member.group]]");
        }
        let most = maps::LOCAL_GROUPS as usize;
        if member.group.len() > most {
            self.problem(
                span.clone(),
                format!("more groups than the {most} that the data plane holds"),
            );
        }
        if let Err((span, reason)) = settings::handshakes(member.handshake.as_ref()) {
            self.problem(span, reason);
        }
        let groups: Vec<&Group> = member.group.iter().map(Spanned::get_ref).collect();
        let anycast: HashSet<Ipv6Addr> = groups
            .iter()
            .map(|group| *group.anycast.get_ref())
            .collect();
        let mut seen = HashSet::new();
        for group in groups {
            let address = *group.anycast.get_ref();
            if let Err(error) = ipv6::anycastable(address) {
                self.problem(group.anycast.span(), format!("anycast {address}: {error}"));
            }
            if !seen.insert(address) {
                self.problem(
                    group.anycast.span(),
                    format!("group {address} is there a second time"),
                );
            }
            if let Some(care_of) = &group.care_of {
                self.care_of(care_of, &anycast, &mut seen);
            }
            self.peers(group, &anycast);
            self.group_interfaces(group, member);
            self.health(group);
            self.assign(group, member);
        }
    }

    fn health(&mut self, group: &Group) {
        if let (Some(join), None) = (&group.join, &group.health)
            && *join.get_ref() == Join::Health
        {
            self.problem(join.span(), "join = \"health\" needs a health check");
        }
        if let Some(health) = &group.health {
            let given = health.get_ref();
            let target = given.target(*group.anycast.get_ref()).map(drop);
            if let Err(reason) = target.and_then(|()| given.times()) {
                self.problem(health.span(), reason);
            }
        }
    }

    fn assign(&mut self, group: &Group, member: &Member) {
        let Some(interface) = &group.assign_to else {
            return;
        };
        let name = interface.get_ref();
        let reason = if !group.assign {
            "assign_to needs assign = true".into()
        } else if lists(&member.interfaces, name) {
            // RFC 4861 section 7.2.7 forbids it where several members share the link.
            format!(
                "assign_to {name}: the kernel would claim the address on that link by overriding Neighbor Advertisements; use lo or a dummy interface"
            )
        } else if !is_interface_name(name) {
            format!("{name:?} cannot be an interface name")
        } else {
            return;
        };
        self.problem(interface.span(), reason);
    }

    fn care_of(
        &mut self,
        care_of: &Spanned<Ipv6Addr>,
        anycast: &HashSet<Ipv6Addr>,
        seen: &mut HashSet<Ipv6Addr>,
    ) {
        let address = *care_of.get_ref();
        let reason = if anycast.contains(&address) {
            format!(
                "care_of {address} is an anycast address: it must be a unicast address of its own"
            )
        } else if !ipv6::is_routable_unicast(address) {
            format!("care_of {address} is not a unicast address that clients can reach")
        } else if !seen.insert(address) {
            format!("care_of {address} stands for another group already: each needs its own")
        } else {
            return;
        };
        self.problem(care_of.span(), reason);
    }

    fn peers(&mut self, group: &Group, anycast: &HashSet<Ipv6Addr>) {
        for peer in &group.peers {
            self.host_bits(peer);
            let net = peer.get_ref().0;
            if let Some(address) = anycast.iter().find(|address| net.contains(*address)) {
                let reason = format!(
                    "peers: {net} holds the anycast address {address}: peers are care_of addresses"
                );
                self.problem(peer.span(), reason);
            }
        }
        if let Err((span, reason)) = settings::peers(group) {
            self.problem(span, reason);
        }
    }

    fn group_interfaces(&mut self, group: &Group, member: &Member) {
        let Some(interfaces) = &group.interfaces else {
            return;
        };
        self.interfaces(group.anycast.span(), "the group", interfaces);
        for interface in interfaces {
            if !lists(&member.interfaces, interface.get_ref()) {
                self.problem(
                    interface.span(),
                    format!(
                        "interface {} is not in the `interfaces` of [member]",
                        interface.get_ref()
                    ),
                );
            }
        }
    }

    fn correspondent(&mut self, span: Range<usize>, correspondent: &Correspondent) {
        self.interfaces(span.clone(), "[correspondent]", &correspondent.interfaces);
        if correspondent.client_prefixes.is_empty() {
            self.problem(
                span.clone(),
                "[correspondent] has no client_prefixes: it would answer for nobody",
            );
        }
        if let Some(local) = &correspondent.local
            && correspondent.is_client()
            && correspondent.effective_mode() != Mode::Tcx
        {
            self.problem(
                local.span(),
                "local = true needs mode = \"tcx\": XDP sees nothing of what this host itself sends",
            );
        }
        let most = maps::CLIENT_PREFIXES as usize;
        if correspondent.client_prefixes.len() > most {
            self.problem(
                span.clone(),
                format!("more client_prefixes than the {most} that the data plane holds"),
            );
        }
        let mut seen: Vec<Ipv6Net> = Vec::new();
        for prefix in &correspondent.client_prefixes {
            self.host_bits(prefix);
            let net = prefix.get_ref().0;
            if ["ff00::/8", "fe80::/10", "::/96", "::ffff:0:0/96"]
                .iter()
                .any(|other| within(&net, other))
            {
                self.problem(
                    prefix.span(),
                    format!("{net} holds no client that can be reached"),
                );
            }
            if let Some(other) = seen.iter().find(|other| touch(other, &net)) {
                self.problem(prefix.span(), format!("{net} overlaps {other}"));
            }
            seen.push(net);
        }
        if let Some(state) = &correspondent.state
            && !state.get_ref().is_absolute()
        {
            self.problem(state.span(), "state needs an absolute path");
        }
        let most = maps::ANYCAST_PREFIXES as usize;
        if correspondent.allow.len() > most {
            self.problem(
                span.clone(),
                format!("more prefixes in allow than the {most} that the data plane holds"),
            );
        }
        for prefix in &correspondent.allow {
            self.host_bits(prefix);
        }
        if let Err((span, reason)) = limits::nested(correspondent.limits.as_ref()) {
            self.problem(span, reason);
        }
        for (name, duration) in settings::pin_times(&correspondent.pins) {
            if duration.is_zero() {
                self.problem(
                    span.clone(),
                    format!("[correspondent.pins] {name} cannot be 0"),
                );
            }
        }
    }

    fn host_bits(&mut self, prefix: &Spanned<Prefix>) {
        let net = prefix.get_ref().0;
        if net != net.trunc() {
            self.problem(
                prefix.span(),
                format!("{net} has bits beyond its length: write {}", net.trunc()),
            );
        }
    }
}

fn is_interface_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= INTERFACE_NAME
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

fn lists(interfaces: &[Spanned<String>], name: &str) -> bool {
    interfaces
        .iter()
        .any(|interface| interface.get_ref() == name)
}

fn touch(left: &Ipv6Net, right: &Ipv6Net) -> bool {
    left.contains(&right.network()) || right.contains(&left.network())
}

fn overlap(net: &Ipv6Net, other: &str) -> bool {
    other.parse().is_ok_and(|other: Ipv6Net| touch(net, &other))
}

fn within(net: &Ipv6Net, other: &str) -> bool {
    other
        .parse()
        .is_ok_and(|other: Ipv6Net| other.contains(net))
}
