//! Runs the core with the clock of this machine.

use anycast_common::abi::{
    counters::Counter,
    event::{self, TrialFailed, kind},
};
use zerocopy::FromBytes as _;

use super::clock;
use crate::core::{
    Action, Actions, Notice, Received, Time,
    controller::{Command, CommandError, Controller, Flushed, Input, Settings},
    correspondent::{Correspondent, Selection},
    fleet::Unforgotten,
    router::Policy,
};

/// The core, and the actions that it has asked for and that are not performed yet.
pub(super) struct Engine {
    controller: Controller,
    actions: Actions,
    started: Time,
}

impl Engine {
    /// Runs a core that was made at the time `started`.
    pub(super) fn new(controller: Controller, started: Time) -> Self {
        let mut engine = Self {
            controller,
            actions: Actions::new(),
            started,
        };
        engine.now();
        engine
    }

    /// The present time. The core gets the time of day with it.
    fn now(&mut self) -> Time {
        let now = clock::now();
        self.controller.clock(now, clock::unix());
        now
    }

    /// Gives the core an input that happened just now.
    pub(super) fn handle(&mut self, input: Input<'_>) {
        let now = self.now();
        self.handle_at(now, input);
    }

    /// Gives the core an input that happened, or was read, at `time`.
    pub(super) fn handle_at(&mut self, time: Time, input: Input<'_>) {
        self.controller.handle(time, input, &mut self.actions);
    }

    /// Gives the core a packet of the data plane, or an example of a packet that the data plane refused.
    pub(super) fn packet(&mut self, header: &event::Header, packet: &[u8]) {
        self.handle(input(header, packet));
    }

    /// Lets the core do what is due. Costs nothing when nothing is due.
    pub(super) fn poll_if_due(&mut self) {
        let now = self.now();
        if self.deadline().is_some_and(|time| time <= now) {
            self.controller.poll(now, &mut self.actions);
        }
    }

    /// Time of the next [`poll_if_due`](Self::poll_if_due). `None` while no timer runs.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.controller.deadline()
    }

    /// Executes a command of an operator. Gives whether this machine is a member of the group afterwards.
    pub(super) fn command(&mut self, command: Command) -> Result<bool, CommandError> {
        self.controller
            .command(clock::now(), command, &mut self.actions)
    }

    /// Ends the selected bindings of a correspondent, and makes a member forget the selected clients.
    pub(super) fn flush(&mut self, which: &Selection) -> Flushed {
        let now = self.now();
        self.controller.flush(now, which, &mut self.actions)
    }

    /// No longer shows a gateway of the fleet that was taken away. `None` where there is no bus.
    pub(super) fn dismiss_peer(&mut self, name: &str) -> Option<Result<(), Unforgotten>> {
        self.controller.correspondent_mut()?.dismiss_peer(name)
    }

    /// Replaces the policy of the router role.
    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.controller
            .set_policy(clock::now(), policy, &mut self.actions);
    }

    /// Replaces the settings of the roles, but for the policy.
    pub(super) fn reconfigure(&mut self, settings: Settings) {
        let now = self.now();
        self.controller
            .reconfigure(now, settings, &mut self.actions);
    }

    /// Takes back everything that has an effect outside of this machine.
    pub(super) fn shutdown(&mut self) {
        self.controller.shutdown(clock::now(), &mut self.actions);
    }

    /// Adds a notice for the log and for the monitors.
    pub(super) fn tell(&mut self, notice: Notice) {
        self.actions.push(Action::Notice(notice));
    }

    /// The actions that are to be performed.
    pub(super) fn actions(&mut self) -> &mut Actions {
        &mut self.actions
    }

    /// The core, for reading.
    pub(super) fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The correspondent role, for restoring what an earlier run saved.
    pub(super) fn correspondent_mut(&mut self) -> Option<&mut Correspondent> {
        self.controller.correspondent_mut()
    }

    /// Time at which the daemon started.
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
    let reason = Counter::ALL
        .get(usize::from(header.reason))
        .map_or("unknown", |counter| counter.name());
    match (header.kind, TrialFailed::read_from_bytes(packet)) {
        (kind::REFUSED, _) => Input::Refused { reason, received },
        (kind::TRIAL_FAILED, Ok(failed)) => Input::TrialFailed { failed, reason },
        (kind, _) => Input::Packet { kind, received },
    }
}
