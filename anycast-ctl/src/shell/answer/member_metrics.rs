//! Metrics of a member.

use std::collections::BTreeMap;

use super::{
    groups::served,
    numbers::{count, truth},
};
use crate::{
    core::{
        Time,
        member::{Health, Member},
    },
    shell::{
        api::view,
        engine::Engine,
        flows::Seen,
        metrics::{Families, Labels},
    },
};

pub(super) fn show(families: &mut Families, role: &Member, core: &Engine, seen: &Seen, now: Time) {
    let under_way = role.under_way();
    families.gauge("handshakes", "Handshakes under way.", count(under_way));
    let groups = served(core, seen);
    let each = |value: fn(&view::MemberGroup) -> f64| {
        let groups = groups.iter();
        let rows = groups.map(|group| (vec![("anycast", group.anycast.to_string())], value(group)));
        rows.collect::<Vec<_>>()
    };
    families.gauges(
        "group_joined",
        "Whether this machine is a member of an anycast address.",
        each(|group| truth(group.joined)),
    );
    families.gauges(
        "group_wanted",
        "Whether configuration or operator want it to be a member, health and drain apart.",
        each(|group| truth(group.wanted)),
    );
    families.gauges(
        "group_draining",
        "Whether an anycast address is being drained.",
        each(|group| truth(group.draining_seconds.is_some())),
    );
    let sessions = groups.iter().map(|group| {
        let care_of = group.care_of.map(|care_of| care_of.to_string());
        let labels = vec![
            ("anycast", group.anycast.to_string()),
            ("care_of", care_of.unwrap_or_default()),
        ];
        (labels, count(group.sessions))
    });
    families.gauges(
        "group_sessions",
        "Sessions that are pinned to this machine by a care-of address.",
        sessions.collect(),
    );
    let uptime = now.since(core.started()).as_secs_f64();
    families.gauges(
        "last_query_age_seconds",
        "How long ago a member heard the last Query on an interface; since the daemon started where it heard none.",
        query_ages(&groups, uptime),
    );
    let checked: Vec<_> = role
        .groups(now)
        .into_iter()
        .filter_map(|group| Some((vec![("anycast", group.anycast.to_string())], group.health?)))
        .collect();
    let healthy = checked.iter();
    let healthy = healthy.map(|(labels, it)| (labels.clone(), truth(it.health == Health::Healthy)));
    families.gauges(
        "group_healthy",
        "Whether the health checks of a service pass.",
        healthy.collect(),
    );
    let since = checked
        .iter()
        .map(|(labels, it)| (labels.clone(), it.since.as_secs_f64()));
    families.gauges(
        "group_health_age_seconds",
        "How long the service has been in this state of health.",
        since.collect(),
    );
}

/// A member is not without Queries where it is no member.
fn query_ages(groups: &[view::MemberGroup], uptime: f64) -> Vec<(Labels, f64)> {
    let mut ages: BTreeMap<&str, f64> = BTreeMap::new();
    for group in groups {
        for on in &group.interfaces {
            let never = group.joined.then_some(uptime);
            if let Some(age) = on.last_query_seconds.or(never) {
                let youngest = ages.entry(&on.interface).or_insert(age);
                *youngest = youngest.min(age);
            }
        }
    }
    let label = |interface: &str| vec![("interface", interface.to_owned())];
    ages.into_iter()
        .map(|(interface, age)| (label(interface), age))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn a_member_that_never_heard_a_query_has_heard_none_since_the_start() {
        let group = |joined, last_query_seconds| view::MemberGroup {
            anycast: Ipv6Addr::LOCALHOST,
            care_of: None,
            interfaces: vec![view::MemberInterface {
                interface: "eth0".to_owned(),
                state: "idle_listener".to_owned(),
                last_query_from: None,
                last_query_seconds,
            }],
            joined,
            wanted: true,
            draining_seconds: None,
            sessions: 0,
            health: None,
        };
        let ages = |groups: &[view::MemberGroup]| -> Vec<f64> {
            let ages = query_ages(groups, 300.0).into_iter();
            ages.map(|(_, age)| age).collect()
        };
        assert_eq!(ages(&[group(true, None)]), [300.0]);
        assert_eq!(ages(&[group(true, Some(3.0))]), [3.0]);
        assert_eq!(ages(&[group(true, None), group(true, Some(3.0))]), [3.0]);
        assert_eq!(ages(&[group(false, None)]), [0.0; 0]);
        assert_eq!(ages(&[group(false, Some(3.0))]), [3.0]);
    }
}
