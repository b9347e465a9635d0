//! Formats answers of the daemon as tables.

use std::{collections::BTreeMap, net::Ipv6Addr};

use super::table::{Table, seconds};
use crate::shell::api::view;

/// Formats a count with its noun, such as `1 flow` or `2 flows`.
pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

pub(super) fn groups(groups: &view::Groups) -> String {
    let mut router = Table::new(&[
        "ANYCAST",
        "INTERFACE",
        "STATE",
        "MEMBERS",
        "SINCE",
        "EXPIRES",
        "NEXT HOPS",
    ]);
    for group in &groups.router {
        router.row([
            group.anycast.to_string(),
            group.interface.clone(),
            group.state.replace('_', "-"),
            group.members.to_string(),
            seconds(group.since_seconds),
            seconds(group.expires_seconds),
            group.next_hops.join(" "),
        ]);
    }
    let member = served(&groups.member);
    match (groups.router.is_empty(), groups.member.is_empty()) {
        (_, true) => router.render("no groups"),
        (true, false) => member,
        (false, false) => format!(
            "Behind this router:\n{}\nServed here:\n{member}",
            router.render("none"),
        ),
    }
}

fn served(groups: &[view::MemberGroup]) -> String {
    let mut table = Table::new(&[
        "ANYCAST",
        "CARE-OF",
        "STATE",
        "HEALTH",
        "SINCE",
        "LISTENER STATE",
    ]);
    let mut errors = String::new();
    for group in groups {
        let states: Vec<String> = group
            .interfaces
            .iter()
            .map(|on| format!("{}:{}", on.interface, on.state.replace('_', "-")))
            .collect();
        let health = group.health.as_ref();
        table.row([
            group.anycast.to_string(),
            optional(group.care_of),
            state(group),
            health
                .map(|health| health.state.clone())
                .unwrap_or_default(),
            health
                .map(|health| seconds(health.since_seconds))
                .unwrap_or_default(),
            states.join(" "),
        ]);
        if let Some((error, age)) = health.and_then(|health| {
            health
                .last_error
                .as_ref()
                .zip(health.last_error_age_seconds)
        }) {
            errors += &format!(
                "{}: last error {} ago: {error}\n",
                group.anycast,
                seconds(age)
            );
        }
    }
    table.render("no groups") + &errors
}

/// The state of a group on a member, and what the group waits for.
pub(super) fn state(group: &view::MemberGroup) -> String {
    let left = match group.sessions {
        0 => String::new(),
        1 => ", 1 session left".into(),
        many => format!(", {many} sessions left"),
    };
    let failing = group.health.as_ref().is_some_and(|h| h.state != "healthy");
    if group.draining_seconds.is_some() {
        match group.sessions {
            0 => "draining, no sessions left".into(),
            _ => format!("draining{left}"),
        }
    } else if group.joined {
        "joined".into()
    } else if !group.wanted {
        format!("left{left}")
    } else if failing {
        format!("waiting for health{left}")
    } else if group.interfaces.is_empty() {
        format!("waiting for an interface{left}")
    } else {
        format!("not joined{left}")
    }
}

pub(super) fn members(members: &[view::Member]) -> String {
    let mut table = Table::new(&[
        "ANYCAST",
        "INTERFACE",
        "MEMBER",
        "MAC",
        "SINCE",
        "EXPIRES",
        "RULE",
        "STATE",
    ]);
    for member in members {
        table.row([
            member.anycast.to_string(),
            member.interface.clone(),
            member.member.to_string(),
            member.mac.clone(),
            seconds(member.since_seconds),
            seconds(member.expires_seconds),
            member.rule.map(|rule| rule.to_string()).unwrap_or_default(),
            if member.checking {
                "checking"
            } else {
                "member"
            }
            .into(),
        ]);
    }
    table.render("no members")
}

pub(super) fn counters(counters: &view::Counters, all: bool) -> String {
    let mut table = Table::new(&["COUNTER", "VALUE", "WHERE"]);
    let mut rows = |counters: &BTreeMap<String, u64>, part: &str| {
        for (name, value) in counters {
            if all || *value > 0 {
                table.row([name.clone(), value.to_string(), part.to_owned()]);
            }
        }
    };
    rows(&counters.data_plane, "data plane");
    rows(&counters.controller, "controller");
    table.render("every counter is 0")
}

fn optional(address: Option<Ipv6Addr>) -> String {
    address
        .map(|address| address.to_string())
        .unwrap_or_default()
}
