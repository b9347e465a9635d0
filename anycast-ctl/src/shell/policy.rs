//! Converts the router's policy for the data plane.

use anycast_common::abi::maps::{self, PolicyRule};

use crate::core::router::Policy;

/// Converts the rules. A rule for an interface that does not exist cannot match and is left out. The others keep their
/// numbers.
pub(super) fn compile(policy: &Policy, ifindex: impl Fn(&str) -> Option<u32>) -> Vec<PolicyRule> {
    let mut rules = Vec::new();
    for numbered in policy.rules() {
        let rule = &numbered.rule;
        let interface = match &rule.interface {
            None => 0,
            Some(name) => match ifindex(name) {
                Some(index) => index,
                None => continue,
            },
        };
        rules.push(PolicyRule {
            source: rule.source.network().octets(),
            source_mask: rule.source.netmask().octets(),
            anycast: rule.anycast.network().octets(),
            anycast_mask: rule.anycast.netmask().octets(),
            ifindex: interface,
            action: if rule.allow {
                maps::policy::ALLOW
            } else {
                maps::policy::DENY
            },
            match_mac: rule.mac.is_some().into(),
            mac: rule.mac.unwrap_or_default(),
            id: u32::try_from(numbered.id).unwrap_or(u32::MAX),
        });
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::router::Rule;

    #[test]
    fn rules_keep_their_order_and_numbers() {
        let rule = |interface: Option<&str>, allow| Rule {
            interface: interface.map(str::to_owned),
            source: "fe80::/10".parse().expect("a prefix"),
            mac: Some([2, 0, 0, 0, 0, 1]),
            anycast: "2001:db8:a::/48".parse().expect("a prefix"),
            allow,
            max_members_per_group: None,
            max_groups_per_member: None,
        };
        let policy = Policy::new(vec![
            rule(Some("gone0"), false),
            rule(Some("lan0"), true),
            rule(None, false),
        ]);
        let rules = compile(&policy, |name| (name == "lan0").then_some(7));
        let seen: Vec<_> = rules
            .iter()
            .map(|rule| (rule.id, rule.ifindex, rule.action, rule.match_mac))
            .collect();
        assert_eq!(
            seen,
            [
                (1, 7, maps::policy::ALLOW, 1),
                (2, 0, maps::policy::DENY, 1)
            ]
        );
        assert_eq!(
            rules[0].anycast_mask[..8],
            [255, 255, 255, 255, 255, 255, 0, 0]
        );
        assert_eq!(rules[0].source_mask[..3], [255, 0xc0, 0]);
    }
}
