//! Makes the settings of the member role out of a checked configuration: groups, health checks and addresses.

use std::{collections::BTreeMap, net::Ipv6Addr};

use toml::Spanned;

use crate::{
    config::{
        file::{Config, Group, Handshake, Join, Member, Sessions},
        given::{Fault, rate, take},
    },
    core::{
        flows,
        member::{self, HealthSettings, Peers},
    },
    model::{address::Assigned, health::Target},
};

/// Interface to which anycast addresses are assigned, unless the configuration says otherwise.
const LOOPBACK: &str = "lo";

pub(super) fn member_settings(member: &Member) -> member::Settings {
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
            health: health(group),
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

/// When the health of a group's service is checked, if it is.
#[must_use]
pub fn health(group: &Group) -> Option<HealthSettings> {
    let health = group.health.as_ref();
    health.map(|health| health.get_ref().settings(group.join() == Join::Start))
}

/// The care-of addresses of the other members of a group.
pub(in crate::config) fn peers(group: &Group) -> Result<Peers, Fault> {
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

pub(in crate::config) fn handshake(given: &Handshake) -> member::HandshakeSettings {
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

/// Checks that the given handshake settings are consistent.
pub(in crate::config) fn handshakes(given: Option<&Spanned<Handshake>>) -> Result<(), Fault> {
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

/// The anycast addresses of the groups that are joined without a command, at the start or as soon as they are healthy.
pub fn joined_at_start(config: &Config) -> impl Iterator<Item = Ipv6Addr> {
    groups(config)
        .filter(|group| group.join() != Join::Manual)
        .map(|group| *group.anycast.get_ref())
}

/// The groups that this machine serves.
pub fn groups(config: &Config) -> impl Iterator<Item = &Group> {
    let member = config.member_role();
    member
        .into_iter()
        .flat_map(|member| member.group.iter().map(Spanned::get_ref))
}

/// When a session that is pinned to this member counts as over.
#[must_use]
pub fn sessions(given: &Sessions) -> flows::Limits {
    let mut limits = flows::Limits::default();
    take(&mut limits.tcp, given.tcp);
    take(&mut limits.udp, given.udp);
    take(&mut limits.icmp, given.icmp);
    take(&mut limits.other, given.other);
    limits
}

/// The target of the health check of each group that has one, by anycast address.
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
            // Duplicate address detection must not be used for anycast addresses (RFC 4862 section 5.4).
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
