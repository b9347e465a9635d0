//! The core, driven by the clock of this machine.

use anycast_common::abi::{
    counters::Counter,
    event::{self, kind},
};

use super::clock;
use crate::core::{
    Action, Actions, Notice, Received, Time,
    controller::{Command, CommandError, Controller, Flushed, Input},
    correspondent::{Correspondent, Selection},
    router::Policy,
};

/// The core, and what it wants and has not got yet.
pub(super) struct Engine {
    controller: Controller,
    actions: Actions,
    started: Time,
}

impl Engine {
    /// Drives a core that was made at `started`.
    pub(super) fn new(controller: Controller, started: Time) -> Self {
        Self {
            controller,
            actions: Actions::new(),
            started,
        }
    }

    /// Something happened just now.
    pub(super) fn handle(&mut self, input: Input<'_>) {
        self.handle_at(clock::now(), input);
    }

    /// Something happened, or was read, at `time`.
    pub(super) fn handle_at(&mut self, time: Time, input: Input<'_>) {
        self.controller.handle(time, input, &mut self.actions);
    }

    /// The data plane gave us a packet, or an example of what it refuses.
    pub(super) fn packet(&mut self, header: &event::Header, packet: &[u8]) {
        self.handle(input(header, packet));
    }

    /// Does what is due.
    pub(super) fn poll(&mut self) {
        self.controller.poll(clock::now(), &mut self.actions);
    }

    /// The same, at no cost when nothing is due.
    pub(super) fn poll_if_due(&mut self) {
        let now = clock::now();
        if self.deadline().is_some_and(|time| time <= now) {
            self.controller.poll(now, &mut self.actions);
        }
    }

    /// When to [`poll`](Self::poll); none while nothing is to come.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.controller.deadline()
    }

    /// An operator wants something. Gives whether this machine is a member of the group now.
    pub(super) fn command(&mut self, command: Command) -> Result<bool, CommandError> {
        self.controller
            .command(clock::now(), command, &mut self.actions)
    }

    /// An operator ends bindings, and has clients forgotten.
    pub(super) fn flush(&mut self, which: &Selection) -> Flushed {
        self.controller
            .flush(clock::now(), which, &mut self.actions)
    }

    /// Another policy applies from now on.
    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.controller
            .set_policy(clock::now(), policy, &mut self.actions);
    }

    /// Takes back what stands outside of this machine.
    pub(super) fn shutdown(&mut self) {
        self.controller.shutdown(clock::now(), &mut self.actions);
    }

    /// Tells the log and those who watch.
    pub(super) fn tell(&mut self, notice: Notice) {
        self.actions.push(Action::Notice(notice));
    }

    /// What is to be done, for the performer to take.
    pub(super) fn actions(&mut self) -> &mut Actions {
        &mut self.actions
    }

    /// The core, to look at.
    pub(super) fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The correspondent, which takes up what an earlier run has left.
    pub(super) fn correspondent_mut(&mut self) -> Option<&mut Correspondent> {
        self.controller.correspondent_mut()
    }

    /// When the daemon started.
    pub(super) fn started(&self) -> Time {
        self.started
    }
}

fn input<'a>(header: &event::Header, packet: &'a [u8]) -> Input<'a> {
    let received = Received {
        ifindex: header.ifindex,
        mac: header.mac,
        packet,
    };
    match header.kind {
        kind::REFUSED => Input::Refused {
            reason: Counter::ALL
                .get(usize::from(header.reason))
                .map_or("unknown", |counter| counter.name()),
            received,
        },
        kind => Input::Packet { kind, received },
    }
}
