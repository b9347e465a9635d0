//! Makes the settings of the router role out of a checked configuration.

use toml::Spanned;

use crate::{
    config::{
        file::{NextHops, Resilient, Router, Rule, Timers},
        given::{Fault, take},
    },
    core::router,
    model::{
        nexthop,
        policy::Decision,
        route::{RoutePlace, RouteSettings, Style},
    },
};

pub(super) fn router_settings(router: &Router) -> router::Settings {
    let link = |interface: &Spanned<String>| {
        let name = interface.get_ref();
        let own = router.interface.get(name).map(Spanned::get_ref);
        router::LinkSettings {
            timers: timers_of(router),
            general_queries: own
                .and_then(|own| own.general_queries)
                .unwrap_or(router.general_queries),
            fast_leave: own
                .and_then(|own| own.fast_leave)
                .unwrap_or(router.fast_leave),
            probe_interval: Some(router.probe_interval).filter(|interval| !interval.is_zero()),
            advertisement_interval: Some(router.advertisement_interval)
                .filter(|interval| !interval.is_zero()),
            queriers: router.queriers.iter().map(|net| net.get_ref().0).collect(),
            hold: router.link_hold,
            ..router::LinkSettings::new(name)
        }
    };
    router::Settings {
        links: router.interfaces.iter().map(link).collect(),
        policy: policy(router),
        next_hops: match router.next_hops {
            NextHops::All => router::NextHopChoice::All,
            NextHops::Best => router::NextHopChoice::Best,
            NextHops::OnLink => router::NextHopChoice::OnLink,
        },
    }
}

/// The policy of the router.
#[must_use]
pub fn policy(router: &Router) -> router::Policy {
    let rules = router.policy.iter();
    rules.map(|given| rule(given.get_ref())).collect()
}

/// How many groups a member may be in by a rule that does not say so. One host could fill the memory and the routing
/// table of the router otherwise.
const GROUPS_PER_MEMBER: u32 = 1024;

/// A rule of the policy.
#[must_use]
pub fn rule(rule: &Rule) -> router::Rule {
    router::Rule {
        interface: rule.interface.as_ref().map(|name| name.get_ref().clone()),
        source: rule.source.get_ref().0,
        mac: rule.mac.map(|mac| mac.0),
        anycast: rule.anycast.get_ref().0,
        allow: rule.action == Decision::Allow,
        max_members_per_group: rule.max_members_per_group.map(Into::into),
        max_groups_per_member: match rule.action {
            Decision::Allow => {
                let given = rule.max_groups_per_member.map(Into::into);
                Some(given.unwrap_or(GROUPS_PER_MEMBER))
            }
            Decision::Deny => None,
        },
    }
}

/// How the routes of the router are written into the kernel.
#[must_use]
pub fn routes(router: &Router) -> RouteSettings {
    let multipath = router.next_hops == NextHops::All;
    let resilient = multipath && router.resilient != Resilient::Never;
    RouteSettings {
        place: route_place(router),
        style: if resilient {
            Style::Resilient(nexthop::Resilient {
                buckets: *router.buckets.get_ref(),
                idle_timer: router.idle_timer,
                unbalanced_timer: router.unbalanced_timer,
            })
        } else {
            Style::Plain
        },
        multipath,
        plain_beside_zebra: router.resilient == Resilient::Auto,
    }
}

/// Table, metric and protocol of the router's routes.
#[must_use]
pub fn route_place(router: &Router) -> RoutePlace {
    RoutePlace {
        table: *router.table.get_ref(),
        metric: *router.metric.get_ref(),
        protocol: *router.protocol.get_ref(),
    }
}

/// The timers of the router.
#[must_use]
pub fn timers_of(router: &Router) -> router::Timers {
    let given = router.timers.as_ref().map(|timers| *timers.get_ref());
    derive(&given.unwrap_or_default())
}

/// Checks that the given timers are consistent.
pub(in crate::config) fn timers(given: Option<&Spanned<Timers>>) -> Result<(), Fault> {
    match given {
        None => Ok(()),
        Some(given) => derive(given.get_ref())
            .validate()
            .map_err(|error| (given.span(), error.to_string())),
    }
}

/// Takes the timers that are given, and derives the others from them as RFC 2710 section 7 says.
fn derive(given: &Timers) -> router::Timers {
    let usual = router::Timers::default();
    let mut timers = router::Timers::derived(
        given.robustness.unwrap_or(usual.robustness),
        given.query_interval.unwrap_or(usual.query_interval),
        given
            .query_response_interval
            .unwrap_or(usual.query_response_interval),
    );
    take(
        &mut timers.startup_query_interval,
        given.startup_query_interval,
    );
    take(&mut timers.startup_query_count, given.startup_query_count);
    take(
        &mut timers.last_listener_query_interval,
        given.last_listener_query_interval,
    );
    take(
        &mut timers.last_listener_query_count,
        given.last_listener_query_count,
    );
    timers
}
