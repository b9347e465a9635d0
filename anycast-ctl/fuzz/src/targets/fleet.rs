//! The messages of a fleet: what a gateway takes, and what it makes of it.

use std::time::Duration;

use anycast_ctl::core::{
    Action, Actions, Time,
    counters::{Counter, Counters},
    fleet::{Bus, End, News, Pins, Secret},
    rr::Generator,
};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::SeedableRng as _;
use sha2::Sha256;

const OCTETS: [u8; 33] = *b"every gateway of a fleet knows it";
const TAG: usize = 16;
const SENDER: u64 = 0x5e4d;
const HEARTBEAT: u8 = 2;
const NOW: Time = Time::from_nanos(3_600_000_000_000);

/// `octets` are a message as it is, and messages of a gateway that knows the secret: each a kind, a length of 16 bits,
/// and a body.
pub fn fleet(octets: &[u8]) {
    stranger(octets);
    let (mut bus, mut sequence) = (gateway(1), 1);
    prove(&mut bus, sequence);
    let mut rest = octets;
    while let [kind, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (body, after) = more.split_at(length);
        rest = after;
        sequence += 1;
        member(&mut bus, &sealed(*kind, sequence, body));
    }
}

fn secret() -> Secret {
    Secret::new(&OCTETS).expect("a secret")
}

fn gateway(seed: u64) -> Bus {
    let rng = Generator::seed_from_u64(seed);
    let mut bus = Bus::new([&secret()], format!("g{seed}"), NOW, rng);
    bus.clock(NOW, Duration::from_secs(1_800_000_000));
    bus.connected(NOW, true);
    bus
}

/// Whoever has no secret is not taken for a gateway.
fn stranger(octets: &[u8]) {
    let (mut counters, mut actions) = (Counters::default(), Actions::new());
    match gateway(1).receive(NOW, octets, &mut counters, &mut actions) {
        News::None => {}
        other => panic!("{other:?} of a stranger"),
    }
    assert_eq!(counters.get(Counter::FleetMessageAccepted), 0);
    let said = |action: &Action| matches!(action, Action::Publish { .. });
    assert!(!actions.iter().any(said), "it answers a stranger");
}

/// The gateway hears its challenge from the sender of what follows.
fn prove(bus: &mut Bus, sequence: u64) {
    let mut actions = Actions::new();
    bus.poll(NOW, &mut actions);
    let heartbeat = actions.into_iter().find_map(|action| match action {
        Action::Publish { octets, .. } => Some(octets),
        _ => None,
    });
    let heartbeat = heartbeat.expect("it begins with one");
    let body = &heartbeat[HEADER..heartbeat.len() - TAG];
    let after_name = 1 + usize::from(body[0]) + 1 + 4 + 4;
    let challenge = &body[after_name..after_name + 8];
    let echo = [&bus.id().to_be_bytes(), challenge].concat();
    let answer = [&b"\x01s\x01\0\0\0\0\0\0\0\0challeng\x01"[..], &echo].concat();
    let (mut counters, mut actions) = (Counters::default(), Actions::new());
    let answer = sealed(HEARTBEAT, sequence, &answer);
    bus.receive(NOW, &answer, &mut counters, &mut actions);
    assert_eq!(counters.get(Counter::FleetMessageAccepted), 1);
}

/// A message is taken once at most, and what it says can be told to another gateway, which understands the same.
fn member(bus: &mut Bus, message: &[u8]) {
    let (mut counters, mut actions) = (Counters::default(), Actions::new());
    let news = bus.receive(NOW, message, &mut counters, &mut actions);
    match &news {
        News::Pins(pins) => told_on(pins),
        News::Ends(ends) => ends.iter().for_each(|(at, end)| ended(*at, end)),
        News::Update(packet) => assert_eq!(*packet, &message[HEADER..message.len() - TAG]),
        // Nobody has asked for any.
        News::Snapshot { .. } => panic!("{news:?}"),
        News::None | News::Wanted | News::Back(_) => {}
    }
    let (mut again, mut actions) = (Counters::default(), Actions::new());
    let news = bus.receive(NOW, message, &mut again, &mut actions);
    assert_eq!(news, News::None);
    assert_eq!(again.get(Counter::FleetMessageAccepted), 0);
}

fn told_on(pins: &[Pins]) {
    let mut actions = Actions::new();
    gateway(2).pins(NOW, pins.iter().cloned(), &mut actions);
    let mut heard = Vec::new();
    for action in actions {
        let Action::Publish { octets, .. } = action else {
            panic!("{action:?}");
        };
        let mut third = gateway(3);
        prove(&mut third, 1);
        let body = &octets[HEADER..octets.len() - TAG];
        let resealed = sealed(octets[1], 2, body);
        let (mut counters, mut actions) = (Counters::default(), Actions::new());
        match third.receive(NOW, &resealed, &mut counters, &mut actions) {
            News::Pins(pins) => heard.extend(pins),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, pins);
}

fn ended(at: Time, end: &End) {
    let mut actions = Actions::new();
    gateway(2).ends(NOW, &[(at, *end)], &mut actions);
    let [Action::Publish { octets, .. }] = &actions[..] else {
        panic!("{actions:?}");
    };
    let body = &octets[HEADER..octets.len() - TAG];
    let mut third = gateway(3);
    prove(&mut third, 1);
    let (mut counters, mut actions) = (Counters::default(), Actions::new());
    let resealed = sealed(octets[1], 2, body);
    let news = third.receive(NOW, &resealed, &mut counters, &mut actions);
    assert_eq!(news, News::Ends(vec![(at, *end)]));
}

/// Version, kind, fingerprint, sender, recipient, sequence number and time of day.
const HEADER: usize = 1 + 1 + 4 + 4 * 8;

/// What a gateway with the secret says, by the words of the protocol's description.
fn sealed(kind: u8, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![1, kind];
    octets.extend(secret().fingerprint());
    for number in [SENDER, 0, sequence, 1_800_000_000_000] {
        octets.extend(number.to_be_bytes());
    }
    octets.extend(body);
    let mut key = [0; 32];
    let derived = Hkdf::<Sha256>::new(Some(b"anycast fleet 1"), &OCTETS).expand(b"bus", &mut key);
    derived.expect("32 octets are not too many");
    let key = Hmac::<Sha256>::new_from_slice(&key).expect("any key");
    let tag = key.chain_update(&octets).finalize().into_bytes();
    octets.extend(&tag[..TAG]);
    octets
}
