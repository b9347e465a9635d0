//! Messages of a fleet, and which of them a gateway takes.

#![allow(clippy::unwrap_used, reason = "a test may abort")]

mod gateways;
mod places;
mod told;

use std::time::Duration;

use anycast_common::abi::maps::{Flow, FlowKey, state};
use proptest::prelude::*;
use rand::SeedableRng as _;
use zerocopy::FromZeros as _;

use super::{
    ends::{read_ends, write_end},
    message::{Heartbeat, read_pins, write_pins},
    peers::{Peers, Unwanted},
    published::Published,
    seal::{Keys, Opened, TAG, Unopened, kind},
    *,
};
use crate::core::{Action, Time, rr::Generator};

const HOUR: Duration = Duration::from_secs(3600);

fn secret(number: u8) -> Secret {
    let octets: [u8; 32] = std::array::from_fn(|index| number ^ index.to_le_bytes()[0]);
    Secret::new(&octets).unwrap()
}

fn at(milliseconds: u64) -> Time {
    Time::ZERO + HOUR + Duration::from_millis(milliseconds)
}

fn key(port: u16) -> FlowKey {
    FlowKey {
        client: [1; 16],
        anycast: [2; 16],
        client_port: port.to_be_bytes(),
        service_port: [0, 80],
        protocol: 6,
        reserved: [0; 3],
    }
}

fn flow(now: Time) -> Flow {
    Flow {
        care_of: [3; 16],
        pinned_at: now.as_nanos(),
        last_out: now.as_nanos(),
        state: state::BOUND_FIRST,
        tried: 1,
        ..Flow::new_zeroed()
    }
}

fn message(body: &[u8]) -> Opened<'_> {
    Opened {
        kind: kind::ENDS,
        sender: 7,
        to: 8,
        sequence: 9,
        unix: HOUR,
        body,
    }
}

#[test]
fn a_message_that_was_changed_anywhere_is_forged_or_not_ours() {
    let keys = Keys::new([&secret(1)]);
    let sealed = keys.seal(&message(b"what has ended"));
    assert_eq!(keys.open(&sealed), Ok(message(b"what has ended")));
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        let unopened = keys.open(&changed).unwrap_err();
        match place {
            0 => assert_eq!(unopened, Unopened::Malformed),
            2..6 => assert!(matches!(unopened, Unopened::OtherSecret { .. })),
            _ => assert_eq!(unopened, Unopened::Forged, "octet {place}"),
        }
        assert!(keys.open(&sealed[..place]).is_err(), "{place} octets");
    }
    assert!(keys.open(&[&sealed[..], &[0]].concat()).is_err());
}

/// By another implementation: `openssl mac -digest SHA256 -macopt hexkey:KEY HMAC`, with the key that `openssl kdf`
/// derives as the test of the secret says, with the label `bus`.
#[test]
fn the_authenticator_is_that_of_another_implementation() {
    let octets: [u8; 32] = std::array::from_fn(|index| index.to_le_bytes()[0]);
    let keys = Keys::new([&Secret::new(&octets).unwrap()]);
    let sealed = keys.seal(&message(b"x"));
    let tag = &sealed[sealed.len() - TAG..];
    let hex: String = tag.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(hex, "fdb1e4c416db52f5167184cf8c9700f3");
}

#[test]
fn two_secrets_are_accepted_and_the_first_is_used() {
    let (old, new) = (secret(1), secret(2));
    let sealed = Keys::new([&new, &old]).seal(&message(b""));
    assert!(Keys::new([&old, &new]).open(&sealed).is_ok());
    assert!(matches!(
        Keys::new([&old]).open(&sealed),
        Err(Unopened::OtherSecret { fingerprint, .. }) if fingerprint == new.fingerprint()
    ));
}

#[test]
fn flows_come_over_as_they_are_with_ages_for_times() {
    let now = at(0);
    let before = |time: u64| now.before(Duration::from_millis(time)).as_nanos();
    let known = Flow {
        last_out: before(250),
        last_in: before(40),
        client_closed: 3,
        member_closed: 1,
        tried_sequence: 5,
        client_next: 6,
        member_next: 7,
        answered: 1,
        ..flow(now)
    };
    let pins = Pins {
        client: key(1).client.into(),
        anycast: key(1).anycast.into(),
        care_of: known.care_of.into(),
        remaining: Duration::from_secs(3),
        sequence: 12,
        flows: vec![(key(1), known), (key(2), flow(now))],
    };
    let mut body = Vec::new();
    write_pins(now, &pins, &mut body);
    write_pins(now, &pins, &mut body);
    // Where they are read, another clock runs.
    let later = now + HOUR;
    let mut there = pins;
    for (_, flow) in &mut there.flows {
        for time in [&mut flow.last_out, &mut flow.last_in] {
            if *time != 0 {
                *time += u64::try_from(HOUR.as_nanos()).unwrap();
            }
        }
        flow.pinned_at = flow.last_out.max(flow.last_in);
    }
    assert_eq!(read_pins(later, &body), Some(vec![there.clone(), there]));
    let cut = (1..body.len()).filter(|length| *length != body.len() / 2);
    for length in cut {
        assert_eq!(read_pins(later, &body[..length]), None, "{length}");
    }
}

