//! What waits until the others of a fleet have heard of a new binding.
//!
//! A member answers from C as soon as it is told that it may, and as soon as a flow comes by C, and its answers may
//! come by any gateway. One that has not heard of the binding passes them as they are; then the client's host disowns
//! them.
//! So the binding is told first, and a moment later the member and the flows are. No packet waits meanwhile: it goes by
//! B, as without a binding.

use std::{collections::VecDeque, time::Duration};

use super::triple::Triple;
use crate::core::{Actions, Time, hash::Map};

/// The moment. A bus that is slower than this costs some flows a try.
const MOMENT: Duration = Duration::from_millis(250);

/// What is kept of the room for it.
const ROOM: usize = 1024;

/// New bindings by which no flow is steered yet.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// When each is due, and what waits for that.
    waiting: Map<Triple, (Time, Actions)>,
    /// In the order in which they are due, with those that have ended since.
    order: VecDeque<(Time, Triple)>,
}

impl Ahead {
    /// Flows are steered by the new binding a moment after `now`.
    pub(super) fn steer(&mut self, now: Time, triple: Triple) {
        let at = now + MOMENT;
        self.waiting.insert(triple, (at, Actions::new()));
        self.order.push_back((at, triple));
    }

    /// Takes the actions from this one on away and keeps them back, for as long as no flow is steered by the binding.
    pub(super) fn hold(&mut self, triple: Triple, actions: &mut Actions, from: usize) {
        if let Some((_, waiting)) = self.waiting.get_mut(&triple) {
            waiting.extend(actions.drain(from..));
        }
    }

    /// The binding has ended, and with it what waits for it.
    pub(super) fn forget(&mut self, triple: Triple) {
        self.waiting.remove(&triple);
    }

    /// A binding that is due, and what waited for it.
    pub(super) fn take(&mut self, now: Time) -> Option<(Triple, Actions)> {
        while let Some((at, triple)) = self.order.pop_front_if(|(at, _)| *at <= now) {
            if self.order.is_empty() {
                // After a flood of new bindings its room is free again.
                self.order.shrink_to(ROOM);
                self.waiting.shrink_to(ROOM);
            }
            let is_due = self.waiting.get(&triple).is_some_and(|(due, _)| *due == at);
            if is_due && let Some((_, waited)) = self.waiting.remove(&triple) {
                return Some((triple, waited));
            }
        }
        None
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.order.front().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::core::Action;

    #[test]
    fn what_waits_ends_with_its_binding() {
        let triple = Triple {
            client: Ipv6Addr::LOCALHOST,
            anycast: Ipv6Addr::LOCALHOST,
            care_of: Ipv6Addr::LOCALHOST,
        };
        let at = |milliseconds| Time::ZERO + Duration::from_millis(milliseconds);
        let mut ahead = Ahead::default();
        let held = |ahead: &mut Ahead| {
            let mut actions = vec![
                Action::ReadRecentFlows { since: at(0) },
                Action::ReadFlows { soon: true },
            ];
            ahead.hold(triple, &mut actions, 1);
            actions.len() == 1
        };
        ahead.steer(at(0), triple);
        assert!(held(&mut ahead));
        ahead.forget(triple);
        assert!(!held(&mut ahead), "the binding is gone");
        // Another one of the same three addresses is due in its own time.
        ahead.steer(at(100), triple);
        assert!(held(&mut ahead));
        assert!(ahead.take(at(250)).is_none());
        assert_eq!(
            ahead.take(at(350)),
            Some((triple, vec![Action::ReadFlows { soon: true }]))
        );
        assert!(ahead.take(at(1000)).is_none());
        assert_eq!(ahead.deadline(), None);
    }
}
