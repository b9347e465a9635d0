//! The links of the router: whether they work, and which router is the Querier on them.

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::wire::mld::{self, Version};

use super::{
    GeneralQueries, LinkId, Router, Timer, discovery,
    link::LinkState,
    querier::{Effect, Event, Role},
    timers,
};
use crate::core::{
    Action, Actions, Link, Notice, Received, Time, counters::Counter, notice::LeaveCause,
};

/// For how many of this router's Query Intervals an MLDv2 querier counts as present at most. Its Queries can say that
/// this is 55 hours, and anybody can send one.
const V2_QUERIER_INTERVALS: u32 = 3;

impl Router {
    pub(super) fn link_changed(&mut self, now: Time, link: &Link, actions: &mut Actions) {
        // An index that now has another name, or a name that now has another index, is a different link.
        let stale = self.links.iter().position(|known| {
            let same_index = known.ifindex == Some(link.ifindex);
            let same_name = known.settings.interface == link.name;
            known.ifindex.is_some() && same_index != same_name
        });
        if let Some(id) = stale {
            self.forget_link(id, LeaveCause::LinkDown, actions);
            return self.link_changed(now, link, actions);
        }
        let Some(id) = self
            .links
            .iter()
            .position(|known| known.settings.interface == link.name)
        else {
            return;
        };
        if self.links[id].up && !link.up && !self.hold(now, id) {
            self.forget_link(id, LeaveCause::LinkDown, actions);
        }
        let known = &mut self.links[id];
        let old = known.sender().map(|(_, address)| address);
        known.ifindex = Some(link.ifindex);
        known.up = link.up;
        known.link_local = link.link_local;
        let new = known.sender().map(|(_, address)| address);
        match (known.held.or(old), new) {
            (None, None) => {}
            (None, Some(_)) => self.role_event(now, id, Event::Started, actions),
            // The members of a link that is down are held.
            (Some(_), None) if self.links[id].held.is_some() => {}
            (Some(_), None) => self.role_event(now, id, Event::Stopped, actions),
            (Some(old), Some(own)) if old != own => {
                self.role_event(now, id, Event::Renumbered { own }, actions);
            }
            (Some(_), Some(_)) => {}
        }
        if new != old {
            let event = match new {
                Some(_) => discovery::Event::Started,
                None => discovery::Event::Stopped,
            };
            self.discovery_event(now, id, event, actions);
        }
        if new.is_some() && self.links[id].held.take().is_some() {
            self.resume(now, id, actions);
        }
    }

    /// Forgets everything about a link and removes its members.
    pub(super) fn forget_link(&mut self, id: LinkId, cause: LeaveCause, actions: &mut Actions) {
        for anycast in self.links[id].groups.clone() {
            self.disband((anycast, id), cause, actions);
        }
        self.end_listening(id, actions);
        for timer in [
            Timer::GeneralQuery(id),
            Timer::OtherQuerier(id),
            Timer::V2Querier(id),
            Timer::Hold(id),
            Timer::Refresh(id),
            Timer::Probe(id),
            Timer::Advertise(id),
        ] {
            self.schedule.cancel(timer);
        }
        let settings = self.links[id].settings.clone();
        self.links[id] = LinkState::new(settings);
    }

    /// Applies an event to the role of this router on a link (first diagram of RFC 2710 section 6).
    pub(super) fn role_event(
        &mut self,
        now: Time,
        id: LinkId,
        event: Event,
        actions: &mut Actions,
    ) {
        let link = &mut self.links[id];
        let (role, effect) = link.role.step(event);
        link.role = role;
        let querier = link.querier();
        if link.announced != querier {
            link.announced = querier;
            if let (Some((querier, ours)), Some(ifindex)) = (querier, link.ifindex) {
                actions.push(Action::Notice(Notice::Querier {
                    ifindex,
                    querier,
                    ours,
                }));
            }
        }
        match effect {
            Effect::Nothing => {}
            Effect::StartUp => {
                link.startup = link.settings.timers.startup_query_count;
                if link.settings.general_queries == GeneralQueries::Polite
                    && link.v2_querier.is_none()
                {
                    self.listen(now, id, actions);
                } else {
                    self.ask(now, id, actions);
                }
            }
            Effect::Ask => {
                self.schedule.cancel(Timer::OtherQuerier(id));
                self.ask(now, id, actions);
            }
            Effect::Listen => {
                let interval = link.settings.timers.other_querier_present_interval();
                self.end_listening(id, actions);
                self.drop_adopted(id);
                self.schedule.cancel(Timer::GeneralQuery(id));
                self.schedule.cancel(Timer::Refresh(id));
                self.schedule.start(Timer::OtherQuerier(id), now, interval);
            }
            Effect::Stop => {
                self.end_listening(id, actions);
                self.schedule.cancel(Timer::GeneralQuery(id));
                self.schedule.cancel(Timer::Refresh(id));
                self.schedule.cancel(Timer::OtherQuerier(id));
            }
        }
    }

