//! Decides which Queries this router sends, and when.

use std::{
    net::Ipv6Addr,
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use anycast_common::wire::{
    ipv6,
    mld::{self, Version},
};

use super::{GroupKey, LinkId, Router, Timer, group::Purpose, querier::Role};
use crate::core::{Action, Actions, Time, counters::Counter};

/// Shortest time between two refreshes. The shell's timer could not keep up with a shorter one.
const BEAT: Duration = Duration::from_millis(10);

/// How often to do something, and for how many items at a time, so that all `count` items have their turn within
/// `window`. `None` when there are no items.
pub(super) fn pace(window: Duration, count: u32) -> Option<(Duration, u32)> {
    let beat = window.checked_div(count)?;
    if beat >= BEAT {
        return Some((beat, 1));
    }
    let beats = window.as_nanos() / BEAT.as_nanos();
    let beats = u32::try_from(beats).unwrap_or(u32::MAX).max(1);
    Some((BEAT, count.div_ceil(beats)))
}

impl Router {
    /// Sends the regular Queries of a Querier: General Queries to all hosts, or Address-Specific Queries to the members
    /// that it knows.
    pub(super) fn ask(&mut self, now: Time, id: LinkId, actions: &mut Actions) {
        self.end_listening(id, actions);
        let link = &mut self.links[id];
        if !link.asks_everybody() {
            // To a General Query, all members would answer now. So all groups are to be refreshed soon.
            link.overdue = link.groups.len();
            self.plan_adopted(id);
            return self.ask_known(now, id);
        }
        let timers = link.settings.timers;
        link.startup = link.startup.saturating_sub(1);
        let interval = if link.startup > 0 {
            timers.startup_query_interval
        } else {
            timers.query_interval
        };
        self.drop_adopted(id);
        self.schedule.cancel(Timer::Refresh(id));
        self.schedule.start(Timer::GeneralQuery(id), now, interval);
        let query = mld::Query {
            max_response_delay: timers.query_response_interval,
            address: Ipv6Addr::UNSPECIFIED,
            version: Version::V1,
        };
        if self.send(id, query, ipv6::ALL_NODES, actions) {
            self.counters.count(Counter::GeneralQuerySent);
        }
    }

    /// Starts to refresh the members that the Querier knows, one group at a time.
    pub(super) fn ask_known(&mut self, now: Time, id: LinkId) {
        self.links[id].startup = 0;
        self.schedule.cancel(Timer::GeneralQuery(id));
        self.plan_refresh(now, id);
    }

    fn plan_refresh(&mut self, now: Time, id: LinkId) {
        match self.pace(id) {
            Some((beat, _)) => self.schedule.start(Timer::Refresh(id), now, beat),
            None => self.schedule.cancel(Timer::Refresh(id)),
        }
    }

    /// Adjusts the time of the next refresh, after a link has got one more group.
    pub(super) fn group_added(&mut self, now: Time, id: LinkId) {
        let link = &self.links[id];
        if link.role != Role::Querier || link.listening || link.asks_everybody() {
            return;
        }
        if let Some((beat, _)) = self.pace(id) {
            self.schedule.lower(Timer::Refresh(id), now, beat);
        }
    }

    /// How often groups are refreshed, and how many at a time, so that all of them have their turn within a [Query
    /// Interval]. Less time is left after an election, namely that by which [Multicast Listener Interval] is longer
    /// than [Other Querier Present Interval], and while there are adopted routes, which stay for a short time only.
    fn pace(&self, id: LinkId) -> Option<(Duration, u32)> {
        let link = &self.links[id];
        let adopted = link.adopted.turns();
        let turns = u32::try_from(link.groups.len() + adopted).unwrap_or(u32::MAX);
        let window = if link.overdue > 0 || adopted > 0 {
            link.settings.timers.query_response_interval / 2
        } else {
            link.settings.timers.query_interval
        };
        pace(window, turns)
    }

    /// Refreshes the groups that follow the last one that was refreshed.
    pub(super) fn refresh_next(&mut self, now: Time, id: LinkId, actions: &mut Actions) {
        let Some((_, turns)) = self.pace(id) else {
            return;
        };
        let count = self.links[id].settings.timers.last_listener_query_count;
        for _ in 0..turns {
            if self.ask_adopted(id, actions) {
                continue;
            }
            let link = &mut self.links[id];
            link.overdue = link.overdue.saturating_sub(1);
            let after = link.refreshed.map_or(Unbounded, Excluded);
            let next = link.groups.range((after, Unbounded)).next();
            link.refreshed = next.or_else(|| link.groups.first()).copied();
            if let Some(anycast) = link.refreshed {
                self.ask_members(now, (anycast, id), Purpose::Refresh, count, actions);
            }
        }
        self.plan_refresh(now, id);
    }

    /// Sends `count` Address-Specific Queries, one every [Last Listener Query Interval]. Gives the time of the first,
    /// which is later than now when another Query for the group has just been sent.
    pub(super) fn ask_members(
        &mut self,
        now: Time,
        key: GroupKey,
        purpose: Purpose,
        count: u8,
        actions: &mut Actions,
    ) -> Time {
        let interval = self.links[key.1]
            .settings
            .timers
            .last_listener_query_interval;
        let Some(group) = self.groups.get_mut(&key) else {
            return now;
        };
        group.want(purpose, count);
        let asked_now = group.last_query == Some(now);
        let first = group
            .last_query
            .filter(|_| !asked_now)
            .map_or(now, |last| now.max(last + interval));
        if asked_now {
            // The Query that has just been sent is the first of these: everybody hears it.
            group.asked(now);
            if group.wants() {
                self.schedule.lower(Timer::Retransmit(key), now, interval);
            }
        } else if first > now {
            self.schedule
                .start(Timer::Retransmit(key), now, first - now);
        } else {
            self.retransmit(now, key, actions);
        }
        first
    }

    /// Handles "retransmit timer expired".
    pub(super) fn retransmit(&mut self, now: Time, key: GroupKey, actions: &mut Actions) {
        let link = &self.links[key.1];
        let interval = link.settings.timers.last_listener_query_interval;
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        if link.role != Role::Querier {
            // A check continues to its end although this router lost the election. A refresh does not.
            group.end_refresh();
        }
        if !group.wants() {
            return;
        }
        group.asked(now);
        if group.wants() {
            self.schedule.start(Timer::Retransmit(key), now, interval);
        } else {
            self.schedule.cancel(Timer::Retransmit(key));
        }
        self.send_specific(key, actions);
    }

    /// Sends one Address-Specific Query (draft host-anycast section 4.1).
    pub(super) fn send_specific(&mut self, (anycast, id): GroupKey, actions: &mut Actions) {
        let query = mld::Query {
            max_response_delay: Duration::ZERO,
            address: anycast,
            version: Version::V1,
        };
        if self.send(id, query, ipv6::solicited_node(anycast), actions) {
            self.counters.count(Counter::SpecificQuerySent);
        }
    }

    /// Sends a Query. Gives whether the link could send it.
    fn send(
        &self,
        id: LinkId,
        query: mld::Query,
        destination: Ipv6Addr,
        actions: &mut Actions,
    ) -> bool {
        let Some((ifindex, source)) = self.links[id].sender() else {
            return false;
        };
        let mut packet = vec![0; mld::PACKET_LEN];
        let emitted = mld::Message::Query(query).emit(source, destination, &mut packet);
        debug_assert_eq!(emitted, Ok(mld::PACKET_LEN), "the buffer has that size");
        if emitted.is_err() {
            return false;
        }
        actions.push(Action::Send {
            ifindex: Some(ifindex),
            packet,
        });
        true
    }
}
