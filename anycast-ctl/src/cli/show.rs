//! Formats answers of the daemon as tables.

use std::{collections::BTreeMap, net::Ipv6Addr};

use serde_json::Value;

use super::table::{Table, seconds};
use crate::shell::api::view;

pub(super) fn status(status: &view::Status) -> String {
    let mut text = format!(
        "anycast-ctl {}, process {}, up {}, roles: {}\n\n",
        status.version,
        status.pid,
        seconds(status.uptime_seconds),
        status.roles.join(", "),
    );
    let mut interfaces = Table::new(&[
        "INTERFACE",
        "STATE",
        "LINK-LOCAL",
        "ROLES",
        "PROGRAM",
        "MODE",
        "WHY",
    ]);
    for interface in &status.interfaces {
        let state = match (interface.ifindex, interface.up) {
            (None, _) => "MISSING",
            (Some(_), false) => "DOWN",
            (Some(_), true) => "up",
        };
        interfaces.row([
            interface.name.clone(),
            state.into(),
            optional(interface.link_local),
            interface.roles.join(","),
            interface
                .program
                .clone()
                .unwrap_or_else(|| "NOT ATTACHED".into()),
            interface.mode.clone().unwrap_or_default(),
            interface.mode_reason.clone().unwrap_or_default(),
        ]);
    }
    text += &interfaces.render("no interfaces");
    for map in &status.other_sizes {
        text += &format!(
            "\nmap {} of an earlier run holds {} entries, {} are configured: `anycast-ctl detach` after the \
             daemon's end has it made anew, and ends the sessions in it\n",
            map.map, map.entries, map.configured
        );
    }
    if !status.links.is_empty() {
        text += "\n";
        text += &links(&status.links);
    }
    if !status.groups.is_empty() {
        text += "\n";
        text += &served(&status.groups);
    }
    for care_of in &status.preferred_care_of {
        text += &format!(
            "\nthis machine may choose {care_of} as the source of its own connections: preferred_lft 0 prevents it\n"
        );
    }
    let view::Summary {
        groups,
        members,
        routes,
        bindings,
        flows,
        handshakes,
    } = status.summary;
    let counts = [
        (groups, "group"),
        (members, "member"),
        (routes, "route"),
        (bindings, "binding"),
        (flows, "flow"),
        (handshakes, "handshake"),
    ];
    let counts = counts.map(|(count, what)| counted(count, what));
    text += &format!("\n{} under way\n", counts.join(", "));
    text
}

/// Formats a count with its noun, such as `1 flow` or `2 flows`.
pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Which Queries the router sends on a link, and why it does not send more.
fn sends(queries: &str, reason: &str) -> String {
    let queries = match queries {
        "general" => "General Queries",
        "address-specific" => "Address-Specific Queries",
        "none" => "nothing",
        other => other,
    };
    let reason = match reason {
        "querier" => return queries.to_owned(),
        "configured" => "as configured",
        "v2-querier" => "an MLDv2 querier is heard",
        "listening" => "it listens for other queriers first",
        "other-querier" => "another router is the Querier",
        "no-link-local" => "no link-local address yet",
        "down" => "the link is down",
        other => other,
    };
    format!("{queries}: {reason}")
}

fn links(links: &[Value]) -> String {
    let mut table = Table::new(&["LINK", "ROLE", "QUERIER", "SENDS", "NEXT QUERY", "GROUPS"]);
    for link in links {
        let field = |name: &str| match link.get(name) {
            Some(Value::String(text)) => text.replace('_', "-"),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let querier = match link.get("ours") {
            Some(Value::Bool(true)) => "this router".into(),
            _ => field("querier"),
        };
        let next = link.get("next_query_in").and_then(Value::as_f64);
        table.row([
            // Strings are printed without quotes.
            link.get("interface")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .into(),
            field("role"),
            querier,
            sends(&field("queries"), &field("reason")),
            next.map(seconds).unwrap_or_default(),
            field("groups"),
        ]);
    }
    table.render("no links")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_counts_in_good_english() {
        let summary = view::Summary {
            groups: 1,
            members: 2,
            ..view::Summary::default()
        };
        let text = status(&view::Status {
            summary,
            ..view::Status::default()
        });
        let counts =
            "\n1 group, 2 members, 0 routes, 0 bindings, 0 flows, 0 handshakes under way\n";
        assert!(text.ends_with(counts), "{text}");
    }

    #[test]
    fn a_link_says_what_is_sent_there_and_why_not_more() {
        let link = |queries: &str, reason: &str| {
            let link =
                serde_json::json!({"interface": "lan0", "queries": queries, "reason": reason});
            links(&[link]).lines().nth(1).map(str::to_owned)
        };
        for (queries, reason, said) in [
            ("general", "querier", "General Queries"),
            (
                "address_specific",
                "v2_querier",
                "Address-Specific Queries: an MLDv2 querier is heard",
            ),
            ("none", "down", "nothing: the link is down"),
        ] {
            let line = link(queries, reason).unwrap_or_default();
            assert!(line.contains(&format!("  {said}  ")), "{line}");
        }
    }
}