    /// Handles a Query of another router. The shell's parser has checked its form.
    ///
    /// Anybody on the link can send one. So a Query takes no member away, which is for this router to find out itself,
    /// and an MLDv2 querier counts for three of this router's own Query Intervals at most.
    pub(super) fn query(
        &mut self,
        now: Time,
        id: LinkId,
        received: &Received<'_>,
        source: Ipv6Addr,
        query: mld::Query,
        actions: &mut Actions,
    ) {
        let queriers = &self.links[id].settings.queriers;
        if !queriers.is_empty() && !queriers.iter().any(|prefix| prefix.contains(&source)) {
            return self.refuse(
                Counter::QueryDenied,
                received,
                source,
                query.address,
                actions,
            );
        }
        self.counters.count(Counter::QueryHeard);
        match query.version {
            Version::V1 => {
                self.elect(now, id, source, actions);
                // The Query matters only to a Non-Querier, which this router may just have become. Those of other
                // Non-Queriers follow that of the Querier, and an answer to each other would have no end.
                if self.links[id].querier() == Some((source, false)) {
                    self.specific_query(now, (query.address, id), actions);
                }
            }
            Version::V2 {
                suppress: _,
                robustness,
                interval,
            } => {
                // A Query about a multicast address comes from the same querier as its General Queries, since RFC 3810
                // section 5.1.10 knows no other address.
                if query.address.is_unspecified() || query.address.is_multicast() {
                    let own = &self.links[id].settings.timers;
                    // This is RFC 3810 section 9.5 with the values of the querier. A zero means that the receiver's own
                    // value applies.
                    let robustness = if robustness == 0 {
                        own.robustness
                    } else {
                        robustness
                    };
                    let interval = if interval.is_zero() {
                        own.query_interval
                    } else {
                        interval
                    };
                    // The response time in a specific Query applies only to the group that it names.
                    let response = if query.address.is_multicast() {
                        own.query_response_interval
                    } else {
                        query.max_response_delay
                    };
                    let longest = own.query_interval.saturating_mul(V2_QUERIER_INTERVALS);
                    let present = timers::present(robustness, interval, response).min(longest);
                    self.v2_querier_heard(now, id, source, present, actions);
                }
            }
        }
    }

    fn elect(&mut self, now: Time, id: LinkId, source: Ipv6Addr, actions: &mut Actions) {
        let link = &self.links[id];
        if link.link_local.is_none_or(|own| own < source) {
            return;
        }
        let stale = match link.role {
            Role::Initial | Role::Querier => true,
            Role::NonQuerier { heard, .. } => {
                now.since(heard) >= link.settings.timers.other_querier_present_interval()
            }
        };
        let event = Event::LowerQuery { source, stale, now };
        self.role_event(now, id, event, actions);
    }

    fn v2_querier_heard(
        &mut self,
        now: Time,
        id: LinkId,
        source: Ipv6Addr,
        present: Duration,
        actions: &mut Actions,
    ) {
        let link = &mut self.links[id];
        let before = link.asks_everybody();
        let known = link.v2_querier.replace(source);
        let changed = before != link.asks_everybody();
        if known.is_some_and(|known| known != source) {
            // If two MLDv2 queriers are present, their election is under way, and the longer time counts.
            self.schedule.raise(Timer::V2Querier(id), now, present);
        } else {
            self.schedule.start(Timer::V2Querier(id), now, present);
        }
        if self.links[id].listening {
            return self.ask(now, id, actions);
        }
        if changed && self.links[id].role == Role::Querier {
            self.ask_known(now, id);
        }
    }

    /// Handles that nothing was heard of the MLDv2 querier for too long.
    pub(super) fn v2_querier_gone(&mut self, now: Time, id: LinkId, actions: &mut Actions) {
        let link = &mut self.links[id];
        let before = link.asks_everybody();
        link.v2_querier = None;
        if before != link.asks_everybody() && link.role == Role::Querier {
            self.ask(now, id, actions);
        }
    }
}
