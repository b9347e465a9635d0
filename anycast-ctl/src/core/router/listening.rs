//! What a Querier with polite queries does before its first General Query: it finds out whether an MLDv2 querier is on
//! the link.
//!
//! Waiting for the next General Query of an MLDv2 querier would take minutes. But such a querier has to send a Query
//! when a listener leaves a group (RFC 3810 section 7.4.2). So this router joins a group, leaves it, and listens for
//! the Query.

use std::net::Ipv6Addr;

use super::{LinkId, Router, Timer};
use crate::core::{Action, Actions, GroupAction, Time};

/// A transient link-local multicast group (RFC 4291 section 2.7) to which only Queries about it are sent. They arrive
/// after this host has left the group, and must not be filtered then: because of its last four octets the group has the
/// same Ethernet address as FF02::1 (RFC 2464 section 7), which no interface and no switch filters.
pub(super) const GROUP: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0x616e, 0x7963, 0, 1);

impl Router {
    /// Joins the group, and delays the first General Query for as long as the listening takes.
    pub(super) fn listen(&mut self, now: Time, id: LinkId, actions: &mut Actions) {
        let link = &mut self.links[id];
        let Some(ifindex) = link.ifindex else {
            return;
        };
        let timers = link.settings.timers;
        link.listening = true;
        actions.push(Action::Group(GroupAction::Join {
            ifindex,
            group: GROUP,
        }));
        let joined = timers.last_listener_query_interval;
        self.schedule.start(Timer::LeaveGroup(id), now, joined);
        let whole = timers.listening_time();
        self.schedule.start(Timer::GeneralQuery(id), now, whole);
    }

    /// Leaves the group, after an MLDv2 querier had time to hear of it, and waits long enough for that querier to ask
    /// who is left in it.
    pub(super) fn leave_to_hear(&mut self, now: Time, id: LinkId, actions: &mut Actions) {
        self.leave_group(id, actions);
        let timers = self.links[id].settings.timers;
        let rest = timers.last_listener_time();
        self.schedule.start(Timer::GeneralQuery(id), now, rest);
    }

    fn leave_group(&mut self, id: LinkId, actions: &mut Actions) {
        self.schedule.cancel(Timer::LeaveGroup(id));
        if let Some(ifindex) = self.links[id].ifindex {
            actions.push(Action::Group(GroupAction::Leave {
                ifindex,
                group: GROUP,
            }));
        }
    }

    /// Ends the listening, because it is known who sends Queries here or because the answer no longer matters.
    pub(super) fn end_listening(&mut self, id: LinkId, actions: &mut Actions) {
        self.links[id].listening = false;
        if self.schedule.get(Timer::LeaveGroup(id)).is_some() {
            self.leave_group(id, actions);
        }
    }
}