#[test]
fn what_is_older_than_the_clock_is_told_on_as_it_was_heard() {
    let now = at(0);
    let begin = Flow {
        last_out: 1,
        last_in: 1,
        pinned_at: 1,
        ..flow(now)
    };
    let pins = Pins {
        client: key(1).client.into(),
        anycast: key(1).anycast.into(),
        care_of: begin.care_of.into(),
        remaining: Duration::ZERO,
        sequence: 0,
        flows: vec![(key(1), begin)],
    };
    let mut body = Vec::new();
    write_pins(now, &pins, &mut body);
    assert_eq!(read_pins(now, &body), Some(vec![pins]));
}

/// A proxy or resolver is one client with many flows. A server of NATS refuses what is longer than a mebibyte.
#[test]
fn a_client_with_very_many_flows_fits_into_messages_of_the_bus() {
    let now = at(0);
    let udp = |port| FlowKey {
        protocol: 17,
        ..key(port)
    };
    let keys = (0..=u16::MAX).flat_map(|port| [key(port), udp(port)]);
    let pins = Pins {
        client: key(1).client.into(),
        anycast: key(1).anycast.into(),
        care_of: flow(now).care_of.into(),
        remaining: Duration::ZERO,
        sequence: 12,
        flows: keys.map(|key| (key, flow(now))).collect(),
    };
    let mut bus = Bus::new(
        [&secret(1)],
        "g".to_owned(),
        now,
        Generator::seed_from_u64(1),
    );
    let mut actions = Vec::new();
    bus.pins(now, [pins.clone()].into_iter(), &mut actions);
    let mut told = Vec::new();
    for action in actions {
        let Action::Publish { octets, .. } = action else {
            panic!("{action:?}");
        };
        assert!(octets.len() < 64 << 10, "{}", octets.len());
        let opened = Keys::new([&secret(1)]).open(&octets).unwrap().body.to_vec();
        for part in read_pins(now, &opened).unwrap() {
            assert_eq!((part.client, part.sequence), (pins.client, 12));
            told.extend(part.flows.into_iter().map(|(key, _)| key));
        }
    }
    let all: Vec<_> = pins.flows.iter().map(|(key, _)| *key).collect();
    assert!(told == all, "{} of {}", told.len(), all.len());
}

#[test]
fn ends_come_over() {
    let opened = End::Opened {
        key: key(9),
        care_of: "2001:db8::3".parse().unwrap(),
        alone: true,
    };
    let ends = [
        End::Flushed {
            client: None,
            anycast: Some("2001:db8::1".parse().unwrap()),
            care_of: None,
        },
        End::Failed("2001:db8::2".parse().unwrap()),
        opened,
    ];
    let mut body = Vec::new();
    let when = |age: u64| at(5000).before(Duration::from_millis(age));
    for (end, age) in ends.iter().zip([0, 7, 5000]) {
        write_end(at(5000), when(age), end, &mut body);
    }
    let there = [0, 7, 5000].map(when).into_iter().zip(ends).collect();
    assert_eq!(read_ends(at(5000), &body), Some(there));
    assert_eq!(read_ends(at(5000), &body[1..]), None);
    // Nothing means the same as something else.
    *body.last_mut().unwrap() = 2;
    assert_eq!(read_ends(at(5000), &body), None);
}

proptest! {
    #[test]
    fn no_octets_are_too_odd_to_be_read(body: Vec<u8>) {
        let _ = (read_pins(at(0), &body), read_ends(at(0), &body), Heartbeat::read(&body));
        let _ = Keys::new([&secret(1)]).open(&body);
    }
}

/// What is due of these flows.
fn due(published: &mut Published, now: Time, flows: &[(FlowKey, Flow)]) -> usize {
    let mut due = published.begin();
    // In two parts, as flows are judged.
    let (first, second) = flows.split_at(flows.len() / 2);
    published.look(now, &mut due, first.iter().enumerate());
    published.look(now, &mut due, (first.len()..).zip(second));
    published.end(now, due, flows).len()
}

#[test]
fn a_flow_is_told_when_it_is_new_answered_or_closed_and_else_now_and_then() {
    let mut published = Published::default();
    let mut flows = [(key(1), flow(at(0)))];
    assert_eq!(due(&mut published, at(0), &flows), 1, "it is new");
    assert_eq!(due(&mut published, at(500), &flows), 0);
    flows[0].1.answered = 1;
    assert_eq!(due(&mut published, at(1000), &flows), 1, "it is answered");
    for (time, both, told) in [(1500, true, 0), (11_100, true, 1), (12_200, false, 1)] {
        flows[0].1.last_out = at(time).as_nanos();
        if both {
            flows[0].1.last_in = at(time).as_nanos();
        }
        assert_eq!(due(&mut published, at(time), &flows), told, "at {time}");
    }
    flows[0].1.member_closed = 3;
    assert_eq!(due(&mut published, at(12_300), &flows), 1, "it is closed");
    // What it says of itself goes back after a reset by a member that is not there; nobody has to know.
    flows[0].1.answered = 0;
    assert_eq!(due(&mut published, at(12_400), &flows), 0);
}

