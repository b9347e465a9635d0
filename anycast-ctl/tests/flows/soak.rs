//! Whatever happens to a network, in any order: no session ends with us that plain anycast would have kept. Two equal
//! networks bear the same, and one of them is without us.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::{kernel_tests::Suite, net::Weather};

use super::{
    sessions::Sessions,
    site::{Mode, Plan, Settings, Site},
};

const MEMBERS: usize = 4;
const SESSIONS: u16 = 12;
const FIRST_PORT: u16 = 20_000;
/// What happens while a set of sessions lives.
const EVENTS: usize = 5;
/// After each, every session that lives exchanges data, for so long at least.
const REST: Duration = Duration::from_millis(300);
/// In all, unless a variable of the environment says so many seconds.
const TIME: Duration = Duration::from_secs(25);
pub const SECONDS: &str = "ANYCAST_SOAK_SECONDS";
const SEED: &str = "ANYCAST_SOAK_SEED";

pub fn tests(mut suite: Suite) -> Suite {
    for (mode, seed) in [(Mode::Native, 1), (Mode::Tcx, 2)] {
        let name = format!(
            "random events end no session that plain anycast keeps, {}",
            mode.name()
        );
        suite = suite.test(name, move || {
            let seed = variable(SEED)?.unwrap_or(seed);
            let time = variable(SECONDS)?.map_or(TIME, Duration::from_secs);
            soak(mode, seed, time).with_context(|| format!("{SEED}={seed}"))
        });
    }
    suite
}

/// A number of the environment, for what takes long.
pub fn variable(name: &str) -> Result<Option<u64>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value.parse().with_context(|| name.to_owned())?)),
        Err(_) => Ok(None),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}

/// What may happen.
#[derive(Clone, Debug)]
enum Event {
    /// B is routed to other members.
    Route(Vec<usize>),
    /// The router hashes otherwise, as after a restart of it.
    Seed(u32),
    /// The wire between gateway and router becomes bad, or good.
    Wire(Weather),
    /// A daemon crashes, and the next one starts; what it left in the kernel is forgotten, or not.
    Restart(&'static str, bool),
    /// Nothing.
    Calm,
}

impl Event {
    fn random(random: &mut Random) -> Self {
        let mut number = |bound: u8| -> u8 {
            let below = random.below(bound.into()).to_le_bytes();
            below[0]
        };
        match number(10) {
            0..3 => {
                let chosen = (0..MEMBERS).filter(|_| number(2) == 0);
                let chosen: Vec<_> = chosen.collect();
                if chosen.is_empty() {
                    return Self::Route((0..MEMBERS).collect());
                }
                Self::Route(chosen)
            }
            3 => Self::Seed(number(255).into()),
            4..6 => Self::Wire(Weather {
                lost: number(20),
                doubled: number(30),
                late: number(50),
            }),
            6 => Self::Wire(Weather::default()),
            7 => Self::Restart("gateway", number(2) == 0),
            8 => {
                let member = ["s1", "s2", "s3", "s4"][usize::from(number(4))];
                Self::Restart(member, number(2) == 0)
            }
            _ => Self::Calm,
        }
    }

