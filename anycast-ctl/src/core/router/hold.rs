//! A link that is down for a moment keeps its members and routes.
//!
//! A cable that is plugged in again, or a port that starts anew, takes the carrier away for less time than members
//! need to report again. While the link is down nobody can be asked and nobody can answer, so that time does not count
//! against the members. When it is back, all of them are asked at once.

use std::time::Duration;

use super::{LinkId, Router, Timer, link::LinkState, querier::Role};
use crate::core::{Actions, Time, notice::LeaveCause};

impl Router {
    /// Begins to hold the members of a link that went down. False where there is nothing to hold.
    pub(super) fn hold(&mut self, now: Time, id: LinkId) -> bool {
        let link = &mut self.links[id];
        if link.held.is_some() {
            // It was up for a moment, without an address to ask from. The time goes on that began with the first loss.
            return true;
        }
        let hold = link.settings.hold;
        let Some((_, own)) = link.sender() else {
            return false;
        };
        if hold.is_zero() || link.groups.is_empty() {
            return false;
        }
        link.held = Some(own);
        self.schedule.start(Timer::Hold(id), now, hold);
        self.spare(now, id, hold);
        true
    }

    /// The link is back in time: all its members are asked, as soon as this router is the Querier.
    pub(super) fn resume(&mut self, now: Time, id: LinkId, actions: &mut Actions) {
        self.schedule.cancel(Timer::Hold(id));
        let timers = self.links[id].settings.timers;
        self.spare(now, id, timers.query_response_interval);
        match self.links[id].role {
            Role::Querier => self.ask(now, id, actions),
            Role::NonQuerier { .. } | Role::Initial => {}
        }
    }

    /// The link did not come back in time. It may be up, and have no address yet.
    pub(super) fn give_up(&mut self, id: LinkId, actions: &mut Actions) {
        let LinkState {
            ifindex,
            up,
            link_local,
            ..
        } = self.links[id];
        self.forget_link(id, LeaveCause::LinkDown, actions);
        let link = &mut self.links[id];
        link.ifindex = ifindex;
        link.up = up;
        link.link_local = link_local;
    }

    /// Gives each member of the link this time, and that of a check, to answer.
    fn spare(&mut self, now: Time, id: LinkId, time: Duration) {
        let check = self.links[id].settings.timers.last_listener_time();
        for anycast in self.links[id].groups.clone() {
            let key = (anycast, id);
            for member in self.members(key) {
                self.schedule
                    .raise(Timer::Member(key, member), now, time + check);
            }
        }
    }
}
