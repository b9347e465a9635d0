//! Who may join what: ordered rules, default deny (draft host-anycast section 5).

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

/// Ordered rules. The first that matches decides; where none does, the answer is no.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// One rule. What is `None` matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name of the interface.
    pub interface: Option<String>,
    /// Prefix of the link-local source.
    pub source: Ipv6Net,
    /// Ethernet source, since a link-local address is easy to forge.
    pub mac: Option<[u8; 6]>,
    /// Prefix of the anycast address.
    pub anycast: Ipv6Net,
    /// Lets in, or keeps out.
    pub allow: bool,
    /// The rule lets nobody join a group that has this many members, on all links together.
    pub max_members_per_group: Option<u32>,
    /// The rule lets a member that is in this many groups, on its link, join no other.
    pub max_groups_per_member: Option<u32>,
}

impl Rule {
    fn matches(&self, interface: &str, source: Ipv6Addr, mac: [u8; 6], anycast: Ipv6Addr) -> bool {
        self.interface
            .as_deref()
            .is_none_or(|name| name == interface)
            && self.source.contains(&source)
            && self.mac.is_none_or(|rule| rule == mac)
            && self.anycast.contains(&anycast)
    }
}

/// What the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The rule that decided, counted from 0; none when no rule matched.
    pub rule: Option<usize>,
    /// Whether it lets in.
    pub allow: bool,
}

impl Policy {
    /// A policy of these rules, in this order.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Decides about a Report or Done of `source` for `anycast`. Caps are not looked at: they
    /// depend on who else is there.
    #[must_use]
    pub fn decide(
        &self,
        interface: &str,
        source: Ipv6Addr,
        mac: [u8; 6],
        anycast: Ipv6Addr,
    ) -> Decision {
        let rule = self
            .rules
            .iter()
            .position(|rule| rule.matches(interface, source, mac, anycast));
        let allow = rule.and_then(|index| self.rules.get(index));
        Decision {
            rule,
            allow: allow.is_some_and(|rule| rule.allow),
        }
    }

    /// The rule that lets `source` in, with its position.
    pub(super) fn admits(
        &self,
        interface: &str,
        source: Ipv6Addr,
        mac: [u8; 6],
        anycast: Ipv6Addr,
    ) -> Option<(usize, &Rule)> {
        let decision = self.decide(interface, source, mac, anycast);
        let index = decision.rule.filter(|_| decision.allow)?;
        Some((index, self.rules.get(index)?))
    }
}

impl FromIterator<Rule> for Policy {
    fn from_iter<T: IntoIterator<Item = Rule>>(rules: T) -> Self {
        Self::new(rules.into_iter().collect())
    }
}
