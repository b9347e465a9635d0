//! Answers with all metrics. `docs/running.md` lists them.

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    time::{SystemTime, UNIX_EPOCH},
};

use anycast_common::abi::{counters::Counter as DataPlane, maps::Flow};

use super::{
    common::{Answered, PAGE, failed, map},
    fleet_metrics, member_metrics,
    numbers::{count, truth},
    problems::Fill,
    refusals::{IN_CONTROLLER, IN_DATA_PLANE, UPDATES},
    status::fill,
    traffic,
};
use crate::{
    core::{
        Time,
        correspondent::Correspondent,
        counters::Counter as Controller,
        router::{LinkRole, Router},
    },
    shell::{
        api::{Answer, view},
        clock,
        dataplane::DataplaneError,
        engine::Engine,
        flows::{Seen, Snapshot},
        interfaces::role_names,
        metrics::{Families, Form, Labels},
        perform::Performer,
        plane::Plane,
        routes::Routes,
    },
};

pub(super) fn metrics(
    core: &Engine,
    plane: &mut Plane,
    performer: &Performer,
    seen: &Seen,
    openmetrics: bool,
) -> Answered {
    let now = clock::now();
    let mut families = Families::default();
    daemon(&mut families, core, plane, now);
    let controller = core.controller();
    if let Some(router) = controller.router() {
        of_router(&mut families, router, now);
        let routes = performer.routes().map_or(0, Routes::count);
        families.gauge("routes", "Routes of the router role.", count(routes));
    }
    if let Some(correspondent) = controller.correspondent() {
        of_correspondent(&mut families, correspondent, seen, now);
    }
    if let Some(member) = controller.member() {
        member_metrics::show(&mut families, member, core, seen, now);
    }
    maps(&mut families, &fill(core, plane, seen));
    performer.timings().show(&mut families);
    counters(&mut families, core, plane, performer).map_err(|error| map(&error))?;
    let form = match openmetrics {
        true => Form::OpenMetrics,
        false => Form::Prometheus,
    };
    let text = families
        .text(form)
        .map_err(|error| failed(error.to_string()))?;
    Ok(Answer::Metrics(view::Metrics { text }))
}

fn daemon(families: &mut Families, core: &Engine, plane: &Plane, now: Time) {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    families.gauges("build_info", "Version of the daemon.", vec![(version, 1.0)]);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let started = since_1970
        .unwrap_or_default()
        .saturating_sub(now.since(core.started()));
    families.gauge(
        "start_time_seconds",
        "When the daemon started, in seconds since 1970. All counters begin then.",
        started.as_secs_f64(),
    );
    let roles = role_names(plane.roles()).into_iter();
    let roles = roles.map(|role| (vec![("role", role)], 1.0)).collect();
    families.gauges("role_info", "Roles of this machine.", roles);
    let interfaces = plane.interfaces();
    let named = |interface: &view::Interface| vec![("interface", interface.name.clone())];
    let up = |it: &view::Interface| (named(it), truth(it.ifindex.is_some() && it.up));
    families.gauges(
        "interface_up",
        "Whether a configured interface exists, is up and has a carrier.",
        interfaces.iter().map(up).collect(),
    );
    let attached = |it: &view::Interface| (named(it), truth(it.program.is_some()));
    families.gauges(
        "interface_attached",
        "Whether a program is attached to a configured interface.",
        interfaces.iter().map(attached).collect(),
    );
    let info = interfaces.iter().filter_map(|it| {
        let mut labels = named(it);
        labels.push(("program", it.program.clone()?));
        labels.push(("mode", it.mode.clone()?));
        Some((labels, 1.0))
    });
    families.gauges(
        "interface_program_info",
        "Which program is attached to an interface, and how.",
        info.collect(),
    );
}

fn of_router(families: &mut Families, router: &Router, now: Time) {
    let (groups, members) = router.totals();
    families.gauge(
        "groups",
        "Groups that have members behind this router.",
        count(groups),
    );
    families.gauge("members", "Memberships behind this router.", count(members));
    let links = router.links(now).into_iter().map(|link| {
        let querier = link.querier.map(|querier| querier.to_string());
        let labels = vec![
            ("interface", link.interface),
            ("querier", querier.unwrap_or_default()),
        ];
        (labels, truth(link.role == LinkRole::Querier))
    });
    families.gauges(
        "querier",
        "Who is the Querier of a link; 1 when it is this router.",
        links.collect(),
    );
    let (page, _) = router.groups_page(now, None, PAGE);
    let labels = |group: Ipv6Addr, interface: &str| -> Labels {
        vec![
            ("anycast", group.to_string()),
            ("interface", interface.to_owned()),
        ]
    };
    let rows = page.iter().map(|group| {
        let labels = labels(group.group, &group.interface);
        let (members, hops) = (count(group.members), count(group.next_hops.len()));
        (labels, members, hops)
    });
    let (members, hops): (Vec<_>, Vec<_>) = rows
        .map(|(labels, members, hops)| ((labels.clone(), members), (labels, hops)))
        .unzip();
    families.gauges(
        "group_members",
        "Members of an anycast address behind this router, of the first 1000 groups.",
        members,
    );
    families.gauges(
        "group_next_hops",
        "Next hops of the route to an anycast address, of the first 1000 groups.",
        hops,
    );
}

