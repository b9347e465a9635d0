//! Answers about groups and their members: those that a router has learned, and those that a member serves.

use std::{collections::HashMap, net::Ipv6Addr};

use super::common::{Answered, PAGE, name_of, no_role};
use crate::{
    core::{
        NextHop,
        member::{GroupView, HealthView, InterfaceView},
        router::{Cursor, Filter, MemberRow},
    },
    model::mac::Mac,
    shell::{
        api::{Answer, view},
        clock,
        engine::Engine,
        flows::Seen,
    },
};

pub(super) fn groups(core: &Engine, seen: &Seen, after: Option<view::Cursor>) -> view::Groups {
    let now = clock::now();
    let first = after.is_none();
    let member = if first {
        served(core, seen)
    } else {
        Vec::new()
    };
    let after = after.map(cursor);
    let router = core.controller().router();
    let page = router.map(|router| router.groups_page(now, after.as_ref(), PAGE));
    let (router, next) = page.unwrap_or_default();
    let router = router.into_iter().map(|group| view::RouterGroup {
        anycast: group.group,
        state: name_of(&group.state),
        next_hops: group
            .next_hops
            .iter()
            .map(|hop| next_hop(hop, &group.interface))
            .collect(),
        members: group.members,
        since_seconds: group.since.as_secs_f64(),
        expires_seconds: group.expires_in.as_secs_f64(),
        interface: group.interface,
    });
    view::Groups {
        router: router.collect(),
        member,
        next: next.map(cursor_view),
    }
}

/// The groups that this machine serves.
pub(super) fn served(core: &Engine, seen: &Seen) -> Vec<view::MemberGroup> {
    let now = clock::now();
    let sessions = seen.sessions(now);
    let member = core.controller().member().map(|member| member.groups(now));
    let groups = member.unwrap_or_default().into_iter();
    groups.map(|group| member_group(group, &sessions)).collect()
}

pub(super) fn members(core: &Engine, filter: Filter, after: Option<view::Cursor>) -> Answered {
    let Some(router) = core.controller().router() else {
        return Err(no_role("router"));
    };
    let after = after.map(cursor);
    let (page, next) = router.members_page(clock::now(), filter, after.as_ref(), PAGE);
    let view = |row: MemberRow| view::Member {
        anycast: row.group,
        interface: row.interface,
        member: row.member.address,
        mac: Mac(row.member.mac).to_string(),
        since_seconds: row.member.since.as_secs_f64(),
        expires_seconds: row.member.expires_in.as_secs_f64(),
        rule: Some(row.member.rule),
        checking: row.member.checking,
    };
    Ok(Answer::Members(view::Page {
        rows: page.into_iter().map(view).collect(),
        next: next.map(cursor_view),
    }))
}

fn member_group(group: GroupView, sessions: &HashMap<Ipv6Addr, usize>) -> view::MemberGroup {
    let interface = |on: InterfaceView| view::MemberInterface {
        interface: on.name,
        state: if on.report_owed {
            "delaying_listener".into()
        } else {
            "idle_listener".into()
        },
        last_query_from: on.last_query.map(|query| query.from),
        last_query_seconds: on.last_query.map(|query| query.age.as_secs_f64()),
    };
    let health = |health: HealthView| view::Health {
        state: name_of(&health.health),
        since_seconds: health.since.as_secs_f64(),
        said: health.said,
        last_error: health.last_error,
        last_error_age_seconds: health.last_error_age.map(|age| age.as_secs_f64()),
    };
    view::MemberGroup {
        anycast: group.anycast,
        care_of: group.care_of,
        interfaces: group.interfaces.into_iter().map(interface).collect(),
        joined: group.joined,
        wanted: group.wanted,
        draining_seconds: group.draining.map(|since| since.as_secs_f64()),
        sessions: sessions.get(&group.anycast).copied().unwrap_or(0),
        health: group.health.map(health),
    }
}

fn next_hop(hop: &NextHop, interface: &str) -> String {
    match hop.via {
        Some(via) => format!("{via}%{interface}"),
        None => format!("on-link%{interface}"),
    }
}

fn cursor(view: view::Cursor) -> Cursor {
    Cursor {
        group: view.group,
        interface: view.interface,
        member: view.member,
    }
}

fn cursor_view(cursor: Cursor) -> view::Cursor {
    view::Cursor {
        group: cursor.group,
        interface: cursor.interface,
        member: cursor.member,
    }
}
