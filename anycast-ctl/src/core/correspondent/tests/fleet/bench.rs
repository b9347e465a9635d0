//! A bus, gateways with a simple data plane each, and time.

use std::{collections::HashMap, sync::Arc};

use anycast_common::abi::maps::{Flow, FlowKey, state};
use rand::Rng as _;
use zerocopy::FromZeros as _;

use super::*;
use crate::core::fleet::{self, Secret};

/// How time passes.
const STEP: Duration = Duration::from_millis(50);
/// The time of day at the start of the clock.
const UNIX: Duration = Duration::from_secs(1_800_000_000);

pub fn secret(number: u8) -> Secret {
    let octets: [u8; 32] = std::array::from_fn(|index| number ^ index.to_le_bytes()[0]);
    Secret::new(&octets).unwrap()
}

/// A gateway, and what its data plane was told.
pub struct Gateway {
    pub bench: Bench,
    /// By how many seconds its clock is ahead.
    pub ahead: u64,
    pub flows: HashMap<FlowKey, Flow>,
    pub steers: HashMap<(Ipv6Addr, Ipv6Addr), Ipv6Addr>,
    /// Until when new flows of (A, B) are steered, and until when C leads those of A.
    pub until: HashMap<(Ipv6Addr, Ipv6Addr), Time>,
    pub notices: Vec<Notice>,
    /// How often it wanted to read flows.
    pub readings: usize,
    /// Whether the bus reaches it.
    pub wired: bool,
}

impl Gateway {
    pub fn is_ready(&self) -> bool {
        self.bench.correspondent.is_ready()
    }

    pub fn bindings(&self, now: Time) -> Vec<Ipv6Addr> {
        let bindings = self.bench.correspondent.bindings(now);
        bindings.iter().map(|binding| binding.care_of).collect()
    }

    pub fn count(&self, counter: Counter) -> u64 {
        self.bench.count(counter)
    }

    /// What it took of others.
    pub fn taken(&self) -> u64 {
        [
            Counter::FleetMessageAccepted,
            Counter::FleetUpdateAccepted,
            Counter::FleetFlowsAdopted,
            Counter::FleetEnds,
        ]
        .map(|counter| self.count(counter))
        .iter()
        .sum()
    }
}

/// When flows have been read, by whom, when that began, and they.
type Judging = (Time, usize, Time, Vec<(FlowKey, Flow)>);

/// Gateways on a bus.
pub struct Fleet {
    pub now: Time,
    pub gateways: Vec<Gateway>,
    flying: Vec<(Time, usize, Vec<u8>)>,
    /// All that was said.
    pub recorded: Vec<Vec<u8>>,
    /// Of a hundred messages so many are lost, and as many come twice.
    pub lost: u32,
    /// Longest time on the way, in milliseconds.
    pub delay: u64,
    /// How long it takes to read all flows, in milliseconds, and who reads them until when.
    pub reading: u64,
    readers: Vec<(Time, usize)>,
    /// How long it takes until flows that were read are judged, in milliseconds, and what was read.
    pub judging: u64,
    judges: Vec<Judging>,
    rng: Generator,
}

impl Fleet {
    /// So many gateways that start at once.
    pub fn new(gateways: usize) -> Self {
        let mut fleet = Self {
            now: at(3600),
            gateways: Vec::new(),
            flying: Vec::new(),
            recorded: Vec::new(),
            lost: 0,
            delay: 5,
            reading: 0,
            readers: Vec::new(),
            judging: 0,
            judges: Vec::new(),
            rng: Generator::seed_from_u64(1),
        };
        for _ in 0..gateways {
            fleet.start(1, 0);
        }
        fleet
    }

    /// Nobody yet, an hour later, and with other luck.
    pub fn later() -> Self {
        Self {
            now: at(7200),
            rng: Generator::seed_from_u64(2),
            ..Self::new(0)
        }
    }

    /// The same, which have found each other.
    pub fn ready(gateways: usize) -> Self {
        let mut fleet = Self::new(gateways);
        fleet.pass(4000);
        assert!(fleet.gateways.iter().all(Gateway::is_ready));
        fleet
    }