fn of_correspondent(families: &mut Families, role: &Correspondent, seen: &Seen, now: Time) {
    families.gauge(
        "bindings",
        "Bindings of clients to members.",
        count(role.bound()),
    );
    if let Some(bus) = role.bus() {
        fleet_metrics::show(families, &bus.status(now));
    }
    let Some(read) = seen.last() else {
        return;
    };
    let state = |state: &str, number| (vec![("state", state.to_owned())], count(number));
    let trial = read
        .flows
        .iter()
        .filter(|(_, flow)| flow.answered == 0)
        .count();
    families.gauges(
        "flows",
        "Flows that a correspondent remembers: open, bound and not answered yet, or bound and answered.",
        vec![
            state("open", read.number_open),
            state("trial", trial),
            state("bound", read.flows.len() - trial),
        ],
    );
    families.gauges(
        "care_of_flows",
        "Flows that are bound to a care-of address of a member, of the first 1000 addresses.",
        by_care_of(read),
    );
    families.gauge(
        "flows_age_seconds",
        "How long ago the flows were read.",
        now.since(read.began).as_secs_f64(),
    );
}

fn by_care_of(read: &Snapshot) -> Vec<(Labels, f64)> {
    let mut flows: BTreeMap<(Ipv6Addr, Ipv6Addr), usize> = BTreeMap::new();
    for (key, Flow { care_of, .. }) in read.flows.iter() {
        let both = (Ipv6Addr::from(key.anycast), Ipv6Addr::from(*care_of));
        *flows.entry(both).or_default() += 1;
    }
    let rows = flows
        .into_iter()
        .take(PAGE)
        .map(|((anycast, care_of), flows)| {
            let labels = vec![
                ("anycast", anycast.to_string()),
                ("care_of", care_of.to_string()),
            ];
            (labels, count(flows))
        });
    rows.collect()
}

fn maps(families: &mut Families, maps: &[Fill]) {
    let label = |fill: &Fill| vec![("map", fill.map.to_owned())];
    let used = maps
        .iter()
        .filter_map(|fill| Some((label(fill), count(fill.used?))));
    families.gauges(
        "map_entries",
        "Entries in a map of the data plane.",
        used.collect(),
    );
    let room = maps.iter().map(|fill| (label(fill), count(fill.room)));
    families.gauges(
        "map_max_entries",
        "Entries for which a map of the data plane has room.",
        room.collect(),
    );
}

/// Every counter by its own name and words, and those of refusals once more, by reason.
fn counters(
    families: &mut Families,
    core: &Engine,
    plane: &mut Plane,
    performer: &Performer,
) -> Result<(), DataplaneError> {
    let roles = plane.roles();
    // Of one reading, so that what is in both is the same in both.
    let (in_data_plane, rows) = plane.dataplane().maps().counted()?;
    traffic::show(families, roles, &rows);
    let in_controller = core.controller().counters();
    let mut refused = Vec::new();
    for (counter, (_, value)) in DataPlane::ALL.iter().zip(in_data_plane) {
        families.counter(counter.name(), counter.help(), value);
        if IN_DATA_PLANE.contains(counter) {
            refused.push((reason("mld", "data_plane", counter.name()), value));
        }
    }
    for (counter, (_, value)) in Controller::ALL.iter().zip(in_controller) {
        families.counter(counter.name(), counter.help(), value);
        if IN_CONTROLLER.contains(counter) {
            refused.push((reason("mld", "controller", counter.name()), value));
        }
        if UPDATES.contains(counter) {
            refused.push((
                reason("binding_update", "controller", counter.name()),
                value,
            ));
        }
    }
    for (name, help, value) in performer.counters() {
        families.counter(name, help, value);
    }
    families.counters(
        "refused",
        "Reports, Dones and Binding Updates that were refused, by the counter that counted them.",
        refused,
    );
    Ok(())
}

fn reason(what: &str, by: &str, reason: &str) -> Labels {
    let labels = [("message", what), ("by", by), ("reason", reason)];
    labels.map(|(name, value)| (name, value.to_owned())).into()
}
