//! A fleet, in virtual time: what a Binding Update of another gateway costs, what a triple takes, and a snapshot.
//!
//! `cargo xtask bench fleet`, with another number of triples than a million behind `--`.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may abort, and shares parts with others"
)]

use std::time::Duration;

use anycast_ctl::core::{
    Action, Actions, MapAction, Time,
    controller::{Controller, Input},
    fleet,
};

#[path = "../common/mod.rs"]
mod common;
#[path = "../handshakes/ends.rs"]
mod ends;
#[path = "../handshakes/core.rs"]
mod machines;
#[path = "../scale/memory.rs"]
mod memory;

use common::timed;
use ends::{B, client};
use machines::{correspondent, member, packets, step};

/// Of a million clients that are bound anew as soon as they can.
const UPDATES: f64 = 62_500.0;
const STEP: Duration = Duration::from_millis(50);
const UNIX: Duration = Duration::from_secs(1_800_000_000);

/// Gateways on a bus without delay.
struct Fleet {
    now: Time,
    gateways: Vec<Controller>,
    busy: Vec<Duration>,
    octets: usize,
}

impl Fleet {
    fn start(&mut self, count: usize) {
        let octets: [u8; 32] = std::array::from_fn(|index| index.to_le_bytes()[0]);
        let settings = fleet::Settings {
            secret: fleet::Secret::new(&octets).unwrap(),
            previous: None,
            name: Some(format!("g{}", self.gateways.len())),
        };
        let mut gateway = correspondent(count, Some(settings));
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
    fn deliver(&mut self, from: usize, actions: Actions) -> Actions {
        let mut rest = Vec::new();
        let mut said = vec![(from, actions)];
        while let Some((from, actions)) = said.pop() {
            for action in actions {
                match action {
                    Action::Publish { to, octets } => {
                        for place in 0..self.gateways.len() {
                            let id = self.id(place);
                            if place == from || to.is_some_and(|to| to != id) {
                                continue;
                            }
                            self.octets += octets.len();
                            said.push((place, self.handle(place, Input::Bus(&octets))));
                        }
                    }
                    Action::ReadFlows => said.push((from, self.handle(from, Input::Flows(&[])))),
                    other => rest.push(other),
                }
            }
        }
        rest
    }

    fn handle(&mut self, place: usize, input: Input<'_>) -> Actions {
        let (now, mut actions) = (self.now, Actions::new());
        let gateway = &mut self.gateways[place];
        self.busy[place] += timed(|| gateway.handle(now, input, &mut actions));
        actions
    }

    fn pass(&mut self, time: Duration) -> Actions {
        let (end, mut rest) = (self.now + time, Vec::new());
        while self.now < end {
            self.now += STEP;
            for place in 0..self.gateways.len() {
                let (now, mut actions) = (self.now, Actions::new());
                let gateway = &mut self.gateways[place];
                gateway.clock(now, UNIX + now.since(Time::ZERO));
                self.busy[place] += timed(|| gateway.poll(now, &mut actions));
                rest.extend(self.deliver(place, actions));
            }
        }
        rest
    }
}

fn main() {
    let number = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let count: usize = number.unwrap_or(1_000_000);
    let mut fleet = Fleet {
        now: Time::ZERO + Duration::from_secs(3600),
        gateways: Vec::new(),
        busy: Vec::new(),
        octets: 0,
    };
    fleet.start(count);
    fleet.start(count);
    fleet.pass(Duration::from_secs(5));
    let updates = updates(&mut fleet, count);
    let now = fleet.now;
    let (actions, own) = step(&mut fleet.gateways[0], now, &updates);
    let (before, busy, octets) = (memory::live(), fleet.busy[1], fleet.octets);
    drop(fleet.deliver(0, actions));
    let (took, held) = (fleet.busy[1] - busy, memory::live() - before);
    let each = took.as_secs_f64() / count as f64;
    println!("{count} triples, in virtual time, each machine on one core");
    println!(
        "  a Binding Update of another gateway: {:.2} us, {} octets; at {UPDATES:.0} a second {:.1} % of a core",
        each * 1e6,
        (fleet.octets - octets) / count,
        each * UPDATES * 100.0
    );
    println!(
        "  one of its own, verified, acknowledged and told: {:.2} us",
        own.as_secs_f64() / count as f64 * 1e6
    );
    println!("  a triple: {} octets", held / count);
    fleet.start(count);
    let (start, octets, busy) = (fleet.now, fleet.octets, fleet.busy.clone());
    let done = fleet.pass(Duration::from_secs(8));
    let known = |action: &&Action| matches!(action, Action::Map(MapAction::SetCareOf { .. }));
    let known = done.iter().filter(known).count();
    assert_eq!(known, count, "the snapshot has all");
    let [gave, _, took] =
        [0, 1, 2].map(|place| fleet.busy[place] - busy.get(place).copied().unwrap_or_default());
    println!(
        "  a snapshot: {} MB; {:.2} s of whoever gives it and {:.2} s of whoever takes it, within {:.0} s",
        (fleet.octets - octets) / 1_000_000,
        gave.as_secs_f64(),
        took.as_secs_f64(),
        (fleet.now - start).as_secs_f64()
    );
}

/// What a member sends after both tests at the first gateway.
fn updates(fleet: &mut Fleet, count: usize) -> Vec<Vec<u8>> {
    let (now, mut member) = (fleet.now, member(count));
    let mut inits = Actions::new();
    for number in 0..count {
        let (client, anycast) = (client(number), B);
        member.handle(now, Input::NewClient { client, anycast }, &mut inits);
    }
    let (tests, _) = step(&mut fleet.gateways[0], now, &packets(inits));
    let (updates, _) = step(&mut member, now, &packets(tests));
    packets(updates)
}