    fn happen(&self, site: &mut Site) -> Result<()> {
        match self {
            Self::Route(members) => site.route(members),
            Self::Seed(seed) => site.seed(*seed),
            Self::Wire(weather) => {
                let wire = site.wire.as_ref().context("no bad wire")?;
                wire.turn(*weather);
                Ok(())
            }
            Self::Restart(node, forget) => match site.plan.mode {
                Some(_) => site.restart(node, *forget),
                None => Ok(()),
            },
            Self::Calm => Ok(()),
        }
    }
}

/// Both networks at the same time.
fn both<T: Send, R: Send>(
    [ours, plain]: [T; 2],
    body: impl Fn(T) -> Result<R> + Sync,
) -> Result<[R; 2]> {
    thread::scope(|scope| {
        let other = scope.spawn(|| body(plain));
        let ours = body(ours);
        let plain = other.join().unwrap_or_else(|_| bail!("it panicked"));
        Ok([ours?, plain.context("without us")?])
    })
}

#[derive(Debug, Default)]
struct Tally {
    sessions: usize,
    kept: usize,
    by_plain: usize,
    bound: usize,
    events: usize,
}

fn soak(mode: Mode, seed: u64, time: Duration) -> Result<()> {
    let mut random = Random(seed);
    // What a thread has started ends with it: so they are made by this one.
    let make = |mode| {
        let settings = Settings {
            seed: Some(seed),
            ..Settings::default()
        };
        Site::with(Plan::new(MEMBERS, mode), settings)
    };
    let mut sites = [make(Some(mode))?, make(None)?];
    // In both, a port leads to the same member, as long as nothing is bound.
    let (start, mut port, mut tally) = (Instant::now(), FIRST_PORT, Tally::default());
    while start.elapsed() < time {
        let ports: Vec<_> = (port..port + SESSIONS).collect();
        port = if port > 60_000 {
            FIRST_PORT
        } else {
            port + SESSIONS
        };
        let events: Vec<_> = (0..EVENTS).map(|_| Event::random(&mut random)).collect();
        let told = set(&mut sites, &ports, &events, &mut tally);
        told.with_context(|| format!("{events:?}; {}", sites[0].logs()))?;
    }
    println!("{SEED}={seed}: {tally:?} in {:?}", start.elapsed());
    // Otherwise nothing has been shown.
    ensure!(
        tally.by_plain < tally.sessions,
        "nothing happened to anybody"
    );
    ensure!(
        tally.bound * 2 > tally.sessions,
        "few were ever bound: {tally:?}"
    );
    Ok(())
}

/// A set of sessions from its beginning to its end.
fn set(sites: &mut [Site; 2], ports: &[u16], events: &[Event], tally: &mut Tally) -> Result<()> {
    let ended = both(sites.each_mut(), |site| {
        let start = Event::Route((0..MEMBERS).collect());
        for event in [start, Event::Seed(1), Event::Wire(Weather::default())] {
            event.happen(site)?;
        }
        let mut sessions = Sessions::from_ports(site, ports)?;
        let members: Vec<_> = sessions.all.iter().map(|session| session.member).collect();
        sessions.exchange(REST)?;
        let bound = match site.plan.mode {
            Some(_) => sessions.bound(site)?.0,
            None => 0,
        };
        for event in events {
            event.happen(site)?;
            sessions.exchange(REST)?;
        }
        let ends = sessions.finish()?;
        let broken = ends
            .broken
            .iter()
            .map(|(port, _)| *port)
            .collect::<Vec<_>>();
        Ok((members, broken, ends, bound))
    })?;
    let [(ours, broken, ends, bound), (plain, broken_by_plain, _, _)] = ended;
    // A gateway that forgets a flow sends it where routing does. Those that a binding has led elsewhere from their
    // beginning are with another member then.
    let forgets = events
        .iter()
        .any(|event| matches!(event, Event::Restart("gateway", true)));
    let led = ports.iter().zip(ours.iter().zip(&plain));
    let led: Vec<_> = led
        .filter(|(_, (ours, plain))| forgets && ours.is_some() && ours != plain)
        .map(|(port, _)| *port)
        .collect();
    tally.sessions += ports.len();
    tally.kept += ports.len() - broken.len();
    tally.by_plain += ports.len() - broken_by_plain.len();
    tally.bound += bound;
    tally.events += events.len();
    let excused = |port: &u16| broken_by_plain.contains(port) || led.contains(port);
    let worse = broken.iter().find(|port| !excused(port));
    ensure!(
        worse.is_none(),
        "{worse:?} was kept by plain anycast: with us {:?} are broken, without us {broken_by_plain:?}",
        ends.broken,
    );
    Ok(())
}
