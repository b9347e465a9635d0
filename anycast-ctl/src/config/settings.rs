//! What the core and the shell take, out of a configuration that was checked.

use std::{collections::BTreeMap, net::Ipv6Addr, ops::Range, path::PathBuf, time::Duration};

use anycast_common::{abi::roles, wire::mld::RouterAlert};
use ipnet::Ipv6Net;
use rand::{SeedableRng, rngs::SysRng};
use toml::Spanned;

use super::{
    file::{
        self, Config, Correspondent, Decision, Group, Handshake, Join, Member, NextHops, Pins,
        Router, Rule, Sessions, Timers,
    },
    limits::{self, rate},
};
use crate::{
    core::{
        controller, correspondent,
        member::{self, Peers},
        pins, router,
        rr::Generator,
    },
    shell::{
        addresses::Assigned,
        dataplane::{Mode, Sizes},
        health::Target,
        interfaces::Wanted,
        netlink::{RoutePlace, nexthop},
        reconcile::Style,
        routes::RouteSettings,
    },
};

/// Bindings that are kept unless the configuration says otherwise.
pub(super) const DEFAULT_BINDINGS: usize = 100_000;

/// Where anycast addresses are assigned unless the configuration says otherwise.
const LOOPBACK: &str = "lo";

/// A place in the file, and what is wrong there.
pub(super) type Fault = (Range<usize>, String);

/// The roles of a configuration, each with its mode and its interfaces.
pub(super) fn attachments(config: &Config) -> Vec<(u8, Mode, &[Spanned<String>])> {
    let mut attachments: Vec<(u8, Mode, &[Spanned<String>])> = Vec::new();
    if let Some(router) = config.router_role() {
        attachments.push((roles::ROUTER, router.mode, &router.interfaces));
    }
    if let Some(member) = config.member_role() {
        attachments.push((roles::MEMBER, member.mode, &member.interfaces));
    }
    if let Some(correspondent) = config.correspondent_role() {
        attachments.push((
            roles::CORRESPONDENT,
            correspondent.effective_mode(),
            &correspondent.interfaces,
        ));
    }
    attachments
}

/// Union of the configured roles.
#[must_use]
pub fn roles(config: &Config) -> u8 {
    attachments(config)
        .iter()
        .fold(0, |all, (role, ..)| all | role)
}

/// What is wanted of each interface.
#[must_use]
pub fn interfaces(config: &Config) -> BTreeMap<String, Wanted> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for (role, mode, interfaces) in attachments(config) {
        for interface in interfaces {
            let entry = wanted.entry(interface.get_ref().clone()).or_default();
            entry.roles |= role;
            entry.mode = mode;
        }
    }
    wanted
}

/// How much the maps hold.
#[must_use]
pub fn sizes(config: &Config) -> Sizes {
    let given = &config.data_plane;
    let mut sizes = Sizes::default();
    for (size, given) in [
        (&mut sizes.flows, &given.flows),
        (&mut sizes.bindings, &given.bindings),
        (&mut sizes.member_flows, &given.member_flows),
        (&mut sizes.clients, &given.clients),
        (&mut sizes.fragments, &given.fragments),
    ] {
        take(size, given.as_ref().map(|given| *given.get_ref()));
    }
    sizes
}

/// The settings of the core.
#[must_use]
pub fn controller(config: &Config) -> controller::Settings {
    let router = config.router_role();
    let strict = router.is_none_or(|router| router.require_router_alert);
    controller::Settings {
        router: router.map(router_settings),
        member: config.member_role().map(member_settings),
        correspondent: config.correspondent_role().map(correspondent_settings),
        router_alert: if strict {
            RouterAlert::Required
        } else {
            RouterAlert::Optional
        },
    }
}

