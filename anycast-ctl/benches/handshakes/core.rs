//! The machines alone, in virtual time: raw packets in, actions out.

use std::{
    net::Ipv6Addr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anycast_common::{abi::event::kind, wire::ipv6::Packet};
use anycast_ctl::core::{
    Action, Actions, MapAction, Received, Time,
    controller::{Command, Controller, Input, Settings},
    correspondent::{self, Selection},
    fleet, flows, member,
    rate::Rate,
    rr::Generator,
};
use anyhow::Result;
use rand::SeedableRng as _;

use super::{
    common::{median, rate, timed},
    ends::{B, C, CLIENTS, client},
};

/// As many as fit a processor's caches, and many more.
const COUNTS: [usize; 2] = [5000, 50_000];
const ROUNDS: u32 = 7;
const PAGE: usize = 1000;
/// A binding of the round before has run out.
const APART: Duration = Duration::from_secs(20);

static RNG: AtomicU64 = AtomicU64::new(2);

pub fn run() -> Result<()> {
    for count in COUNTS {
        clients(count);
    }
    Ok(())
}

fn clients(count: usize) {
    println!("core: {count} clients, each bound {ROUNDS} times; medians, on one core");
    let mut member = member(count);
    let mut correspondent = correspondent(Time::ZERO, count, None);
    let mut times: [Vec<Duration>; 5] = Default::default();
    for round in 1..=ROUNDS {
        let now = Time::ZERO + APART * round;
        for end in [&mut member, &mut correspondent] {
            end.poll(now, &mut Vec::new());
        }
        let mut inits = Vec::new();
        times[0].push(timed(|| {
            for number in 0..count {
                let (client, anycast) = (client(number), B);
                let input = Input::NewClient { client, anycast };
                member.handle(now, input, &mut inits);
            }
        }));
        let (tests, took) = step(&mut correspondent, now, &packets(inits));
        times[1].push(took);
        let (updates, took) = step(&mut member, now, &packets(tests));
        times[2].push(took);
        let (acks, took) = step(&mut correspondent, now, &packets(updates));
        times[3].push(took);
        let is_binding =
            |action: &&Action| matches!(action, Action::Map(MapAction::SetBinding { .. }));
        let bound = acks.iter().filter(is_binding).count();
        let (rest, took) = step(&mut member, now, &packets(acks));
        times[4].push(took);
        assert_eq!((bound, packets(rest).len()), (count, 0), "all are bound");
    }
    let [start, inits, tests, updates, acks] = times.map(median);
    println!(
        "  correspondent: {:.0}k Binding Updates/s verified and acknowledged, {:.0}k pairs of \
         Test Inits/s answered, {:.0}k whole handshakes/s",
        rate(count, updates),
        rate(count, inits),
        rate(count, inits + updates)
    );
    println!(
        "  member: {:.0}k whole handshakes/s ({:.0}k begun, {:.0}k pairs of tests, {:.0}k \
         acknowledgements)",
        rate(count, start + tests + acks),
        rate(count, start),
        rate(count, tests),
        rate(count, acks)
    );
    views(count, &member, &correspondent);
}

/// The longest that a page holds up a daemon's loop.
fn views(count: usize, member: &Controller, correspondent: &Controller) {
    let now = Time::ZERO + APART * ROUNDS;
    let (member, correspondent) = (
        member.member().unwrap(),
        correspondent.correspondent().unwrap(),
    );
    let bindings = pages(count, |after| {
        let (page, next) = correspondent.bindings_page(now, &Selection::default(), after, PAGE);
        (page.len(), next)
    });
    let handshakes = pages(count, |after| {
        let (page, next) =
            member.handshakes_page(now, member::HandshakeFilter::default(), after, PAGE);
        (page.len(), next)
    });
    println!("  slowest page of {PAGE}: bindings {bindings:.1?}, handshakes {handshakes:.1?}");
}

fn pages<P>(count: usize, mut page: impl FnMut(Option<P>) -> (usize, Option<P>)) -> Duration {
    let (mut rows, mut slowest, mut after) = (0, Duration::ZERO, None);
    loop {
        let mut found = (0, None);
        slowest = slowest.max(timed(|| found = page(after.take())));
        rows += found.0;
        after = found.1;
        if after.is_none() {
            assert_eq!(rows, count);
            return slowest;
        }
    }
}

/// A member that all may ask.
pub fn member(count: usize) -> Controller {
    let unlimited = Rate::UNLIMITED;
    let group = member::GroupSettings {
        anycast: B,
        care_of: Some(C),
        peers: member::Peers::default(),
        interfaces: Vec::new(),
        health: None,
    };
    let settings = Settings {
        member: Some(member::Settings {
            groups: vec![group],
            listener: member::ListenerTimers::default(),
            handshake: member::HandshakeSettings {
                per_client: unlimited,
                per_prefix: unlimited,
                whole: unlimited,
                max_clients: count,
                ..member::HandshakeSettings::default()
            },
        }),
        ..Settings::default()
    };
    let mut member = Controller::new(settings, Time::ZERO, Generator::seed_from_u64(1));
    let join = Command::Join { anycast: B };
    member.command(Time::ZERO, join, &mut Vec::new()).unwrap();
    member
}

/// A gateway for so many clients, that starts now.
pub fn correspondent(now: Time, count: usize, fleet: Option<fleet::Settings>) -> Controller {
    let unlimited = Rate::UNLIMITED;
    let settings = Settings {
        correspondent: Some(correspondent::Settings {
            client_prefixes: vec![CLIENTS.parse().unwrap()],
            max_bindings: count,
            max_per_prefix: count,
            max_per_member: count,
            max_care_of: count,
            allow: Vec::new(),
            limits: correspondent::Limits {
                whole: unlimited,
                per_prefix: unlimited,
                ..correspondent::Limits::default()
            },
            flows: flows::Limits::default(),
            fleet,
        }),
        ..Settings::default()
    };
    // Each gateway of a fleet has luck of its own.
    let seed = RNG.fetch_add(1, Ordering::Relaxed);
    Controller::new(settings, now, Generator::seed_from_u64(seed))
}

/// Gives an end the packets of the other.
pub fn step(end: &mut Controller, now: Time, packets: &[Vec<u8>]) -> (Actions, Duration) {
    let mut actions = Actions::new();
    let took = timed(|| {
        for packet in packets {
            let received = Received {
                ifindex: 2,
                mac: [2, 0, 0, 0, 0, 1],
                packet,
            };
            let kind = kind::MOBILITY;
            end.handle(now, Input::Packet { kind, received }, &mut actions);
        }
    });
    (actions, took)
}

/// The packets among the actions.
pub fn packets(actions: Actions) -> Vec<Vec<u8>> {
    let packet = |action| match action {
        Action::Send { packet, .. } => Some(packet),
        _ => None,
    };
    let of_us = |packet: &Vec<u8>| {
        let packet = Packet::parse(packet).unwrap();
        let ends: [Ipv6Addr; 2] = [packet.source, packet.destination];
        ends.iter().any(|end| [B, C].contains(end))
    };
    actions
        .into_iter()
        .filter_map(packet)
        .filter(of_us)
        .collect()
}
