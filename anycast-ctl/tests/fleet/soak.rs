//! Many sessions and streams, while gateways come and go and the route does not come to rest.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use xtask::{
    kernel_tests::Suite,
    lab::crowd::Crowd,
    net::{Pace, sysctl, wait},
};

use super::{
    clients::{Streams, with_answers},
    nats::{self, Nats},
    sessions::{ask_until_bound, wait_bound, wait_connected},
    site::{Plan, SOON, Site},
    slow::{self, Slow},
    strangers,
};

const GATEWAYS: usize = 3;
const MEMBERS: usize = 2;
const CLIENTS: u16 = 10;
const SESSIONS: usize = 100;
const STREAMS: usize = 100;
/// 4 KiB each way, four times a second: all of them together, what two processors bear beside the rest.
const BEAT: &str = "beat 250";
/// Between two events, and between two moves of the route.
const EVENTS: Duration = Duration::from_secs(5);
const ROUTES: Duration = Duration::from_secs(3);
/// After which the neighbours of a gateway without power use it no more, as by BFD.
const DETECTED: Duration = Duration::from_millis(300);
/// A stream may be without an answer for so long.
const UNANSWERED: Duration = Duration::from_secs(1);
/// How often there is a look at what is due.
const TICK: Duration = Duration::from_millis(20);
/// Octets that each session exchanges at the end, each way.
const LAST: u64 = 16 << 10;
const END: Duration = Duration::from_secs(30);
/// A daemon answers within this time, and takes so many KiB at most: many times what it takes for so few flows.
const ANSWERS: Duration = Duration::from_secs(2);
const MEMORY: u64 = 256 << 10;
/// In all, with `ANYCAST_LONG` and without.
const LONG: Duration = Duration::from_secs(180);
const SHORT: Duration = Duration::from_secs(16);
/// Another time, and other events in another order.
const SECONDS: &str = "ANYCAST_SOAK_SECONDS";
const SEED: &str = "ANYCAST_SOAK_SEED";

pub fn tests(suite: Suite, is_long: bool) -> Suite {
    let given = std::env::var(SECONDS)
        .ok()
        .and_then(|time| time.parse().ok());
    let time = given.map_or(if is_long { LONG } else { SHORT }, Duration::from_secs);
    let suite = nats::test(
        suite,
        "a hundred sessions and streams outlive gateways that come and go one after the other",
        move || soak(time, Course::default()),
    );
    let suite = nats::test(suite, "without a bus they do not", || {
        let alone = Course {
            alone: true,
            ..Course::default()
        };
        soak(SHORT, alone)
    });
    let behind_hash = Course {
        behind_hash: true,
        ..Course::default()
    };
    let silence = Course {
        silence: true,
        ..Course::default()
    };
    let long = nats::test(
        Suite::new(),
        "the same with members behind a hash of ports",
        move || soak(time, behind_hash),
    );
    let long = nats::test(long, "the same without the bus for a minute", move || {
        soak(time, silence)
    });
    let slow = Course {
        slow: true,
        ..Course::default()
    };
    let long = nats::test(
        long,
        "the same with a slow bus that stalls for a while",
        move || soak(time, slow),
    );
    if is_long {
        suite.and(long)
    } else {
        suite.without(long, "only with ANYCAST_LONG=1")
    }
}

/// What is special about a run.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    /// There is no bus: sessions have to break.
    alone: bool,
    /// B is routed to several members by a hash.
    behind_hash: bool,
    /// The bus is gone for the second third of the time.
    silence: bool,
    /// The way to the bus is slow, and stalls in the second third of the time; and somebody listens and does not read.
    slow: bool,
}

/// How a gateway is out of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    /// Its daemon was killed; its programs go on, and so does the traffic.
    Crashed,
    /// Its power failed.
    Dark,
    /// It was taken out of service.
    Removed,
}

struct Soak {
    site: Site,
    course: Course,
    random: StdRng,
    /// The gateways that traffic passes.
    used: Vec<usize>,
    /// The one that is out of use, and whether its daemon has been started again.
    out: Option<(usize, Out, bool)>,
    start: Instant,
    events: Vec<String>,
    moves: usize,
    slow: Option<Slow>,
    /// Messages that gateways counted as dropped.
    dropped: u64,
}

