//! What a polite Querier does before its first General Query: it finds out whether an MLDv2 querier
//! is there.
//!
//! Waiting for that one's next General Query would take minutes. But it has to ask when a listener
//! leaves a group (RFC 3810 section 7.4.2), so we join one, leave it, and hear who asks.

use std::{net::Ipv6Addr, time::Duration};

use super::{LinkId, Router, Timer};
use crate::core::{Action, Actions, GroupAction, Time};

/// A transient group of the link (RFC 4291 section 2.7) that nothing is sent to but the Queries
/// about it. They come after we left it: by the last four octets it shares its Ethernet address with
/// FF02::1 (RFC 2464 section 7), which no interface and no switch filters.
pub(super) const GROUP: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0x616e, 0x7963, 0, 1);

impl Router {
    /// Joins the group, and puts the first General Query off for as long as this takes.
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

    /// An MLDv2 querier has had time to hear of the group, and gets as much as it needs to ask who
    /// is left in it.
    pub(super) fn leave_to_hear(&mut self, now: Time, id: LinkId, actions: &mut Actions) {
        self.leave_group(id, actions);
        let timers = self.links[id].settings.timers;
        let rest = timers.last_listener_time(Duration::ZERO);
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

    /// It is known who asks here, or nobody wants to know any more.
    pub(super) fn end_listening(&mut self, id: LinkId, actions: &mut Actions) {
        self.links[id].listening = false;
        if self.schedule.get(Timer::LeaveGroup(id)).is_some() {
            self.leave_group(id, actions);
        }
    }
}
