//! What the router knows, one page at a time, since listing a hundred thousand members at once would block the loop.

use std::{net::Ipv6Addr, ops::Bound, time::Duration};

use super::{
    GroupKey, GroupState, LinkId, MemberView, Router, Timer,
    group::{Group, Member},
    member::State,
};
use crate::core::{NextHop, Time};

/// Largest number of groups or members that one page looks at, whether they match the filter or not.
const SCAN: usize = 10_000;

/// Selects members. A field that is `None` matches all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The anycast address.
    pub group: Option<Ipv6Addr>,
    /// Link-local address of the member.
    pub member: Option<Ipv6Addr>,
}

/// Numbers about a group on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// The anycast address, B.
    pub group: Ipv6Addr,
    /// Name of the interface.
    pub interface: String,
    /// State of the group.
    pub state: GroupState,
    /// Next hops of the group's route that are on this link.
    pub next_hops: Vec<NextHop>,
    /// Number of members.
    pub members: usize,
    /// How long the longest-standing of the present members has been in the group.
    pub since: Duration,
    /// When the membership of the last member ends unless it sends another Report.
    pub expires_in: Duration,
}

/// A member of a group on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// The anycast address, B.
    pub group: Ipv6Addr,
    /// Name of the interface.
    pub interface: String,
    /// The member.
    pub member: MemberView,
}

/// The position after which the next page begins: a group on an interface, or a member of that group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The anycast address, B.
    pub group: Ipv6Addr,
    /// Name of the interface.
    pub interface: String,
    /// A member of the group. `None` stands for the end of the whole group.
    pub member: Option<Ipv6Addr>,
}

impl Router {
    /// Number of groups on all links, and number of members in them.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        (self.groups.len(), self.memberships.values().sum())
    }

    /// Names of the links, in the order of the settings.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let links = self.links.iter().filter(|link| !link.is_retired());
        links.map(|link| link.settings.interface.as_str())
    }

    /// Gives at most `limit` members, in the order of groups, of links in the settings, and of members, and the
    /// position after which the next page begins. A page may be empty although more follow.
    #[must_use]
    pub fn members_page(
        &self,
        now: Time,
        filter: Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> (Vec<MemberRow>, Option<Cursor>) {
        let mut rows = Vec::new();
        let mut looked_at = 0;
        for (key, group) in self.groups_from(filter.group, after) {
            let from = after
                .filter(|cursor| self.key(cursor) == Some(*key))
                .and_then(|cursor| cursor.member)
                .map_or(Bound::Unbounded, Bound::Excluded);
            let to = Bound::Unbounded;
            let wanted = filter.member.map_or((from, to), |wanted| {
                (Bound::Included(wanted), Bound::Included(wanted))
            });
            looked_at += 1;
            for (address, member) in group.members.range(wanted) {
                looked_at += 1;
                rows.push(self.row(now, *key, *address, member));
                if rows.len() >= limit.max(1) || looked_at >= SCAN {
                    // When one member is selected, this group has no more rows.
                    let here = Some(*address).filter(|_| filter.member.is_none());
                    return (rows, Some(self.cursor(*key, here)));
                }
            }
            if looked_at >= SCAN {
                return (rows, Some(self.cursor(*key, None)));
            }
        }
        (rows, None)
    }

    /// Gives at most `limit` groups, and the position after which the next page begins.
    #[must_use]
    pub fn groups_page(
        &self,
        now: Time,
        after: Option<&Cursor>,
        limit: usize,
    ) -> (Vec<GroupSummary>, Option<Cursor>) {
        let mut rows = Vec::new();
        let mut looked_at = 0;
        for (key, group) in self.groups_from(None, after) {
            looked_at += 1 + group.members.len();
            rows.push(self.summary(now, *key, group));
            if rows.len() >= limit.max(1) || looked_at >= SCAN {
                return (rows, Some(self.cursor(*key, None)));
            }
        }
        (rows, None)
    }

    fn groups_from(
        &self,
        only: Option<Ipv6Addr>,
        after: Option<&Cursor>,
    ) -> impl Iterator<Item = (&GroupKey, &Group)> {
        let first = only.map(|group| (group, LinkId::MIN));
        let first = first.map_or(Bound::Unbounded, Bound::Included);
        let first = match after.and_then(|cursor| Some((self.key(cursor)?, cursor.member))) {
            None => first,
            Some((key, Some(_))) => Bound::Included(key),
            Some((key, None)) => Bound::Excluded(key),
        };
        self.groups
            .range((first, Bound::Unbounded))
            .take_while(move |((group, _), _)| only.is_none_or(|only| only == *group))
    }

    fn key(&self, cursor: &Cursor) -> Option<GroupKey> {
        let mut links = self.links.iter();
        let id = links.position(|link| link.settings.interface == cursor.interface)?;
        Some((cursor.group, id))
    }

    fn cursor(&self, (group, id): GroupKey, member: Option<Ipv6Addr>) -> Cursor {
        Cursor {
            group,
            interface: self.links[id].settings.interface.clone(),
            member,
        }
    }

    fn row(&self, now: Time, key: GroupKey, address: Ipv6Addr, member: &Member) -> MemberRow {
        MemberRow {
            group: key.0,
            interface: self.links[key.1].settings.interface.clone(),
            member: MemberView {
                address,
                mac: member.admission.mac,
                since: now - member.since,
                expires_in: self.expires_in(now, key, address),
                rule: member.admission.rule,
                checking: member.state == State::Checking,
            },
        }
    }

    fn summary(&self, now: Time, key: GroupKey, group: &Group) -> GroupSummary {
        let link = &self.links[key.1];
        let since = group.members.values().map(|member| now - member.since);
        let expires = group.members.keys();
        GroupSummary {
            group: key.0,
            interface: link.settings.interface.clone(),
            state: if group.is_checking() {
                GroupState::CheckingListeners
            } else {
                GroupState::ListenersPresent
            },
            next_hops: self
                .routes
                .next_hops(key.0)
                .iter()
                .copied()
                .filter(|hop| Some(hop.ifindex) == link.ifindex)
                .collect(),
            members: group.members.len(),
            since: since.max().unwrap_or_default(),
            expires_in: expires
                .map(|address| self.expires_in(now, key, *address))
                .max()
                .unwrap_or_default(),
        }
    }

    fn expires_in(&self, now: Time, key: GroupKey, address: Ipv6Addr) -> Duration {
        let time = self.schedule.get(Timer::Member(key, address));
        time.map(|time| time - now).unwrap_or_default()
    }
}
