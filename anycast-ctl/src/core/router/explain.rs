//! Explains the policy's decision about a sender and an anycast address.

use std::net::Ipv6Addr;

use anycast_common::wire::ipv6;
use ipnet::Ipv6Net;

use super::{
    Router,
    policy::{Candidate, Cap, Field, Rule},
};

/// Why a rule does not match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The rule is for this other interface.
    #[error("it is for interface {0}")]
    Interface(String),
    /// The rule is for these other sources.
    #[error("it is for sources in {0}")]
    Source(Ipv6Net),
    /// The rule is for this other MAC address.
    #[error("it is for MAC {}", text(*.0))]
    Mac([u8; 6]),
    /// The rule is for this MAC address, and the MAC address of the sender was not given and is not known.
    #[error("it is for MAC {}, and none is given", text(*.0))]
    NoMac([u8; 6]),
    /// The rule is for these other anycast addresses.
    #[error("it is for addresses in {0}")]
    Anycast(Ipv6Net),
}

/// A rule that the search for a decision compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Number of the rule.
    pub rule: usize,
    /// Why the rule does not match. The list is empty when it matches.
    pub mismatches: Vec<Mismatch>,
}

/// What happens to a Report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The Report is refused, because its source is not link-local (draft host-anycast section 4.2).
    BadSource,
    /// The Report is refused, because the address that it names cannot be an anycast address.
    BadAddress,
    /// The Report is refused, because no rule matches.
    DefaultDeny,
    /// The Report is refused, because the last of the compared rules denies it.
    Deny,
    /// The Report is refused: the rule allows it, but the group has as many members as the rule permits.
    GroupFull,
    /// The Report is refused: the rule allows it, but the member is in as many groups as the rule permits.
    MemberFull,
    /// The Report is accepted.
    Allow,
}

/// The explanation for one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Name of the link.
    pub interface: String,
    /// MAC address that was compared: the one that was given, or the one by which the member is known.
    pub mac: Option<[u8; 6]>,
    /// What happens to a Report now.
    pub verdict: Verdict,
    /// The rules that were compared, in their order. The last one decides, unless no rule matches.
    pub steps: Vec<Step>,
    /// Whether the source is a member of the group already. Caps then do not apply to it.
    pub member: bool,
    /// Number of members of the group on all links, and the cap of the rule.
    pub members_per_group: Cap,
    /// Number of groups of the member on this link, and the cap of the rule.
    pub groups_per_member: Cap,
}

impl Router {
    /// Explains what happens to a Report of `source` for `anycast`, on one link or on each.
    #[must_use]
    pub fn explain(
        &self,
        interface: Option<&str>,
        source: Ipv6Addr,
        mac: Option<[u8; 6]>,
        anycast: Ipv6Addr,
    ) -> Vec<Explanation> {
        (0..self.links.len())
            .filter(|id| {
                let link = &self.links[*id];
                let name = &link.settings.interface;
                !link.is_retired() && interface.is_none_or(|wanted| wanted == name)
            })
            .map(|id| {
                let known = self.groups.get(&(anycast, id));
                let known = known.and_then(|group| group.members.get(&source));
                let mac = mac.or(known.map(|member| member.admission.mac));
                self.explain_link(id, source, mac, anycast, known.is_some())
            })
            .collect()
    }

    fn explain_link(
        &self,
        id: super::LinkId,
        source: Ipv6Addr,
        mac: Option<[u8; 6]>,
        anycast: Ipv6Addr,
        member: bool,
    ) -> Explanation {
        let interface = &self.links[id].settings.interface;
        let candidate = Candidate {
            interface,
            source,
            mac,
            anycast,
        };
        let rules = self.policy.rules();
        let first = self.policy.first_match(candidate);
        let decided = first.and_then(|index| rules.get(index));
        let decided: Option<&Rule> = decided.map(|known| &known.rule);
        let compared = rules
            .iter()
            .take(first.map_or(rules.len(), |index| index + 1));
        let steps = compared.map(|known| Step {
            rule: known.id,
            mismatches: known
                .rule
                .mismatches(candidate)
                .map(|field| Mismatch::new(field, mac.is_some()))
                .collect(),
        });
        let steps = steps.collect();
        let cap = |now, most: fn(&Rule) -> Option<u32>| Cap {
            now,
            most: decided.and_then(most),
        };
        let members_per_group = cap(self.members_of(anycast), |rule| rule.max_members_per_group);
        let groups_per_member = cap(self.groups_of(id, source), |rule| {
            rule.max_groups_per_member
        });
        let verdict = if !ipv6::is_link_local(source) {
            Verdict::BadSource
        } else if ipv6::anycastable(anycast).is_err() {
            Verdict::BadAddress
        } else {
            match decided {
                None => Verdict::DefaultDeny,
                Some(rule) if !rule.allow => Verdict::Deny,
                Some(_) if member => Verdict::Allow,
                Some(_) if members_per_group.is_full() => Verdict::GroupFull,
                Some(_) if groups_per_member.is_full() => Verdict::MemberFull,
                Some(_) => Verdict::Allow,
            }
        };
        Explanation {
            interface: interface.clone(),
            mac,
            verdict,
            steps,
            member,
            members_per_group,
            groups_per_member,
        }
    }
}

impl Mismatch {
    fn new(field: Field<'_>, mac_is_known: bool) -> Self {
        match field {
            Field::Interface(name) => Self::Interface(name.to_owned()),
            Field::Source(prefix) => Self::Source(prefix),
            Field::Mac(mac) if mac_is_known => Self::Mac(mac),
            Field::Mac(mac) => Self::NoMac(mac),
            Field::Anycast(prefix) => Self::Anycast(prefix),
        }
    }
}

fn text([a, b, c, d, e, f]: [u8; 6]) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
