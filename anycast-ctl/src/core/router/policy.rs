//! Who may join what: ordered rules, default deny (draft host-anycast section 5).

use std::net::Ipv6Addr;

use anycast_common::abi::maps;
use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

/// Rules of a policy at most: the data plane has no more places.
pub const MAX_RULES: usize = maps::DEFAULT_DENY as usize;

/// Ordered rules. The first that matches decides; where none does, the answer is no.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Numbered>,
    /// The next number that no rule has had, while there are any.
    next: usize,
}

/// A rule and its number, which is its own while it stands, wherever others come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Below [`MAX_RULES`]. Rules of the configuration are numbered in their order from 0.
    pub id: usize,
    /// The rule.
    pub rule: Rule,
    /// It was added at run time: the configuration does not have it.
    pub added: bool,
}

/// Where a rule is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Before the rule of this number.
    Before(usize),
    /// After it.
    After(usize),
    /// After all others.
    #[default]
    End,
}

/// Why a policy stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No rule has this number.
    #[error("there is no rule {0}")]
    NoRule(usize),
    /// There are [`MAX_RULES`].
    #[error("there are {MAX_RULES} rules already, which is as many as the data plane holds")]
    Full,
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
    /// The number of the rule that decided; none when no rule matched.
    pub rule: Option<usize>,
    /// Whether it lets in.
    pub allow: bool,
}

impl Policy {
    /// A policy of these rules, in this order.
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

    /// Adds a rule and gives its number: one that was never used, while there are such.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; nothing has changed then.
    pub fn add(&mut self, rule: Rule, place: Place) -> Result<usize, PolicyError> {
        if self.rules.len() >= MAX_RULES {
            return Err(PolicyError::Full);
        }
        let index = match place {
            Place::Before(id) => self.position(id)?,
            Place::After(id) => self.position(id)? + 1,
            Place::End => self.rules.len(),
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

    /// Takes a rule out.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NoRule`].
    pub fn remove(&mut self, id: usize) -> Result<Rule, PolicyError> {
        let index = self.position(id)?;
        Ok(self.rules.remove(index).rule)
    }

    fn position(&self, id: usize) -> Result<usize, PolicyError> {
        self.rules
            .iter()
            .position(|known| known.id == id)
            .ok_or(PolicyError::NoRule(id))
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
        let mut rules = self.rules.iter();
        let found = rules.find(|known| known.rule.matches(interface, source, mac, anycast));
        Decision {
            rule: found.map(|known| known.id),
            allow: found.is_some_and(|known| known.rule.allow),
        }
    }

    /// The rule that lets `source` in, with its number.
    pub(super) fn admits(
        &self,
        interface: &str,
        source: Ipv6Addr,
        mac: [u8; 6],
        anycast: Ipv6Addr,
    ) -> Option<(usize, &Rule)> {
        let mut rules = self.rules.iter();
        rules
            .find(|known| known.rule.matches(interface, source, mac, anycast))
            .filter(|known| known.rule.allow)
            .map(|known| (known.id, &known.rule))
    }
}

impl FromIterator<Rule> for Policy {
    fn from_iter<T: IntoIterator<Item = Rule>>(rules: T) -> Self {
        Self::new(rules.into_iter().collect())
    }
}
