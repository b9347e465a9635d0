//! The policy: ordered rules that say which member may join which group, with deny as the default (draft host-anycast
//! section 5).

use std::net::Ipv6Addr;

use anycast_common::abi::maps;
use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

/// Largest number of rules, which the size of the data plane's map sets.
pub const MAX_RULES: usize = maps::DEFAULT_DENY as usize;

/// Ordered rules. The first one that matches decides. Where no rule matches, a member may not join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Numbered>,
    /// The next number that no rule has had yet. When all numbers have been used, freed ones are used again.
    next: usize,
}

/// A rule and its number. The number stays the same while the rule exists, also when other rules are added or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The number, below [`MAX_RULES`]. Rules of the configuration are numbered in their order from 0.
    pub id: usize,
    /// The rule.
    pub rule: Rule,
    /// Whether the rule was added at run time and is not in the configuration.
    pub added: bool,
}

/// Position among the others at which a rule is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Before the rule of this number.
    Before(usize),
    /// After the rule of this number.
    After(usize),
    /// After all other rules.
    #[default]
    End,
}

/// Why a change of the policy was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No rule has this number.
    #[error("there is no rule {0}")]
    NoRule(usize),
    /// There are already [`MAX_RULES`] rules.
    #[error("there are {MAX_RULES} rules already, which is as many as the data plane holds")]
    Full,
}

/// One rule. A field that is `None` matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name of the interface.
    pub interface: Option<String>,
    /// Prefix of the link-local source address.
    pub source: Ipv6Net,
    /// Ethernet source address. It is compared because a link-local address is easy to forge.
    pub mac: Option<[u8; 6]>,
    /// Prefix of the anycast address.
    pub anycast: Ipv6Net,
    /// Whether the rule allows members or denies them.
    pub allow: bool,
    /// Largest number of members of one group, on all links together, up to which the rule lets another one join.
    pub max_members_per_group: Option<u32>,
    /// Largest number of groups of one member, on its link, up to which the rule lets it join another one.
    pub max_groups_per_member: Option<u32>,
}

/// Who wants to join which group. A rule is compared with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Name of the interface on which the message came.
    pub interface: &'a str,
    /// Source address of the message.
    pub source: Ipv6Addr,
    /// Ethernet source address. `None` where it is not known: then no rule matches that is for one MAC address.
    pub mac: Option<[u8; 6]>,
    /// The anycast address.
    pub anycast: Ipv6Addr,
}

/// A field of a rule that does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// The rule is for this other interface.
    Interface(&'a str),
    /// The rule is for these other sources.
    Source(Ipv6Net),
    /// The rule is for this other MAC address, or for this one while the candidate's is not known.
    Mac([u8; 6]),
    /// The rule is for these other anycast addresses.
    Anycast(Ipv6Net),
}

impl Rule {
    /// The fields that do not match, in the order of the file. There is none when the rule matches.
    pub(super) fn mismatches(&self, candidate: Candidate<'_>) -> impl Iterator<Item = Field<'_>> {
        let interface = self.interface.as_deref();
        let interface = interface.filter(|name| *name != candidate.interface);
        let source = (!self.source.contains(&candidate.source)).then_some(self.source);
        let mac = self.mac.filter(|mac| candidate.mac != Some(*mac));
        let anycast = (!self.anycast.contains(&candidate.anycast)).then_some(self.anycast);
        let source = source.map(Field::Source).into_iter();
        let mac = mac.map(Field::Mac).into_iter();
        let anycast = anycast.map(Field::Anycast).into_iter();
        let interface = interface.map(Field::Interface).into_iter();
        interface.chain(source).chain(mac).chain(anycast)
    }
}

/// A cap of a rule, and the number that counts towards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The present number.
    pub now: usize,
    /// The largest permitted number. `None` is no cap.
    pub most: Option<u32>,
}

impl Cap {
    /// Whether one more would exceed the cap.
    #[must_use]
    pub fn is_full(self) -> bool {
        let most = self.most.and_then(|most| usize::try_from(most).ok());
        most.is_some_and(|most| self.now >= most)
    }
}

/// The decision of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Number of the rule that decided. `None` when no rule matched.
    pub rule: Option<usize>,
    /// Whether the member may join.
    pub allow: bool,
}

impl Policy {
    /// Makes a policy of these rules in this order.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let next = rules.len();
        let number = |(id, rule)| Numbered {
            id,
            rule,
            added: false,
        };
        Self {
            rules: rules.into_iter().enumerate().map(number).collect(),
            next,
        }
    }

    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Numbered] {
        &self.rules
    }

    /// Adds a rule and gives its number. The number was never used before, as long as such numbers are left.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; the policy is unchanged then.
    pub fn add(&mut self, rule: Rule, position: Position) -> Result<usize, PolicyError> {
        if self.rules.len() >= MAX_RULES {
            return Err(PolicyError::Full);
        }
        let index = match position {
            Position::Before(id) => self.index(id)?,
            Position::After(id) => self.index(id)? + 1,
            Position::End => self.rules.len(),
        };
        let free = |id: &usize| self.rules.iter().all(|known| known.id != *id);
        let id = Some(self.next)
            .filter(|id| *id < MAX_RULES)
            .or_else(|| (0..MAX_RULES).find(free))
            .ok_or(PolicyError::Full)?;
        self.next = self.next.max(id + 1);
        let rule = Numbered {
            id,
            rule,
            added: true,
        };
        self.rules.insert(index, rule);
        Ok(id)
    }

    /// Removes a rule.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NoRule`] when there is no rule of this number.
    pub fn remove(&mut self, id: usize) -> Result<Rule, PolicyError> {
        let index = self.index(id)?;
        Ok(self.rules.remove(index).rule)
    }

    fn index(&self, id: usize) -> Result<usize, PolicyError> {
        self.rules
            .iter()
            .position(|known| known.id == id)
            .ok_or(PolicyError::NoRule(id))
    }

    /// Decides about a Report or Done of `source` for `anycast`. Caps are not applied here, since they depend on the
    /// other members.
    #[must_use]
    pub fn decide(
        &self,
        interface: &str,
        source: Ipv6Addr,
        mac: [u8; 6],
        anycast: Ipv6Addr,
    ) -> Decision {
        let found = self.first_match(Candidate {
            interface,
            source,
            mac: Some(mac),
            anycast,
        });
        let found = found.and_then(|index| self.rules.get(index));
        Decision {
            rule: found.map(|known| known.id),
            allow: found.is_some_and(|known| known.rule.allow),
        }
    }

    /// Index of the first rule that matches, which decides.
    pub(super) fn first_match(&self, candidate: Candidate<'_>) -> Option<usize> {
        let mut rules = self.rules.iter();
        rules.position(|known| known.rule.mismatches(candidate).next().is_none())
    }

    /// The rule that allows `source`, with its number.
    pub(super) fn admits(
        &self,
        interface: &str,
        source: Ipv6Addr,
        mac: [u8; 6],
        anycast: Ipv6Addr,
    ) -> Option<(usize, &Rule)> {
        let index = self.first_match(Candidate {
            interface,
            source,
            mac: Some(mac),
            anycast,
        })?;
        let known = self.rules.get(index).filter(|known| known.rule.allow)?;
        Some((known.id, &known.rule))
    }
}

impl FromIterator<Rule> for Policy {
    fn from_iter<T: IntoIterator<Item = Rule>>(rules: T) -> Self {
        Self::new(rules.into_iter().collect())
    }
}
