//! What waits until the others of a fleet have heard of a new binding.
//!
//! A member answers from C as soon as it is told that it may, and as soon as a flow comes by C, and its answers may
//! come by any gateway. One that has not heard of the binding passes them as they are; then the client's host disowns
//! them.
//! So the binding is told first, and a moment later the member and the flows are. No packet waits meanwhile: it goes by
//! B, as without a binding.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::cache::Pair;
use crate::core::{Actions, Time};

/// The moment. A bus that is slower than this costs some flows a try.
const MOMENT: Duration = Duration::from_millis(250);

/// What is kept of the room for it.
const ROOM: usize = 1024;

/// What waits, in the order in which it is due.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    due: VecDeque<(Time, Pair, Actions)>,
    until: HashMap<Pair, Time>,
}

impl Ahead {
    /// Flows of the pair are steered a moment after `now`.
    pub(super) fn steer(&mut self, now: Time, pair: Pair) {
        self.push(now + MOMENT, pair, Actions::new());
    }

    /// Keeps these actions back for as long as the pair's flows are not steered. Gives them back if they are.
    pub(super) fn hold(&mut self, pair: Pair, actions: Actions) -> Actions {
        let Some(at) = self.until.get(&pair).copied() else {
            return actions;
        };
        self.push(at, pair, actions);
        Actions::new()
    }

    fn push(&mut self, at: Time, pair: Pair, actions: Actions) {
        self.until.insert(pair, at);
        let later = self.due.iter().rev().take_while(|(other, ..)| *other > at);
        let place = self.due.len() - later.count();
        self.due.insert(place, (at, pair, actions));
    }

    /// A pair that is due, and what waited for it.
    pub(super) fn take(&mut self, now: Time) -> Option<(Pair, Actions)> {
        let (at, pair, actions) = self.due.pop_front_if(|(at, ..)| *at <= now)?;
        if self.until.get(&pair) == Some(&at) {
            self.until.remove(&pair);
        }
        if self.due.is_empty() {
            // After a flood of new bindings its room is free again.
            self.due.shrink_to(ROOM);
            self.until.shrink_to(ROOM);
        }
        Some((pair, actions))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.front().map(|(at, ..)| *at)
    }
}