    /// One more, with a secret and a clock that is ahead by so many seconds. Gives its number.
    pub fn start(&mut self, number: u8, ahead: u64) -> usize {
        let place = self.gateways.len();
        let settings = Settings {
            max_bindings: 1000,
            max_per_prefix: 1000,
            max_per_member: 1000,
            max_care_of: 1000,
            fleet: Some(fleet::Settings {
                secret: secret(number),
                previous: None,
                name: Some(format!("g{place}")),
            }),
            ..settings()
        };
        let rng = Generator::seed_from_u64(self.rng.next_u64());
        let mut correspondent = Correspondent::new(settings, self.now, rng);
        let unix = UNIX + Duration::from_secs(ahead) + self.now.since(Time::ZERO);
        correspondent.clock(self.now, unix);
        correspondent.bus_connected(self.now, true);
        self.gateways.push(Gateway {
            bench: Bench { correspondent },
            ahead,
            flows: HashMap::new(),
            steers: HashMap::new(),
            until: HashMap::new(),
            notices: Vec::new(),
            readings: 0,
            wired: true,
        });
        place
    }

    /// Lets so many milliseconds pass.
    pub fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while self.now < end {
            self.now += STEP;
            self.deliver();
            let now = self.now;
            let done: Vec<_> = self.readers.extract_if(.., |(at, _)| *at <= now).collect();
            for (_, place) in done {
                self.read(place, Time::ZERO);
            }
            self.judge();
            for place in 0..self.gateways.len() {
                self.poll(place);
            }
        }
    }

    /// Does something at a gateway.
    pub fn at(&mut self, place: usize, what: impl FnOnce(&mut Correspondent, Time, &mut Actions)) {
        let mut actions = Vec::new();
        let gateway = &mut self.gateways[place];
        let unix = UNIX + Duration::from_secs(gateway.ahead) + self.now.since(Time::ZERO);
        gateway.bench.correspondent.clock(self.now, unix);
        what(&mut gateway.bench.correspondent, self.now, &mut actions);
        self.perform(place, actions);
    }

    /// Somebody says something on the bus.
    pub fn say(&mut self, octets: &[u8]) {
        for place in 0..self.gateways.len() {
            self.at(place, |gateway, now, actions| {
                gateway.bus_message(now, octets, actions);
            });
        }
    }

    fn poll(&mut self, place: usize) {
        let due = self.gateways[place].bench.correspondent.deadline();
        if due.is_some_and(|due| due <= self.now) {
            self.at(place, |gateway, now, actions| gateway.poll(now, actions));
        }
        // What is done in parts takes no time.
        while self.gateways[place].bench.correspondent.judging.is_some() {
            self.at(place, |gateway, now, actions| gateway.poll(now, actions));
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.flying.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, place, octets) in due {
            if self.gateways[place].wired {
                self.at(place, |gateway, now, actions| {
                    gateway.bus_message(now, &octets, actions);
                });
            }
        }
    }

    fn perform(&mut self, place: usize, actions: Actions) {
        for action in actions {
            let reads = matches!(
                action,
                Action::ReadFlows { .. } | Action::ReadRecentFlows { .. }
            );
            self.gateways[place].readings += usize::from(reads);
            match action {
                Action::Publish { to, octets } => self.publish(place, to, &octets),
                Action::Map(action) => self.map(place, action),
                Action::ReadFlows { .. } => {
                    let flows: Vec<_> = self.gateways[place].flows.clone().into_iter().collect();
                    let done = self.now + Duration::from_millis(self.judging);
                    let began = self.now;
                    self.judges.push((done, place, began, flows));
                    self.judge();
                }
                Action::ReadRecentFlows { since: Time::ZERO } => {
                    let done = self.now + Duration::from_millis(self.reading);
                    self.readers.push((done, place));
                }
                Action::ReadRecentFlows { since } => self.read(place, since),
                Action::Notice(notice) => self.gateways[place].notices.push(notice),
                _ => {}
            }
        }
    }

    /// Those that have read all flows judge them.
    fn judge(&mut self) {
        let now = self.now;
        let done = self.judges.extract_if(.., |(at, ..)| *at <= now);
        let done: Vec<_> = done.collect();
        for (_, place, began, flows) in done {
            self.at(place, |gateway, now, actions| {
                gateway.flows(now, began, &Arc::new(flows), actions);
            });
        }
    }

    fn read(&mut self, place: usize, since: Time) {
        let flows = self.gateways[place].flows.clone().into_iter();
        let flows: Vec<_> = flows.filter(|(_, flow)| used(flow) >= since).collect();
        self.at(place, |gateway, now, actions| {
            gateway.recent_flows(now, &flows, actions);
        });
    }

    fn map(&mut self, place: usize, action: MapAction) {
        let gateway = &mut self.gateways[place];
        match action {
            MapAction::SetBinding {
                client,
                anycast,
                care_of,
                expires,
            } => {
                gateway.steers.insert((client, anycast), care_of);
                gateway.until.insert((client, anycast), expires);
            }
            MapAction::SetCareOf {
                client,
                care_of,
                expires,
                ..
            } => {
                gateway.until.insert((client, care_of), expires);
            }
            MapAction::RemoveBinding { client, anycast } => {
                gateway.steers.remove(&(client, anycast));
            }
            MapAction::AdoptFlow { key, flow } => {
                let known = gateway.flows.entry(key).or_insert(flow);
                known.last_out = known.last_out.max(flow.last_out);
                known.last_in = known.last_in.max(flow.last_in);
            }
            MapAction::RemoveFlow { key, flow } => {
                let same =
                    |now: &Flow| (now.pinned_at, now.last_in) == (flow.pinned_at, flow.last_in);
                if gateway.flows.get(&key).is_some_and(same) {
                    gateway.flows.remove(&key);
                }
            }
            MapAction::EndFlow { key, flow } => {
                let same =
                    |now: &Flow| (now.pinned_at, now.care_of) == (flow.pinned_at, flow.care_of);
                if gateway.flows.get(&key).is_some_and(same) {
                    gateway.flows.remove(&key);
                }
            }
            MapAction::OpenFlow { key, care_of } => {
                let unproven = |now: &Flow| now.care_of == care_of.octets() && now.answered == 0;
                if gateway.flows.get(&key).is_some_and(unproven) {
                    gateway.flows.remove(&key);
                }
            }
            _ => {}
        }
    }

    fn publish(&mut self, from: usize, to: Option<u64>, octets: &[u8]) {
        self.recorded.push(octets.to_vec());
        if !self.gateways[from].wired {
            return;
        }
        for place in 0..self.gateways.len() {
            let id = self.gateways[place].bench.correspondent.bus().unwrap().id();
            if place == from || to.is_some_and(|to| to != id) {
                continue;
            }
            let luck = self.rng.next_u32() % 100;
            let copies = match luck {
                luck if luck < self.lost => 0,
                luck if luck < 2 * self.lost => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let delay = self.rng.next_u64() % (self.delay + 1);
                let arrives = self.now + Duration::from_millis(delay);
                self.flying.push((arrives, place, octets.to_vec()));
            }
        }
    }

    /// A handshake of a member with a gateway.
    pub fn tests(&mut self, place: usize) -> Peer {
        let now = self.now;
        self.gateways[place].bench.peer(now)
    }

    /// A Binding Update comes to a gateway.
    pub fn update(&mut self, place: usize, peer: &Peer, sequence: u16) -> Vec<u8> {
        let octets = peer.sealed(peer.good(sequence));
        let now = self.now;
        let output = self.gateways[place].bench.octets(now, &octets);
        self.perform(place, output.actions);
        octets
    }
}

pub fn key(port: u16) -> FlowKey {
    FlowKey {
        client: CLIENT.octets(),
        anycast: ANYCAST.octets(),
        client_port: port.to_be_bytes(),
        service_port: [0, 80],
        protocol: 6,
        reserved: [0; 3],
    }
}

/// When a flow was last in use.
fn used(flow: &Flow) -> Time {
    Time::from_nanos(flow.last_out.max(flow.last_in).max(flow.pinned_at))
}

/// A flow to a member that has answered.
pub fn flow(now: Time, care_of: Ipv6Addr) -> Flow {
    Flow {
        care_of: care_of.octets(),
        pinned_at: now.as_nanos(),
        last_out: now.as_nanos(),
        last_in: now.as_nanos(),
        state: state::BOUND_FIRST,
        tried: 1,
        answered: 1,
        ..Flow::new_zeroed()
    }
}
