//! The bodies of the fleet's messages.

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::abi::maps::{Flow, FlowKey, state};

use super::{octets::Reader, seal::Id};
use crate::core::Time;

/// Longest name of a gateway in octets.
pub const NAME: usize = 32;
/// Most challenges that are repeated in one heartbeat.
pub(super) const ECHOES: usize = 64;
/// Most flows of a triple in one place: a client may have more to a member than a message has room for.
const PART: usize = 1000;
/// An age that is not known.
const NEVER: u32 = u32::MAX;

/// That a gateway lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heartbeat {
    pub(super) name: String,
    /// Whether it has what the others know.
    pub(super) ready: bool,
    pub(super) bindings: u32,
    pub(super) flows: u32,
    /// Who repeats this shows that it is heard now, and no recording.
    pub(super) challenge: u64,
    /// The last challenges of others.
    pub(super) echoes: Vec<(Id, u64)>,
}

/// A triple (A, B, C), and flows that are bound by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
    /// In a snapshot, how long the binding still lives; zero: it is over.
    pub remaining: Duration,
    /// In a snapshot, the sequence number of the binding's last update.
    pub sequence: u16,
    /// The flows.
    pub flows: Vec<(FlowKey, Flow)>,
}

impl Pins {
    /// The same in parts that fit into messages.
    pub(super) fn parts(self) -> impl Iterator<Item = Self> {
        let parts: Vec<_> = match self.flows.len() {
            0..=PART => Vec::new(),
            _ => self.flows.chunks(PART).map(<[_]>::to_vec).collect(),
        };
        let triple = Self {
            flows: Vec::new(),
            ..self
        };
        // Nearly always it is the only part.
        let whole = parts.is_empty().then_some(self);
        let parts = parts.into_iter().map(move |flows| Self {
            flows,
            ..triple.clone()
        });
        whole.into_iter().chain(parts)
    }
}

/// A wish for a chunk of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Number of the snapshot, chosen by who wants it.
    pub(super) snapshot: u64,
    pub(super) chunk: u32,
}

/// A chunk of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) wish: Wish,
    /// Number of its chunks.
    pub(super) of: u32,
    /// How long ago it was taken, at the time of which it is told.
    pub(super) age: Duration,
    pub(super) pins: &'a [u8],
}

impl Heartbeat {
    pub(super) fn write(&self, body: &mut Vec<u8>) {
        let name = &self.name.as_bytes()[..self.name.floor_char_boundary(NAME)];
        body.push(u8::try_from(name.len()).unwrap_or_default());
        body.extend(name);
        body.push(u8::from(self.ready));
        body.extend(self.bindings.to_be_bytes());
        body.extend(self.flows.to_be_bytes());
        body.extend(self.challenge.to_be_bytes());
        let echoes = &self.echoes[..self.echoes.len().min(ECHOES)];
        body.push(u8::try_from(echoes.len()).unwrap_or_default());
        for (id, challenge) in echoes {
            body.extend(id.to_be_bytes());
            body.extend(challenge.to_be_bytes());
        }
    }

    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let length = usize::from(reader.octet()?);
        let name = std::str::from_utf8(reader.octets(length)?).ok()?;
        if length > NAME || name.chars().any(char::is_control) {
            return None;
        }
        let mut heartbeat = Self {
            name: name.to_owned(),
            ready: reader.octet()? != 0,
            bindings: reader.word()?,
            flows: reader.word()?,
            challenge: reader.long()?,
            echoes: Vec::new(),
        };
        let count = usize::from(reader.octet()?);
        if count > ECHOES {
            return None;
        }
        for _ in 0..count {
            heartbeat.echoes.push((reader.long()?, reader.long()?));
        }
        reader.is_empty().then_some(heartbeat)
    }
}

impl Wish {
    pub(super) fn write(self, body: &mut Vec<u8>) {
        body.extend(self.snapshot.to_be_bytes());
        body.extend(self.chunk.to_be_bytes());
    }

    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            snapshot: reader.long()?,
            chunk: reader.word()?,
        })
    }

    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let wish = Self::take(&mut reader)?;
        reader.is_empty().then_some(wish)
    }
}

