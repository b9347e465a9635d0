//! Applies Reports, Dones, Queries and timers to the members of groups, by the diagram of [`member`].
//!
//! [`member`]: super::member

use std::net::Ipv6Addr;

use super::{
    GroupKey, LinkId, Router, Timer,
    group::Purpose,
    member::{Admission, Diagram, Effect, Event, State},
    policy::Cap,
    querier::Role,
};
use crate::core::{Actions, Received, Time, counters::Counter, notice::LeaveCause};

impl Router {
    /// Handles a Report of `source` for `anycast` (draft host-anycast section 4.2).
    pub(super) fn report(
        &mut self,
        now: Time,
        id: LinkId,
        received: &Received<'_>,
        source: Ipv6Addr,
        anycast: Ipv6Addr,
        actions: &mut Actions,
    ) {
        let key = (anycast, id);
        let (mac, interface) = (received.mac, &self.links[id].settings.interface);
        let Some((rule, caps)) = self.policy.admits(interface, source, mac, anycast) else {
            return self.refuse(Counter::ReportDenied, received, source, anycast, actions);
        };
        let state = self.state(key, source);
        if state == State::Absent {
            let cap = |now, most| Cap { now, most };
            if cap(self.members_of(anycast), caps.max_members_per_group).is_full() {
                return self.refuse(Counter::GroupFull, received, source, anycast, actions);
            }
            if cap(self.groups_of(id, source), caps.max_groups_per_member).is_full() {
                return self.refuse(Counter::MemberFull, received, source, anycast, actions);
            }
        }
        self.counters.count(Counter::ReportAccepted);
        let event = Event::Report(Admission { mac, rule });
        self.step(now, key, source, state, event, actions);
    }

    /// Handles a Done of `source` for `anycast` (draft host-anycast section 4.3).
    pub(super) fn done(
        &mut self,
        now: Time,
        id: LinkId,
        received: &Received<'_>,
        source: Ipv6Addr,
        anycast: Ipv6Addr,
        actions: &mut Actions,
    ) {
        let interface = &self.links[id].settings.interface;
        let decision = self.policy.decide(interface, source, received.mac, anycast);
        if !decision.allow {
            return self.refuse(Counter::ReportDenied, received, source, anycast, actions);
        }
        if self.member_event(now, (anycast, id), source, Event::Done, actions) == Effect::Nothing {
            self.counters.count(Counter::DoneIgnored);
        }
    }

    /// Handles an Address-Specific Query of the Querier, which applies to every member of the group.
    pub(super) fn specific_query(&mut self, now: Time, key: GroupKey, actions: &mut Actions) {
        for member in self.members(key) {
            self.member_event(now, key, member, Event::SpecificQuery, actions);
        }
    }

    /// Applies an event to a member (second and third diagram of RFC 2710 section 6).
    pub(super) fn member_event(
        &mut self,
        now: Time,
        key: GroupKey,
        source: Ipv6Addr,
        event: Event,
        actions: &mut Actions,
    ) -> Effect {
        let state = self.state(key, source);
        self.step(now, key, source, state, event, actions)
    }

    /// Applies an event to a member whose state has already been looked up.
    fn step(
        &mut self,
        now: Time,
        key: GroupKey,
        source: Ipv6Addr,
        state: State,
        event: Event,
        actions: &mut Actions,
    ) -> Effect {
        // A router that has no address to send Queries from acts only on what it receives, as a Non-Querier does.
        let diagram = match self.links[key.1].role {
            Role::Querier => Diagram::Querier,
            Role::NonQuerier { .. } | Role::Initial => Diagram::NonQuerier,
        };
        let (next, effect) = state.step(event, diagram);
        let timer = Timer::Member(key, source);
        let timers = self.links[key.1].settings.timers;
        match effect {
            Effect::Nothing => {}
            Effect::Join(admission) => {
                self.join(now, key, source, admission, actions);
                self.schedule
                    .start(timer, now, timers.multicast_listener_interval());
            }
            Effect::Refresh(admission) | Effect::EndCheck(admission) => {
                if next != state {
                    self.set_state(key, source, next);
                }
                self.renew(key, source, admission);
                self.schedule
                    .start(timer, now, timers.multicast_listener_interval());
            }
            Effect::StartCheck if self.links[key.1].settings.fast_leave => {
                self.leave(key, source, LeaveCause::Done, actions);
                self.ask_the_others(now, key, actions);
            }
            Effect::StartCheck | Effect::Verify => {
                self.set_state(key, source, next);
                let count = timers.last_listener_query_count;
                let first = self.ask_members(now, key, Purpose::Check, count, actions);
                let answer = timers.last_listener_time();
                self.schedule.lower(timer, now, (first - now) + answer);
            }
            Effect::Leave(cause) => self.leave(key, source, cause, actions),
        }
        effect
    }

    /// Sends the Queries that follow a fast leave. The leave cannot be undone, but a member that was removed wrongly
    /// answers them and joins again.
    pub(super) fn ask_the_others(&mut self, now: Time, key: GroupKey, actions: &mut Actions) {
        let count = self.links[key.1].settings.timers.last_listener_query_count;
        if self.groups.contains_key(&key) {
            self.ask_members(now, key, Purpose::Refresh, count, actions);
        } else {
            self.send_specific(key, actions);
        }
    }
}