fn soak(time: Duration, course: Course) -> Result<()> {
    let seed = std::env::var(SEED).map_or(Ok(1), |seed| seed.parse())?;
    let mut site = Site::network(Plan {
        gateways: GATEWAYS,
        members: MEMBERS,
        clients: CLIENTS,
        fleet: Some(match course {
            Course { alone: true, .. } => String::new(),
            Course { slow: true, .. } => slow::servers(),
            Course { .. } => nats::servers(),
        }),
        peers: course.behind_hash,
        ..Plan::default()
    })?;
    let bus = (!course.alone).then(|| Nats::start(&site)).transpose()?;
    let slow = course.slow.then(|| Slow::start(&site)).transpose()?;
    let _deaf = course
        .slow
        .then(|| strangers::listener(&site))
        .transpose()?;
    site.daemons()?;
    let mut soak = Soak {
        site,
        course,
        random: StdRng::seed_from_u64(seed),
        used: (0..GATEWAYS).collect(),
        out: None,
        start: Instant::now(),
        events: Vec::new(),
        moves: 0,
        slow,
        dropped: 0,
    };
    let members = soak.site.members.clone();
    let result = with_answers(&members, || soak.run(time, bus));
    let events = || format!("{SEED}={seed}, {:?}; {}", soak.events, soak.site.logs());
    result.with_context(events)
}

impl Soak {
    fn run(&mut self, time: Duration, mut bus: Option<Nats>) -> Result<()> {
        self.move_route()?;
        let all: Vec<_> = (0..GATEWAYS).collect();
        ask_until_bound(&self.site, if self.course.alone { &[] } else { &all })?;
        let mut crowd = Crowd::start(&self.site.clients, self.site.directory())?;
        for _ in 0..SESSIONS {
            let number = crowd.open()?;
            crowd.first_words(number, SOON)?;
        }
        crowd.tell(BEAT)?;
        if !self.course.alone {
            let known = |place: &usize| wait_bound(&self.site, *place, SESSIONS);
            all.iter().try_for_each(known)?;
        }
        let streams = Streams::begin(&self.site, CLIENTS, STREAMS)?;
        let start = Instant::now();
        let (mut event, mut route) = (start, start);
        let pace = Pace::every(TICK)?;
        while start.elapsed() < time {
            // What is lost, or starts, while there is no bus knows less than the others.
            let middle = third(start, time) == 1;
            let silent = self.course.silence && middle;
            let stalls = self.course.slow && middle && self.out.is_none();
            if silent
                && self.out.is_none()
                && let Some(bus) = bus.take()
            {
                bus.stop()?;
                self.wait_connected(false)?;
            } else if !silent && !self.course.alone && bus.is_none() {
                bus = Some(Nats::start(&self.site)?);
                self.wait_connected(true)?;
            }
            if let Some(slow) = &self.slow {
                slow.stall(stalls);
            }
            if route <= Instant::now() {
                self.move_route()?;
                route += ROUTES;
            }
            if event <= Instant::now() {
                self.happen(silent || stalls)?;
                self.look()?;
                event += EVENTS;
            }
            self.come_back()?;
            let broken = crowd.over();
            match self.course.alone {
                true if !broken.is_empty() => return streams.end().map(drop),
                true => {}
                false => ensure!(broken.is_empty(), "broken: {broken:?}"),
            }
            pace.beat()?;
        }
        ensure!(!self.course.alone, "none broke, and the test shows nothing");
        let streams = streams.end()?;
        ensure!(
            !self.course.slow || self.dropped > 0,
            "nothing was dropped and counted"
        );
        println!(
            "{} events, {} moves: {streams:?}",
            self.events.len(),
            self.moves
        );
        let alive = crowd.exchange(LAST, END)?;
        ensure!(alive == SESSIONS, "{alive} go on: {:?}", crowd.over());
        crowd.tell("finish")?;
        let ends = crowd.ends(END)?;
        let bad = |end: &&Value| end["event"] != "finished";
        let bad: Vec<_> = ends.iter().filter(bad).collect();
        ensure!(bad.is_empty(), "{bad:?}");
        let limit = wait::patience(UNANSWERED);
        ensure!(
            streams.longest <= limit,
            "a stream was without an answer for too long: {streams:?}"
        );
        Ok(())
    }

