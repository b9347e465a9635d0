//! Finds members that die without a Done. The kernel's neighbour table shows that long before a timer expires.
//!
//! The kernel verifies a neighbour only while packets go to it. So the router has every member probed once within
//! [`probe_interval`](super::LinkSettings::probe_interval), and spreads the probes evenly.

use std::{
    net::Ipv6Addr,
    ops::Bound::{Excluded, Included, Unbounded},
};

use super::{GroupKey, LinkId, Router, Timer, querier::Role, queries::pace};
use crate::core::{Action, Actions, Time, counters::Counter, notice::LeaveCause};

const LAST: Ipv6Addr = Ipv6Addr::from_bits(u128::MAX);

impl Router {
    /// Brings the next probe forward, after a link has got one more member, or other settings.
    pub(super) fn pace_probes(&mut self, now: Time, id: LinkId) {
        let link = &self.links[id];
        let interval = link.settings.probe_interval;
        if let Some((beat, _)) = interval.and_then(|interval| pace(interval, link.hosts)) {
            self.schedule.lower(Timer::Probe(id), now, beat);
        }
    }

    /// Probes the members that follow the last one that was probed. The timer stops when there are no members.
    pub(super) fn probe_next(&mut self, now: Time, id: LinkId, actions: &mut Actions) {
        let link = &self.links[id];
        let interval = link.settings.probe_interval;
        let Some((beat, members)) = interval.and_then(|interval| pace(interval, link.hosts)) else {
            return;
        };
        self.schedule.start(Timer::Probe(id), now, beat);
        let Some(ifindex) = link.ifindex.filter(|_| link.up) else {
            return;
        };
        for _ in 0..members {
            let Some(address) = self.host_after(id, self.links[id].probed) else {
                return;
            };
            self.links[id].probed = Some(address);
            self.counters.count(Counter::MemberProbed);
            actions.push(Action::ProbeNeighbour { ifindex, address });
        }
    }

    /// The next member of a link. After the last one, the first one follows.
    fn host_after(&self, id: LinkId, last: Option<Ipv6Addr>) -> Option<Ipv6Addr> {
        let first = (id, Ipv6Addr::UNSPECIFIED);
        let after = last.map_or(Included(first), |last| Excluded((id, last)));
        let mut rest = self.memberships.range((after, Included((id, LAST))));
        let next = rest.next().or_else(|| {
            let mut all = self.memberships.range((Included(first), Unbounded));
            all.next().filter(|((link, _), _)| *link == id)
        });
        next.map(|((_, address), _)| *address)
    }

    /// Handles a host of the link that answers no Neighbor Solicitation.
    pub(super) fn unreachable(
        &mut self,
        now: Time,
        id: LinkId,
        address: Ipv6Addr,
        actions: &mut Actions,
    ) {
        // On a link that is down nobody answers.
        if self.links[id].held.is_some() || self.groups_of(id, address) == 0 {
            return;
        }
        self.counters.count(Counter::MemberUnreachable);
        let groups = self.links[id].groups.iter().map(|anycast| (*anycast, id));
        let is_member = |key: &GroupKey| {
            let group = self.groups.get(key);
            group.is_some_and(|group| group.members.contains_key(&address))
        };
        let keys: Vec<GroupKey> = groups.filter(is_member).collect();
        for key in keys {
            self.leave(key, address, LeaveCause::Unreachable, actions);
            // A Querier that has reached the host all the time has no reason to ask, so this router does so itself.
            match self.links[id].role {
                Role::Querier | Role::NonQuerier { .. } => self.ask_the_others(now, key, actions),
                Role::Initial => {}
            }
        }
    }
}
