//! Decides which routes the router has, from who is a member.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use super::{GroupKey, LinkId, NextHopChoice, group::Group, link::LinkState};
use crate::core::{Action, Actions, NextHop, Notice, RouteAction};

/// Largest number of next hops of a route. The longest-standing members are chosen. The kernel hashes over a few
/// hundred next hops at best, and a netlink message has room for some thousand.
pub(super) const MOST: usize = 256;

/// The routes that were last requested, and the addresses whose members have changed since.
#[derive(Debug)]
pub(super) struct Routes {
    choice: NextHopChoice,
    installed: BTreeMap<Ipv6Addr, Vec<NextHop>>,
    /// Next hops of routes that an earlier run left in the kernel.
    earlier: BTreeMap<Ipv6Addr, NextHop>,
    changed: BTreeSet<Ipv6Addr>,
}

impl Routes {
    pub(super) fn new(choice: NextHopChoice) -> Self {
        Self {
            choice,
            installed: BTreeMap::new(),
            earlier: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Notes that the members of an address have changed.
    pub(super) fn changed(&mut self, anycast: Ipv6Addr) {
        self.changed.insert(anycast);
    }

    /// Notes a new member. If the route has as many next hops as are chosen, the newest member does not change it.
    pub(super) fn joined(&mut self, anycast: Ipv6Addr, hop: NextHop) {
        let most = match self.choice {
            NextHopChoice::All => MOST,
            NextHopChoice::Best => 1,
            NextHopChoice::OnLink => usize::MAX,
        };
        let awaited = self.earlier.get(&anycast) == Some(&hop);
        if awaited || self.next_hops(anycast).len() < most {
            self.changed(anycast);
        }
    }

    /// Notes that an earlier run had chosen this member.
    pub(super) fn adopt(&mut self, anycast: Ipv6Addr, hop: NextHop) {
        if self.choice == NextHopChoice::Best {
            self.earlier.insert(anycast, hop);
        }
    }

    /// The routes of an earlier run are gone. A member that it had chosen and that has reported keeps its place.
    pub(super) fn forget_earlier(&mut self) {
        let installed = &self.installed;
        let is_next_hop = |anycast: &Ipv6Addr, hop: &mut NextHop| {
            installed.get(anycast).is_some_and(|hops| *hops == [*hop])
        };
        self.earlier.retain(is_next_hop);
    }

    /// The next hops of the route of an address.
    pub(super) fn next_hops(&self, anycast: Ipv6Addr) -> &[NextHop] {
        self.installed.get(&anycast).map_or(&[], Vec::as_slice)
    }

    /// Requests each route that this step changed, once. To be called at the end of a step.
    pub(super) fn flush(
        &mut self,
        groups: &BTreeMap<GroupKey, Group>,
        links: &[LinkState],
        actions: &mut Actions,
    ) {
        while let Some(anycast) = self.changed.pop_first() {
            let earlier = self.earlier.get(&anycast).copied();
            let next_hops = choose(self.choice, anycast, earlier, groups, links);
            if self.next_hops(anycast) == next_hops {
                continue;
            }
            // When the member that an earlier run chose has left, it has no preference any more.
            if earlier.is_some_and(|earlier| self.next_hops(anycast) == [earlier]) {
                self.earlier.remove(&anycast);
            }
            // On an on-link route, the next hop is whichever member answers for the anycast address itself.
            let notice = Notice::Route {
                anycast,
                next_hops: next_hops
                    .iter()
                    .map(|hop| hop.via.unwrap_or(anycast))
                    .collect(),
            };
            if next_hops.is_empty() {
                self.installed.remove(&anycast);
                actions.push(Action::Route(RouteAction::Remove { anycast }));
            } else {
                self.installed.insert(anycast, next_hops.clone());
                actions.push(Action::Route(RouteAction::Set { anycast, next_hops }));
            }
            actions.push(Action::Notice(notice));
        }
    }
}

/// Chooses the next hops of an address, sorted.
fn choose(
    choice: NextHopChoice,
    anycast: Ipv6Addr,
    earlier: Option<NextHop>,
    groups: &BTreeMap<GroupKey, Group>,
    links: &[LinkState],
) -> Vec<NextHop> {
    let groups = || {
        groups
            .range((anycast, LinkId::MIN)..=(anycast, LinkId::MAX))
            .filter_map(|((_, id), group)| Some((links.get(*id)?.ifindex?, group)))
    };
    let members = || {
        groups().flat_map(|(ifindex, group)| {
            group.members.iter().map(move |(address, member)| {
                let via = Some(*address);
                (member.order, NextHop { via, ifindex })
            })
        })
    };
    let mut next_hops: Vec<NextHop> = match choice {
        NextHopChoice::All => {
            let mut all: Vec<_> = members().collect();
            if all.len() > MOST {
                all.select_nth_unstable(MOST);
                all.truncate(MOST);
            }
            all.into_iter().map(|(_, hop)| hop).collect()
        }
        NextHopChoice::Best => {
            let order = |(order, hop): &(u64, NextHop)| (earlier != Some(*hop), *order);
            members()
                .min_by_key(order)
                .map(|(_, hop)| hop)
                .into_iter()
                .collect()
        }
        NextHopChoice::OnLink => groups()
            .map(|(ifindex, _)| NextHop { via: None, ifindex })
            .collect(),
    };
    next_hops.sort_unstable();
    next_hops
}
