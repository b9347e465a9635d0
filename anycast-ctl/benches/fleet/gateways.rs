//! Gateways in virtual time, on a bus without delay.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use anycast_ctl::core::{
    Action, Actions, Time,
    controller::{Controller, Input},
};

use super::{common::timed, machines::correspondent, parts::settings};

const STEP: Duration = Duration::from_millis(50);
const UNIX: Duration = Duration::from_secs(1_800_000_000);

/// Gateways on a bus without delay.
pub struct Fleet {
    pub now: Time,
    pub gateways: Vec<Controller>,
    pub busy: Vec<Duration>,
    pub octets: usize,
}

impl Fleet {
    pub fn start(&mut self, count: usize) {
        let settings = settings(&format!("g{}", self.gateways.len()));
        let mut gateway = correspondent(self.now, count, Some(settings));
        gateway.clock(self.now, UNIX + self.now.since(Time::ZERO));
        let connected = Input::BusConnected(true);
        gateway.handle(self.now, connected, &mut Vec::new());
        self.gateways.push(gateway);
        self.busy.push(Duration::ZERO);
    }

    fn id(&self, place: usize) -> u64 {
        let role = self.gateways[place].correspondent().unwrap();
        role.bus().unwrap().id()
    }

    /// All that one says is heard by the others at once, and so on. Gives what else was to be done.
    pub fn deliver(&mut self, from: usize, actions: Actions) -> Actions {
        let mut rest = Vec::new();
        // In the order in which it is said, as a bus has it.
        let mut said = VecDeque::from([(from, actions)]);
        while let Some((from, actions)) = said.pop_front() {
            for action in actions {
                match action {
                    Action::Publish { to, octets } => {
                        for place in 0..self.gateways.len() {
                            let id = self.id(place);
                            if place == from || to.is_some_and(|to| to != id) {
                                continue;
                            }
                            self.octets += octets.len();
                            said.push_back((place, self.handle(place, Input::Bus(&octets))));
                        }
                    }
                    Action::ReadFlows { .. } => {
                        let (began, flows) = (self.now, &Arc::default());
                        said.push_back((from, self.handle(from, Input::Flows { began, flows })));
                    }
                    Action::ReadRecentFlows { .. } => {
                        said.push_back((from, self.handle(from, Input::RecentFlows(&[]))));
                    }
                    other => rest.push(other),
                }
            }
        }
        rest
    }

    pub fn handle(&mut self, place: usize, input: Input<'_>) -> Actions {
        let (now, mut actions) = (self.now, Actions::new());
        let gateway = &mut self.gateways[place];
        self.busy[place] += timed(|| gateway.handle(now, input, &mut actions));
        actions
    }

    pub fn poll(&mut self, place: usize) -> Actions {
        let (now, mut actions) = (self.now, Actions::new());
        let gateway = &mut self.gateways[place];
        gateway.clock(now, UNIX + now.since(Time::ZERO));
        self.busy[place] += timed(|| gateway.poll(now, &mut actions));
        actions
    }

    pub fn pass(&mut self, time: Duration) -> Actions {
        let (end, mut rest) = (self.now + time, Vec::new());
        while self.now < end {
            self.now += STEP;
            for place in 0..self.gateways.len() {
                let actions = self.poll(place);
                rest.extend(self.deliver(place, actions));
            }
        }
        rest
    }
}
