//! Answers about the daemon as a whole: its interfaces, its roles and its numbers of groups, routes and flows.

use super::{
    common::{Answered, failed},
    fleet,
    groups::served,
    problems::{Fill, problems},
};
use crate::{
    core::{correspondent::Correspondent, member::Member, router::Router},
    shell::{
        api::{Answer, view},
        clock,
        dataplane::OtherSize,
        engine::Engine,
        flows::Seen,
        interfaces::role_names,
        perform::Performer,
        plane::Plane,
        routes::Routes,
    },
};

pub(super) fn status(
    core: &Engine,
    plane: &mut Plane,
    performer: &Performer,
    seen: &Seen,
) -> Answered {
    let now = clock::now();
    let served = served(core, seen);
    let care_of = || served.iter().filter_map(|group| group.care_of);
    let links = plane.links();
    let preferred = care_of().filter(|care_of| links.is_preferred(*care_of));
    let preferred_care_of = preferred.collect();
    let duplicate = care_of().filter(|care_of| links.is_duplicate(*care_of));
    let duplicate_care_of = duplicate.collect();
    let router = core.controller().router();
    let member = core.controller().member();
    let (router_groups, members) = router.map(Router::totals).unwrap_or_default();
    let links = router.map(|router| router.links(now)).unwrap_or_default();
    let links = links
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>();
    let correspondent = core.controller().correspondent();
    let summary = view::Summary {
        groups: router_groups + served.len(),
        members,
        routes: performer.routes().map_or(0, Routes::count),
        bindings: correspondent.map_or(0, Correspondent::bound),
        flows: seen.count(),
        handshakes: member.map_or(0, Member::under_way),
    };
    let mut status = view::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: now.since(core.started()).as_secs_f64(),
        roles: role_names(plane.roles()),
        interfaces: plane.interfaces(),
        links: links.map_err(|error: serde_json::Error| failed(error.to_string()))?,
        groups: served,
        summary,
        other_sizes: plane.other_sizes().iter().map(other_size).collect(),
        preferred_care_of,
        duplicate_care_of,
        fleet: fleet::of(core, performer),
        problems: Vec::new(),
    };
    let fill = fill(core, plane, seen);
    status.problems = problems(&status, plane.dataplane().is_pinned(), &fill);
    status.problems.extend(of_kernel(performer));
    let metrics = performer.metrics_problem();
    status.problems.extend(metrics.map(|message| view::Problem {
        code: "metrics_not_served".to_owned(),
        message,
    }));
    let not_admitted = performer.not_admitted();
    status
        .problems
        .extend(not_admitted.map(|message| view::Problem {
            code: "read_group".to_owned(),
            message: format!("users of read_group cannot ask: {message}; then restart the daemon"),
        }));
    Ok(Answer::Status(Box::new(status)))
}

/// What the kernel has refused, and is asked again.
fn of_kernel(performer: &Performer) -> Vec<view::Problem> {
    let groups = performer.memberships();
    let not_all = groups.not_all().map(|(interface, error)| view::Problem {
        code: "not_all_multicasts".to_owned(),
        message: format!(
            "interface {interface} does not accept all multicasts ({error}): what another router asks may not \
             be heard there"
        ),
    });
    let mut problems: Vec<_> = not_all.collect();
    problems.extend(groups.error().map(|error| view::Problem {
        code: "multicast_not_joined".to_owned(),
        message: format!(
            "{} multicast groups cannot be joined ({error}): Queries and Neighbor Solicitations may not be heard",
            groups.missing()
        ),
    }));
    let plain = performer.routes().and_then(Routes::problem);
    problems.extend(plain.map(|message| view::Problem {
        code: "not_resilient".to_owned(),
        message,
    }));
    problems
}

/// How full the maps are that grow with clients and flows.
pub(super) fn fill(core: &Engine, plane: &mut Plane, seen: &Seen) -> Vec<Fill> {
    let (room, member_room) = plane.dataplane().maps().flow_reader().room();
    let controller = core.controller();
    let mut maps = Vec::new();
    let mut add = |map, used, room| maps.push(Fill { map, used, room });
    if let Some(correspondent) = controller.correspondent() {
        // Open ones give way to those that are bound.
        let used = seen.last().map(|read| read.flows.len());
        add("flows", used, room);
        add(
            "bindings",
            Some(correspondent.bound()),
            correspondent.room(),
        );
    }
    if controller.member().is_some() {
        // Those that are over stay until others need their places.
        let sessions = || seen.sessions(clock::now()).values().sum();
        add("member_flows", seen.last().map(|_| sessions()), member_room);
    }
    maps
}

fn other_size(found: &OtherSize) -> view::OtherSize {
    view::OtherSize {
        map: found.map.to_owned(),
        entries: found.entries,
        configured: found.configured,
    }
}