#[test]
fn what_came_from_another_gateway_is_not_told_again() {
    let mut published = Published::default();
    let mut theirs = flow(at(0));
    theirs.answered = 1;
    published.heard(at(100), key(1), &theirs);
    assert_eq!(due(&mut published, at(500), &[(key(1), theirs)]), 0);
    assert_eq!(due(&mut published, at(30_000), &[(key(1), theirs)]), 0);
}

#[test]
fn a_silent_flow_is_told_now_and_then_by_who_told_it_last() {
    let answered = Flow {
        answered: 1,
        ..flow(at(0))
    };
    let (mut teller, mut hearer) = (Published::default(), Published::default());
    let flows = [(key(1), answered), (key(2), flow(at(0)))];
    assert_eq!(due(&mut teller, at(0), &flows), 2);
    for (key, flow) in &flows {
        hearer.heard(at(0), *key, flow);
    }
    // Whether the one that was not answered is still bound, another one may know better.
    for (time, both) in [
        (239_000, [0, 0]),
        (241_000, [1, 0]),
        (299_000, [0, 0]),
        (301_000, [0, 1]),
        (480_000, [0, 0]),
        (482_000, [1, 0]),
    ] {
        let told = [&mut teller, &mut hearer].map(|one| due(one, at(time), &flows));
        assert_eq!(told, both, "at {time}");
    }
    // They wait for what is new.
    let mut published = Published::default();
    let many: Vec<_> = (0..30_000).map(|port| (key(port), answered)).collect();
    let told = [0, 500, 1000].map(|time| due(&mut published, at(time), &many));
    assert_eq!(told, [20_000, 10_000, 0]);
    let changed = |(key, flow): &(FlowKey, Flow)| {
        let client_closed = u8::from(key.client_port < 17_000_u16.to_be_bytes());
        (
            *key,
            Flow {
                client_closed,
                ..*flow
            },
        )
    };
    let some: Vec<_> = many.iter().map(changed).collect();
    let told = [250_000, 250_500].map(|time| due(&mut published, at(time), &some));
    assert_eq!(told, [19_999, 5_000]);
}

#[test]
fn messages_to_all_and_to_one_may_overtake_each_other() {
    let mut peers = Peers::default();
    let (own, challenges) = (1, [5, 6]);
    let heartbeat = Heartbeat {
        name: "g".to_owned(),
        ready: false,
        bindings: 0,
        flows: 0,
        challenge: 7,
        echoes: vec![(own, 5)],
    };
    let heard = peers.heartbeat(at(0), (own, challenges), (2, 100), heartbeat, 0);
    assert!(heard.is_ok_and(|heard| heard.joined && heard.apart_since.is_none()));
    assert_eq!(peers.takes(2, 400, true), Ok(()));
    for number in 101..400 {
        assert_eq!(peers.takes(2, number, false), Ok(()), "{number}");
    }
    for (number, alone) in [(400, true), (399, false), (101, false), (100, true)] {
        let again = peers.takes(2, number, alone);
        assert_eq!(again, Err(Unwanted::Replayed), "{number}");
    }
}

#[test]
fn a_flow_that_begins_anew_is_told() {
    let mut published = Published::default();
    let closed = Flow {
        answered: 1,
        client_closed: 3,
        member_closed: 3,
        ..flow(at(0))
    };
    assert_eq!(due(&mut published, at(0), &[(key(1), closed)]), 1);
    assert_eq!(due(&mut published, at(500), &[(key(1), flow(at(400)))]), 1);
    assert_eq!(due(&mut published, at(600), &[(key(1), flow(at(400)))]), 0);
}

#[test]
fn a_question_and_its_answer_are_not_worth_a_message() {
    let mut published = Published::default();
    let mut question = key(1);
    question.protocol = 17;
    let mut flows = [(question, flow(at(0)))];
    assert_eq!(due(&mut published, at(500), &flows), 0);
    flows[0].1.last_out = at(600).as_nanos();
    assert_eq!(due(&mut published, at(1000), &flows), 1);
}

#[test]
fn a_sweep_tells_so_many_flows_and_the_next_one_tells_more() {
    let mut published = Published::default();
    let flows: Vec<_> = (0..30_000).map(|port| (key(port), flow(at(0)))).collect();
    assert_eq!(due(&mut published, at(0), &flows), 20_000);
    assert_eq!(due(&mut published, at(500), &flows), 10_000);
    assert_eq!(due(&mut published, at(1000), &flows), 0);
}