fn router_settings(router: &Router) -> router::Settings {
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

fn member_settings(member: &Member) -> member::Settings {
    let names = |interfaces: &[Spanned<String>]| {
        let names = interfaces.iter().map(|name| name.get_ref().clone());
        names.collect::<Vec<_>>()
    };
    let group = |group: &Spanned<Group>| {
        let group = group.get_ref();
        member::GroupSettings {
            anycast: *group.anycast.get_ref(),
            care_of: group.care_of.as_ref().map(|care_of| *care_of.get_ref()),
            peers: peers(group).unwrap_or_default(),
            interfaces: names(group.interfaces.as_ref().unwrap_or(&member.interfaces)),
            health: group
                .health
                .as_ref()
                .map(|health| health.get_ref().settings(group.join() == Join::Start)),
        }
    };
    let mut listener = member::ListenerTimers::default();
    if let Some(given) = member.listener.as_ref().map(Spanned::get_ref) {
        take(&mut listener.robustness, given.robustness.map(Into::into));
        take(
            &mut listener.unsolicited_report_interval,
            given.unsolicited_report_interval,
        );
    }
    let given = member.handshake.as_ref().map(|given| *given.get_ref());
    member::Settings {
        groups: member.group.iter().map(group).collect(),
        listener,
        handshake: handshake(&given.unwrap_or_default()),
    }
}

/// The other members of a group.
pub(super) fn peers(group: &Group) -> Result<Peers, Fault> {
    let (Some(first), Some(last)) = (group.peers.first(), group.peers.last()) else {
        return Ok(Peers::default());
    };
    let span = first.span().start..last.span().end;
    let Some(care_of) = &group.care_of else {
        let reason = "peers need a care_of: a member without one asks for no bindings";
        return Err((span, reason.to_owned()));
    };
    let others = group.peers.iter().map(|peer| peer.get_ref().0);
    Peers::new(*care_of.get_ref(), others).map_err(|error| {
        let at = |net| group.peers.iter().find(|peer| peer.get_ref().0 == net);
        let span = at(error.about()).map_or(span, Spanned::span);
        (span, format!("peers: {error}"))
    })
}

pub(super) fn handshake(given: &Handshake) -> member::HandshakeSettings {
    let mut settings = member::HandshakeSettings::default();
    take(&mut settings.per_client.every, given.client_interval);
    take(&mut settings.per_prefix, given.prefix_rate.map(rate));
    take(&mut settings.whole, given.rate.map(rate));
    take(&mut settings.max_clients, given.max_clients.map(Into::into));
    take(&mut settings.first_back_off, given.first_back_off);
    take(&mut settings.max_back_off, given.max_back_off);
    take(&mut settings.not_capable, given.not_capable);
    settings
}

fn correspondent_settings(correspondent: &Correspondent) -> correspondent::Settings {
    correspondent::Settings {
        client_prefixes: client_prefixes(correspondent),
        max_bindings: correspondent
            .max_bindings
            .map_or(DEFAULT_BINDINGS, Into::into),
        allow: allowed(correspondent),
        limits: limits::messages(correspondent),
        pins: pins(&correspondent.pins),
    }
}

/// Whether the given handshake settings can work together.
pub(super) fn handshakes(given: Option<&Spanned<Handshake>>) -> Result<(), Fault> {
    let Some(given) = given else {
        return Ok(());
    };
    let settings = handshake(given.get_ref());
    let fault = |reason: &str| Err((given.span(), reason.to_owned()));
    if settings.first_back_off.is_zero() || settings.not_capable.is_zero() {
        fault("a client that cannot bind must be left alone for a while: no back-off can be 0")
    } else if settings.max_back_off < settings.first_back_off {
        fault("max_back_off is less than first_back_off")
    } else {
        Ok(())
    }
}

/// The groups that are joined without a command, at the start or as soon as they are healthy.
pub fn joined_at_start(config: &Config) -> impl Iterator<Item = Ipv6Addr> {
    groups(config)
        .filter(|group| group.join() != Join::Manual)
        .map(|group| *group.anycast.get_ref())
}

/// A generator that the operating system seeds.
pub fn random() -> Result<Generator, rand::rngs::SysError> {
    Generator::try_from_rng(&mut SysRng)
}

/// The policy of the router.
#[must_use]
pub fn policy(router: &Router) -> router::Policy {
    let rules = router.policy.iter();
    rules.map(|given| rule(given.get_ref())).collect()
}

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
        max_groups_per_member: rule.max_groups_per_member.map(Into::into),
    }
}

/// How the routes of the router are kept.
#[must_use]
pub fn routes(router: &Router) -> RouteSettings {
    let multipath = router.next_hops == NextHops::All;
    let resilient = multipath && router.resilient == file::Resilient::Auto;
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
    }
}

