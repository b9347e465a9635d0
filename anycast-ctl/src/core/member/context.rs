//! What every step of a member's state machines needs.

use anycast_common::wire;

use crate::core::{
    Action, Actions, Notice, Time,
    counters::{Counter, Counters},
    rr::Generator,
};

/// The time and the random numbers that a step takes, and the actions that it gives.
pub(super) struct Context<'a> {
    pub(super) now: Time,
    pub(super) rng: &'a mut Generator,
    pub(super) counters: &'a mut Counters,
    pub(super) actions: &'a mut Actions,
}

impl Context<'_> {
    pub(super) fn count(&mut self, counter: Counter) {
        self.counters.count(counter);
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.actions.push(Action::Notice(notice));
    }

    /// Sends a packet, and counts it.
    pub(super) fn send(
        &mut self,
        ifindex: Option<u32>,
        packet: Result<Vec<u8>, wire::Error>,
        counter: Counter,
    ) {
        match packet {
            Ok(packet) => {
                self.count(counter);
                self.act(Action::Send { ifindex, packet });
            }
            Err(_) => self.count(Counter::PacketNotWritten),
        }
    }
}
