//! Formats the state of the daemon, within 80 columns.

use serde_json::Value;

use super::{
    show::{counted, state},
    table::{Table, seconds, wrapped},
};
use crate::shell::api::view;

/// How far what belongs to a line is moved to the right.
const INDENT: usize = 2;

pub(super) fn status(status: &view::Status) -> String {
    let head = format!(
        "anycast-ctl {}, process {}, up {}, roles: {}",
        status.version,
        status.pid,
        seconds(status.uptime_seconds),
        status.roles.join(", "),
    );
    let mut text = format!("{}\n", wrapped(&head, 0));
    text += &interfaces(&status.interfaces);
    if !status.links.is_empty() {
        text += &format!("\n{}", links(&status.links));
    }
    if !status.groups.is_empty() {
        text += "\nServed here:\n";
    }
    for group in &status.groups {
        text += &served(group);
    }
    text += &format!("\n{}", wrapped(&counts(&status.summary), 0));
    if !status.problems.is_empty() {
        text += &format!("\n{}", problems(&status.problems));
    }
    text
}

/// What somebody should look at, a line or more for each.
pub(super) fn problems(problems: &[view::Problem]) -> String {
    let line = |problem: &view::Problem| wrapped(&format!("! {}", problem.message), 0);
    problems.iter().map(line).collect()
}

fn interfaces(interfaces: &[view::Interface]) -> String {
    let mut table = Table::new(&["INTERFACE", "STATE", "PROGRAM", "MODE", "ROLES"]);
    let mut notes = String::new();
    for interface in interfaces {
        let state = match (interface.ifindex, interface.up) {
            (None, _) => "MISSING",
            (Some(_), false) => "DOWN",
            (Some(_), true) => "up",
        };
        let program = interface.program.clone();
        table.row([
            interface.name.clone(),
            state.into(),
            program.unwrap_or_else(|| "NOT ATTACHED".into()),
            interface.mode.clone().unwrap_or_default(),
            interface.roles.join(","),
        ]);
        let address = interface.link_local.map(|address| format!(" {address}"));
        let why = interface.mode_reason.as_ref();
        let why = why.map(|why| format!(", {why}")).unwrap_or_default();
        let note = format!("{}:{}{why}", interface.name, address.unwrap_or_default());
        notes += &wrapped(&note.replace(":,", ":"), INDENT);
        for warning in &interface.warnings {
            notes += &wrapped(&format!("{}: {warning}", interface.name), INDENT);
        }
    }
    table.render("no interfaces") + &notes
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
    let mut table = Table::new(&["LINK", "ROLE", "QUERIER", "NEXT QUERY", "GROUPS"]);
    let mut notes = String::new();
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
        let interface = link.get("interface").and_then(Value::as_str);
        let interface = interface.unwrap_or_default();
        table.row([
            interface.to_owned(),
            field("role"),
            querier,
            next.map(seconds).unwrap_or_default(),
            field("groups"),
        ]);
        let sends = sends(&field("queries"), &field("reason"));
        notes += &wrapped(&format!("{interface}: sends {sends}"), INDENT);
    }
    table.render("no links") + &notes
}

fn served(group: &view::MemberGroup) -> String {
    let mut said = vec![state(group)];
    if let Some(health) = &group.health {
        let since = seconds(health.since_seconds);
        said.push(format!("{} for {since}", health.state));
    }
    if let Some(care_of) = group.care_of {
        said.push(format!("care-of {care_of}"));
    }
    let listener = |on: &view::MemberInterface| {
        let heard = on.last_query_from.zip(on.last_query_seconds);
        let heard = heard.map_or("no Query heard".to_owned(), |(from, age)| {
            format!("Query of {from} {} ago", seconds(age))
        });
        format!("{}: {} ({heard})", on.interface, on.state.replace('_', "-"))
    };
    said.extend(group.interfaces.iter().map(listener));
    format!("{}\n{}", group.anycast, wrapped(&said.join(", "), INDENT))
}

fn counts(summary: &view::Summary) -> String {
    let view::Summary {
        groups,
        members,
        routes,
        bindings,
        flows,
        handshakes,
    } = *summary;
    let counts = [
        (groups, "group"),
        (members, "member"),
        (routes, "route"),
        (bindings, "binding"),
        (flows, "flow"),
        (handshakes, "handshake"),
    ];
    let counts = counts.map(|(count, what)| counted(count, what));
    format!("{} under way", counts.join(", "))
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
            links(&[link])
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
            let text = link(queries, reason);
            assert!(text.ends_with(&format!("  lan0: sends {said}\n")), "{text}");
        }
    }

    /// Every field is as long as it can be.
    #[test]
    fn status_ends_by_column_80() {
        let long = "an interface name that is long, and a reason that goes on and on, for so it is";
        let roles = ["router", "member", "correspondent"].map(str::to_owned);
        let interface = view::Interface {
            name: "abcdefghijklmno".to_owned(),
            ifindex: None,
            up: false,
            link_local: "fe80::1111:2222:3333:4444".parse().ok(),
            roles: roles.to_vec(),
            program: None,
            mode: Some("generic".to_owned()),
            mode_reason: Some(long.to_owned()),
            warnings: vec![long.to_owned()],
        };
        let link = serde_json::json!({
            "interface": "abcdefghijklmno", "role": "non_querier", "querier": "fe80::1111:2222:3333:4444",
            "next_query_in": 12345.0, "groups": 123_456, "queries": "none", "reason": "other_querier",
        });
        let address = "2001:db8:1111:2222:3333:4444:5555:6666"
            .parse()
            .expect("an address");
        let group = view::MemberGroup {
            anycast: address,
            care_of: Some(address),
            interfaces: vec![view::MemberInterface {
                interface: "abcdefghijklmno".to_owned(),
                state: "delaying_listener".to_owned(),
                last_query_from: "fe80::1111:2222:3333:4444".parse().ok(),
                last_query_seconds: Some(1e6),
            }],
            joined: true,
            wanted: true,
            draining_seconds: Some(1.0),
            sessions: 1_000_000,
            health: None,
        };
        let text = status(&view::Status {
            roles: roles.to_vec(),
            interfaces: vec![interface],
            links: vec![link],
            groups: vec![group],
            problems: vec![view::Problem {
                code: "interface_missing".to_owned(),
                message: long.to_owned(),
            }],
            ..view::Status::default()
        });
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}\n{text}");
        }
        assert!(
            text.contains("MISSING") && text.contains("! an interface"),
            "{text}"
        );
    }
}
