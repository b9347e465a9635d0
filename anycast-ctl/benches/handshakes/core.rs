//! The machines alone, in virtual time: raw packets in, actions out.

use std::{
    hint::black_box,
    net::Ipv6Addr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anycast_common::{
    abi::event::kind,
    wire::{ipv6::Packet, mobility},
};
use anycast_ctl::core::{
    Action, Actions, MapAction, Received, Time,
    controller::{Command, Controller, Input, Settings},
    correspondent::{self, Selection},
    fleet, flows, member,
    rate::Rate,
    rr::{self, Generator, Kbm, Kcn, Nonce},
};
use anyhow::Result;
use rand::SeedableRng as _;

use super::{
    common::{median, rate, timed},
    ends::{B, C, CLIENTS, client},
    report,
};

/// As many as fit a processor's caches, and many more.
const COUNTS: [usize; 2] = [5000, 50_000];
/// Names of the rows of updates with so many.
const NAMES: [&str; 2] = [
    "Binding Updates, 5,000 clients",
    "Binding Updates, 50,000 clients",
];
const ROUNDS: u32 = 7;
const PAGE: usize = 1000;
/// Packets of a turn of a daemon's loop.
const TURN: usize = 64;
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
    let mut bare = Vec::new();
    for round in 1..=ROUNDS {
        let now = Time::ZERO + APART * round;
        for end in [&mut member, &mut correspondent] {
            end.poll(now, &mut Vec::new());
        }
        let mut inits = Vec::with_capacity(2 * count);
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
        let updates = packets(updates);
        let (acks, took) = step(&mut correspondent, now, &updates);
        times[3].push(took);
        let is_binding =
            |action: &&Action| matches!(action, Action::Map(MapAction::SetBinding { .. }));
        let bound = acks.iter().filter(is_binding).count();
        let acks = packets(acks);
        bare.push(bare_cryptography(&updates, &acks));
        let (rest, took) = step(&mut member, now, &acks);
        times[4].push(took);
        assert_eq!((bound, packets(rest).len()), (count, 0), "all are bound");
    }
    let ratios = bare.iter().zip(&times[3]).map(|(bare, updates)| {
        let [bare, updates] = [bare, updates].map(Duration::as_secs_f64);
        bare / updates
    });
    let to_bare = report::note(NAMES[usize::from(count == COUNTS[1])], ratios.collect());
    let bare = median(bare);
    let [start, inits, tests, updates, acks] = times.map(median);
    println!(
        "  correspondent: {:.0}k Binding Updates/s verified and acknowledged, {:.0}k pairs of \
         Test Inits/s answered, {:.0}k whole handshakes/s",
        rate(count, updates),
        rate(count, inits),
        rate(count, inits + updates)
    );
    println!(
        "  the bare cryptography of a Binding Update and its acknowledgement: {:.0}k/s, of which the correspondent's \
         updates are {:.2}",
        rate(count, bare),
        to_bare
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

/// What no implementation does without: both keygen tokens, the key, and the authenticators of the update and of its
/// acknowledgement, over the octets of these packets. Nothing is parsed, looked up or kept.
fn bare_cryptography(updates: &[Vec<u8>], acks: &[Vec<u8>]) -> Duration {
    let mut rng = Generator::seed_from_u64(3);
    let (key, nonce) = (Kcn::generate(&mut rng), Nonce::generate(&mut rng));
    let covered = |packets: &[Vec<u8>]| -> Vec<_> {
        let of_one = |packet: &Vec<u8>| {
            let packet = Packet::parse(packet).unwrap();
            let [before, checksum, after] = mobility::authenticated(&packet).unwrap().chunks;
            [before, checksum, after].concat()
        };
        packets.iter().map(of_one).collect()
    };
    let pairs: Vec<_> = covered(updates).into_iter().zip(covered(acks)).collect();
    timed(|| {
        for (number, (update, ack)) in pairs.iter().enumerate() {
            let client = client(number);
            let home = rr::home_keygen_token(&key, &nonce, B, client);
            let care_of = rr::care_of_keygen_token(&key, &nonce, C, client);
            let key = Kbm::binding(&home, &care_of);
            for message in [update, ack] {
                black_box(key.authenticator(C, client, &[message, &[], &[]]));
            }
        }
    })
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

/// Gives an end the packets of the other, as many at a time as a daemon reads. What becomes of its actions is not
/// timed, and nor is a list of those of all packets, which no daemon has.
pub fn step(end: &mut Controller, now: Time, packets: &[Vec<u8>]) -> (Actions, Duration) {
    let (mut all, mut took) = (Actions::new(), Duration::ZERO);
    let mut actions = Actions::new();
    for turn in packets.chunks(TURN) {
        took += timed(|| {
            for packet in turn {
                let received = Received {
                    ifindex: 2,
                    mac: [2, 0, 0, 0, 0, 1],
                    packet,
                };
                let kind = kind::MOBILITY;
                end.handle(now, Input::Packet { kind, received }, &mut actions);
            }
        });
        all.append(&mut actions);
    }
    (all, took)
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