impl<'a> Chunk<'a> {
    pub(super) fn write(&self, body: &mut Vec<u8>) {
        self.wish.write(body);
        body.extend(self.of.to_be_bytes());
        body.extend(whole_milliseconds(self.age).to_be_bytes());
        body.extend(self.pins);
    }

    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        Some(Self {
            wish: Wish::take(&mut reader)?,
            of: reader.word()?,
            age: Duration::from_millis(reader.word()?.into()),
            pins: reader.0,
        })
    }
}

/// Writes a triple with its flows, as they are at `now`. Times are ages, so that no clocks have to agree.
pub(super) fn write_pins(now: Time, pins: &Pins, body: &mut Vec<u8>) {
    for address in [pins.client, pins.anycast, pins.care_of] {
        body.extend(address.octets());
    }
    body.extend(whole_milliseconds(pins.remaining).to_be_bytes());
    body.extend(pins.sequence.to_be_bytes());
    let count = u16::try_from(pins.flows.len()).unwrap_or(u16::MAX);
    body.extend(count.to_be_bytes());
    for (key, flow) in pins.flows.iter().take(count.into()) {
        body.extend(key.client_port);
        body.extend(key.service_port);
        body.push(key.protocol);
        body.push(flags(flow));
        body.extend(age(now, flow.last_out).to_be_bytes());
        body.extend(age(now, flow.last_in).to_be_bytes());
        for number in [flow.tried_sequence, flow.client_next, flow.member_next] {
            body.extend(number.to_be_bytes());
        }
    }
}

/// Reads triples with their flows.
pub(super) fn read_pins(now: Time, body: &[u8]) -> Option<Vec<Pins>> {
    let mut reader = Reader(body);
    let mut all = Vec::new();
    while !reader.is_empty() {
        let mut pins = Pins {
            client: reader.address()?,
            anycast: reader.address()?,
            care_of: reader.address()?,
            remaining: Duration::from_millis(reader.word()?.into()),
            sequence: reader.half()?,
            flows: Vec::new(),
        };
        let count = usize::from(reader.half()?);
        pins.flows.reserve_exact(count.min(PART));
        for _ in 0..count {
            let flow = read_pin(now, &pins, &mut reader)?;
            pins.flows.push(flow);
        }
        all.push(pins);
    }
    Some(all)
}

fn read_pin(now: Time, pins: &Pins, reader: &mut Reader<'_>) -> Option<(FlowKey, Flow)> {
    let key = FlowKey {
        client: pins.client.octets(),
        anycast: pins.anycast.octets(),
        client_port: reader.array()?,
        service_port: reader.array()?,
        protocol: reader.octet()?,
        reserved: [0; 3],
    };
    let flags = reader.octet()?;
    let state = flags & 3;
    if state == state::OPEN {
        return None;
    }
    let (out, into) = (time(now, reader.word()?), time(now, reader.word()?));
    let flow = Flow {
        care_of: pins.care_of.octets(),
        // A flow of these ends that began later is another.
        pinned_at: match out.max(into) {
            0 => now.as_nanos(),
            heard => heard,
        },
        last_out: out,
        last_in: into,
        delta: 0,
        client_closed: (flags >> 4) & 3,
        member_closed: flags >> 6,
        asked_at: 0,
        unreachable_at: 0,
        tried_at: 0,
        tried_sequence: reader.word()?,
        client_next: reader.word()?,
        member_next: reader.word()?,
        state,
        answered: (flags >> 2) & 1,
        tried: (flags >> 3) & 1,
        reserved: 0,
    };
    Some((key, flow))
}

fn flags(flow: &Flow) -> u8 {
    let bit = |octet: u8| u8::from(octet != 0);
    flow.state & 3
        | bit(flow.answered) << 2
        | bit(flow.tried) << 3
        | (flow.client_closed & 3) << 4
        | (flow.member_closed & 3) << 6
}

/// Rounded up: what was heard before the clock began is put at its very beginning, and is told on as just as old.
fn age(now: Time, at: u64) -> u32 {
    const ROUNDED: Duration = Duration::from_nanos(999_999);
    match at {
        0 => NEVER,
        at => whole_milliseconds(now.since(Time::from_nanos(at)) + ROUNDED),
    }
}

fn time(now: Time, age: u32) -> u64 {
    match age {
        NEVER => 0,
        // Zero means that nothing was heard, which this was.
        age => now
            .before(Duration::from_millis(age.into()))
            .as_nanos()
            .max(1),
    }
}

pub(super) fn whole_milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(NEVER - 1)
}
