//! Checks the `[router]` section.

use std::{
    ops::{Range, RangeInclusive},
    time::Duration,
};

use anycast_common::{abi::maps, wire::ipv6};
use toml::Spanned;

use super::check::{Check, lists, overlap, within};
use crate::{
    config::{
        file::{Router, Rule},
        settings,
    },
    model::policy::Decision,
};

/// Highest reserved route protocol number. Numbers up to `RTPROT_STATIC` (4) belong to the kernel and to
/// administrators.
const RESERVED_PROTOCOLS: u8 = 4;

/// Longest timer of a next-hop group: 2^31 ticks of the kernel with the fastest clock, rounded down.
const LONGEST_TIMER: Duration = Duration::from_secs(24 * 3600);

/// Longest time for which routes over a link that is down stay.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// Shortest time between probes of a member. The kernel needs three seconds to be sure that a neighbour does not
/// answer, so that shorter times would find nothing sooner.
const SHORTEST_PROBE: Duration = Duration::from_secs(1);

/// AdvertisementInterval, RFC 4286 section 3.1.1.
const ADVERTISED: RangeInclusive<Duration> = Duration::from_secs(4)..=Duration::from_secs(180);

/// Number of the routing table `local`, in which the kernel keeps its own addresses.
const LOCAL_TABLE: u32 = 255;

impl Check<'_> {
    pub(super) fn router(&mut self, span: Range<usize>, router: &Router) {
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
        for prefix in &router.queriers {
            self.host_bits(prefix);
            if !within(&prefix.get_ref().0, "fe80::/10") {
                let reason = "queriers: Queries come from link-local addresses, such as fe80::1";
                self.problem(prefix.span(), reason);
            }
        }
        for rule in &router.policy {
            self.rule(rule.get_ref(), &router.interfaces);
        }
    }

    pub(super) fn next_hops(&mut self, span: Range<usize>, router: &Router) {
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
        let hold = router.link_hold;
        if hold > LONGEST_HOLD {
            self.problem(
                span.clone(),
                format!(
                    "link_hold {hold:?}: at most {LONGEST_HOLD:?}, since its routes lead nowhere"
                ),
            );
        }
        let advertised = router.advertisement_interval;
        if !advertised.is_zero() && !ADVERTISED.contains(&advertised) {
            self.problem(
                span.clone(),
                format!("advertisement_interval {advertised:?}: 4s to 180s (RFC 4286 section 3.1.1), or 0s for never"),
            );
        }
        let probe = router.probe_interval;
        if !probe.is_zero() && probe < SHORTEST_PROBE {
            self.problem(
                span,
                format!("probe_interval {probe:?}: at least {SHORTEST_PROBE:?}, or 0s for never"),
            );
        }
    }

    pub(super) fn rule(&mut self, rule: &Rule, interfaces: &[Spanned<String>]) {
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
}
