//! Formats answers about the policy as tables.

use super::table::{Table, seconds};
use crate::{model::policy::Decision, shell::api::view};

pub(super) fn policy(policy: &view::Policy) -> String {
    let mut table = Table::new(&[
        "ID",
        "ACTION",
        "SOURCE",
        "MAC",
        "INTERFACE",
        "ANYCAST",
        "CAPS",
        "HITS",
        "FROM",
    ]);
    for known in &policy.rules {
        let rule = &known.rule;
        let cap = |name: &str, cap: Option<_>| cap.map(|cap| format!("{cap} {name}"));
        let caps = [
            cap("members/group", rule.max_members_per_group),
            cap("groups/member", rule.max_groups_per_member),
        ];
        table.row([
            known.id.to_string(),
            action(rule.action).into(),
            rule.source.to_string(),
            rule.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            rule.interface.clone().unwrap_or_default(),
            rule.anycast.to_string(),
            caps.into_iter().flatten().collect::<Vec<_>>().join(", "),
            known.hits.to_string(),
            if known.added { "run time" } else { "file" }.into(),
        ]);
    }
    let hits = policy.default_deny_hits;
    let text = table.render("no rules");
    format!("{text}everything else is refused: {hits} hits\n")
}

/// Formats the rules as they stand in a configuration file.
pub(super) fn policy_toml(policy: &view::Policy) -> String {
    let mut text = String::new();
    for known in &policy.rules {
        let rule = &known.rule;
        text += "[[router.policy]]\n";
        text += &format!("source = \"{}\"\n", rule.source);
        if let Some(mac) = rule.mac {
            text += &format!("mac = \"{mac}\"\n");
        }
        if let Some(interface) = &rule.interface {
            text += &format!("interface = {}\n", toml::Value::from(interface.as_str()));
        }
        text += &format!("anycast = \"{}\"\n", rule.anycast);
        text += &format!("action = \"{}\"\n", action(rule.action));
        for (name, cap) in [
            ("max_members_per_group", rule.max_members_per_group),
            ("max_groups_per_member", rule.max_groups_per_member),
        ] {
            if let Some(cap) = cap {
                text += &format!("{name} = {cap}\n");
            }
        }
        text += "\n";
    }
    text
}

pub(super) fn explained(found: &[view::Explanation]) -> String {
    let mut text = String::new();
    for explanation in found {
        let mac = explanation.mac.map(|mac| format!(", MAC {mac}"));
        let mac = mac.unwrap_or_default();
        text += &format!("{}{mac}: {}\n", explanation.interface, explanation.verdict);
        for step in &explanation.steps {
            if step.because.is_empty() {
                text += &format!("  rule {} decides\n", step.rule);
            } else {
                let because = step.because.join(", ");
                text += &format!("  rule {} does not match: {because}\n", step.rule);
            }
        }
        let cap = |(now, most): (usize, Option<u32>)| match most {
            Some(most) => format!("{now} of {most}"),
            None => format!("{now}, no cap"),
        };
        text += &format!(
            "  members of the group: {}; groups of the source: {}{}\n",
            cap(explanation.members_per_group),
            cap(explanation.groups_per_member),
            if explanation.member {
                "; it is a member already"
            } else {
                ""
            },
        );
    }
    text
}

pub(super) fn refusals(refusals: &view::Refusals) -> String {
    let mut table = Table::new(&[
        "LAST",
        "FIRST",
        "SEEN",
        "INTERFACE",
        "SOURCE",
        "MAC",
        "ANYCAST",
        "REASON",
    ]);
    for refusal in &refusals.refusals {
        table.row([
            seconds(refusal.last_seconds),
            seconds(refusal.first_seconds),
            refusal.seen.to_string(),
            refusal.interface.clone(),
            refusal.source.to_string(),
            refusal.mac.to_string(),
            refusal
                .anycast
                .map(|anycast| anycast.to_string())
                .unwrap_or_default(),
            refusal.reason.clone(),
        ]);
    }
    let mut text = match (refusals.refusals.is_empty(), refusals.mobility.is_empty()) {
        (true, false) => mobility(&refusals.mobility),
        (_, true) => table.render("nothing was refused that is remembered"),
        (false, false) => format!("{}\n{}", table.render(""), mobility(&refusals.mobility)),
    };
    if !refusals.totals.is_empty() {
        let totals = refusals.totals.iter();
        let totals: Vec<_> = totals
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        text += &format!(
            "\nin all: {}\nXDP shows examples of what it drops, about one a second for each reason.\n",
            totals.join(", ")
        );
    }
    text
}

pub(super) fn mobility(refusals: &[view::MobilityRefusal]) -> String {
    let mut table = Table::new(&["LAST", "FIRST", "SEEN", "SOURCE", "CLIENT", "REASON"]);
    for refusal in refusals {
        table.row([
            seconds(refusal.last_seconds),
            seconds(refusal.first_seconds),
            refusal.seen.to_string(),
            refusal.source.to_string(),
            refusal.client.to_string(),
            refusal.reason.clone(),
        ]);
    }
    table.render("no mobility message was refused that is remembered")
}

fn action(action: Decision) -> &'static str {
    match action {
        Decision::Allow => "allow",
        Decision::Deny => "deny",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn sample() -> view::Policy {
        let rule = |id, action, mac: Option<&str>| view::PolicyRule {
            id,
            rule: view::Rule {
                source: "fe80::11/128".parse().expect("a prefix"),
                mac: mac.map(|mac| mac.parse().expect("a MAC")),
                interface: Some("lan0".to_owned()),
                anycast: "2001:db8:a::/48".parse().expect("a prefix"),
                action,
                max_members_per_group: mac.and_then(|_| 16.try_into().ok()),
                max_groups_per_member: None,
            },
            added: mac.is_none(),
            hits: 7,
        };
        view::Policy {
            rules: vec![
                rule(3, Decision::Deny, None),
                rule(0, Decision::Allow, Some("02:00:00:00:20:11")),
            ],
            default_deny_hits: 5,
        }
    }

    #[test]
    fn rules_are_a_table_in_their_order() {
        let text = policy(&sample());
        let mut lines = text.lines().skip(1);
        let first = lines.next().and_then(|line| line.split_whitespace().next());
        assert_eq!(first, Some("3"));
        let second = lines.next().unwrap_or_default();
        assert!(second.ends_with("16 members/group     7  file"), "{text}");
        assert!(text.ends_with("everything else is refused: 5 hits\n"));
    }

    #[test]
    fn what_is_printed_for_the_file_can_be_read_as_one() {
        let text = format!(
            "[router]\ninterfaces = [\"lan0\"]\n{}",
            policy_toml(&sample())
        );
        let config = config::parse(&text, "printed").expect("a configuration");
        let router = config.router_role().expect("a router");
        let policy = config::settings::policy(router);
        let [deny, allow] = policy.rules() else {
            panic!("two rules");
        };
        assert!(!deny.rule.allow && allow.rule.allow);
        assert_eq!(allow.rule.mac, Some([2, 0, 0, 0, 0x20, 0x11]));
        assert_eq!(allow.rule.max_members_per_group, Some(16));
        assert_eq!(allow.rule.interface.as_deref(), Some("lan0"));
    }
}