/// Where the routes of the router stand.
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

/// Whether the given timers can work together.
pub(super) fn timers(given: Option<&Spanned<Timers>>) -> Result<(), Fault> {
    match given {
        None => Ok(()),
        Some(given) => derive(given.get_ref())
            .validate()
            .map_err(|error| (given.span(), error.to_string())),
    }
}

/// What is given, and the rest derived from it as RFC 2710 section 7 says.
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

pub(super) fn take<T>(target: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *target = given;
    }
}

/// When pins end.
#[must_use]
pub fn pins(given: &Pins) -> pins::Limits {
    let mut limits = pins::Limits::default();
    take(&mut limits.tcp, given.tcp);
    take(&mut limits.udp, given.udp);
    take(&mut limits.icmp, given.icmp);
    take(&mut limits.other, given.other);
    take(&mut limits.closed, given.closed);
    take(&mut limits.failure, given.failure);
    limits
}

/// When a session that is pinned to this member counts as over.
#[must_use]
pub fn sessions(given: &Sessions) -> pins::Limits {
    let mut limits = pins::Limits::default();
    take(&mut limits.tcp, given.tcp);
    take(&mut limits.udp, given.udp);
    take(&mut limits.icmp, given.icmp);
    take(&mut limits.other, given.other);
    limits
}

/// What is checked for each group.
#[must_use]
pub fn health_targets(config: &Config) -> BTreeMap<Ipv6Addr, Target> {
    let target = |group: &Group| {
        let anycast = *group.anycast.get_ref();
        let target = group.health.as_ref()?.get_ref().target(anycast).ok()?;
        Some((anycast, target))
    };
    groups(config).filter_map(target).collect()
}

/// The addresses that the daemon assigns.
#[must_use]
pub fn assigned(config: &Config) -> Vec<Assigned> {
    let Some(member) = config.member_role() else {
        return Vec::new();
    };
    let mut assigned = Vec::new();
    for group in groups(config).filter(|group| group.assign) {
        let to = group.assign_to.as_ref();
        assigned.push(Assigned {
            address: *group.anycast.get_ref(),
            interface: to.map_or_else(|| LOOPBACK.into(), |name| name.get_ref().clone()),
            // RFC 4862 section 5.4: never for anycast addresses.
            detect_duplicates: false,
        });
        let interfaces = group.interfaces.as_ref().unwrap_or(&member.interfaces);
        if let (Some(care_of), Some(interface)) = (&group.care_of, interfaces.first()) {
            assigned.push(Assigned {
                address: *care_of.get_ref(),
                interface: interface.get_ref().clone(),
                detect_duplicates: true,
            });
        }
    }
    assigned
}

/// The times of pins that are given, by name.
pub(super) fn pin_times(given: &Pins) -> impl Iterator<Item = (&'static str, Duration)> + use<> {
    [
        ("tcp", given.tcp),
        ("udp", given.udp),
        ("icmp", given.icmp),
        ("other", given.other),
        ("closed", given.closed),
        ("failure", given.failure),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.map(|given| (name, given)))
}

/// The groups that this machine serves.
pub fn groups(config: &Config) -> impl Iterator<Item = &Group> {
    let member = config.member_role();
    member
        .into_iter()
        .flat_map(|member| member.group.iter().map(Spanned::get_ref))
}

/// The anycast prefixes that may be bound; empty allows any.
#[must_use]
pub fn allowed(correspondent: &Correspondent) -> Vec<Ipv6Net> {
    let prefixes = correspondent.allow.iter();
    prefixes.map(|prefix| prefix.get_ref().0).collect()
}

/// Where nonces are kept over a restart.
#[must_use]
pub fn state(correspondent: &Correspondent) -> Option<PathBuf> {
    let state = correspondent.state.as_ref();
    state.map(|path| path.get_ref().clone())
}

/// The clients that this machine answers for.
#[must_use]
pub fn client_prefixes(correspondent: &Correspondent) -> Vec<Ipv6Net> {
    let prefixes = correspondent.client_prefixes.iter();
    prefixes.map(|prefix| prefix.get_ref().0).collect()
}