    /// No daemon is held up or grows, whatever becomes of the bus.
    fn look(&mut self) -> Result<()> {
        for place in self.used.clone() {
            if self.out.is_some_and(|(out, ..)| out == place) {
                continue;
            }
            let start = Instant::now();
            let fleet = self.site.gateway(place)?.ask("fleet");
            let took = start.elapsed();
            ensure!(
                took < wait::patience(ANSWERS),
                "gateway {place} answers after {took:?}"
            );
            if let Ok(fleet) = fleet {
                let count = |name: &str| fleet[name].as_u64().unwrap_or_default();
                self.dropped = self.dropped.max(count("unsent") + count("untaken"));
                ensure!(count("backlog") < 4096, "gateway {place}: {fleet}");
            }
            let process = self.site.gateway_mut(place)?.process().id();
            let memory = resident(process)?;
            ensure!(memory < MEMORY, "gateway {place} takes {memory} KiB");
        }
        Ok(())
    }

    fn wait_connected(&self, is: bool) -> Result<()> {
        let running = self.used.iter();
        let mut running = running.filter(|place| self.out.is_none_or(|(out, ..)| out != **place));
        running.try_for_each(|place| wait_connected(&self.site, *place, is))
    }

    fn move_route(&mut self) -> Result<()> {
        self.moves += 1;
        let members = match (self.course.behind_hash, self.moves % 3) {
            (true, 0) => vec![0, 1],
            _ => vec![self.moves % MEMBERS],
        };
        self.site.route_over(&members)
    }

    /// The next event: a gateway goes out of use, or the one that is comes back.
    fn happen(&mut self, only_ways: bool) -> Result<()> {
        if let Some((place, out, begun)) = self.out {
            if !begun {
                self.note(format!("{place} starts"));
                self.site.begin_gateway(place)?;
                self.out = Some((place, out, true));
            }
            return Ok(());
        }
        let place = self.random.random_range(0..GATEWAYS);
        let others: Vec<_> = (0..GATEWAYS).filter(|other| *other != place).collect();
        match self.random.random_range(0..6) {
            0 | 1 if !only_ways => {
                self.note(format!("{place} crashes"));
                self.site.take_gateway(place)?.kill()?;
                self.out = Some((place, Out::Crashed, false));
            }
            2 | 3 if !only_ways => {
                self.note(format!("{place} has no power"));
                // Nothing passes it from now on.
                self.forwards(place, "0")?;
                self.site.take_gateway(place)?.kill()?;
                // What is tested is a way that is dead for so long.
                Pace::every(DETECTED)?.beat()?;
                self.use_gateways(others)?;
                self.site.forget_gateway(place)?;
                self.forwards(place, "1")?;
                self.out = Some((place, Out::Dark, false));
            }
            4 if !only_ways => {
                self.note(format!("{place} is taken out of service"));
                self.use_gateways(others)?;
                self.site.take_gateway(place)?.end()?;
                self.site.forget_gateway(place)?;
                self.out = Some((place, Out::Removed, false));
            }
            _ => {
                self.note(format!("packets go out by {place} and come back by others"));
                self.site.ways(&[place], &others)?;
            }
        }
        Ok(())
    }

    fn forwards(&self, place: usize, value: &str) -> Result<()> {
        let value = [("ipv6/conf/all/forwarding", value)];
        sysctl::set(&self.site.gateways[place], &value)
    }

    /// A gateway that was started again is used when it is ready.
    fn come_back(&mut self) -> Result<()> {
        let Some((place, _, true)) = self.out else {
            return Ok(());
        };
        if self.site.gateway_mut(place)?.is_ready()? {
            self.note(format!("{place} is ready"));
            self.out = None;
            self.use_gateways((0..GATEWAYS).collect())?;
        }
        Ok(())
    }

    fn use_gateways(&mut self, gateways: Vec<usize>) -> Result<()> {
        self.used = gateways;
        self.site.spread(&self.used)
    }

    fn note(&mut self, event: String) {
        let at = self.start.elapsed().as_secs_f32();
        self.events.push(format!("{at:.1}: {event}"));
    }
}

/// Memory of a process that is in use, in KiB.
fn resident(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse()?)
}

/// Which third of the time it is.
fn third(start: Instant, time: Duration) -> u32 {
    let part = start.elapsed().as_secs_f32() / time.as_secs_f32();
    if part < 1.0 / 3.0 {
        0
    } else if part < 2.0 / 3.0 {
        1
    } else {
        2
    }
}
