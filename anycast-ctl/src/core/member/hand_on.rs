//! Handing on what routers that hash brought to another member of the group than the one it is for.
//!
//! A Home Test and an ICMPv6 error name their owner. Who was named by a Home Test is remembered for some
//! seconds, and gets a copy of what names nobody: a Binding Acknowledgement that is not ours, a Binding
//! Error. Each takes what belongs to a handshake of its own, by cookie, sequence number and authenticator.

use std::{collections::HashMap, net::Ipv6Addr, time::Duration};

use anycast_common::wire::{
    checksum,
    ipv6::{self, NEXT_HEADER_MOBILITY},
    mobility::{Message, error_status},
};

use super::{
    HandshakeSettings, Member,
    handshake::Peer,
    mobility::Refusal,
    peers::{Named, Peers},
};
use crate::core::{
    Actions, Received, Time,
    counters::Counter,
    rate::{Bucket, Buckets, Rate, prefix64},
    timers::Timers,
};

/// How long acknowledgements follow a Home Test: a Binding Update is sent again for 15 seconds.
const FOLLOWS: Duration = Duration::from_secs(16);
/// Members to whom they may go: as many as a correspondent binds to one (A, B).
const FOLLOWERS: usize = 8;
/// Messages that may be handed on for each handshake that this member may start: of each other one a
/// Home Test and an acknowledgement, and copies of those.
const PER_HANDSHAKE: u32 = 4;

/// Checksum fields, in octets behind the chain of headers.
const MOBILITY_CHECKSUM: usize = 4;
const ICMPV6_CHECKSUM: usize = 2;
/// Where the IPv6 header has them.
const HOP_LIMIT: usize = 7;
const DESTINATION: std::ops::Range<usize> = 24..ipv6::HEADER_LEN;

/// What is remembered of messages that were handed on.
#[derive(Debug)]
pub(super) struct HandOn {
    prefixes: Buckets<u64>,
    whole: Bucket,
    shown: HashMap<Pair, Vec<Shown>>,
    /// When the last of a pair ends.
    ends: Timers<Pair>,
    capacity: usize,
}

/// A and B.
type Pair = (Ipv6Addr, Ipv6Addr);

/// A member that a Home Test was for.
#[derive(Clone, Copy, Debug)]
struct Shown {
    care_of: Ipv6Addr,
    until: Time,
}

/// A packet as it came, and its parts.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub(super) now: Time,
    pub(super) octets: &'a [u8],
    pub(super) packet: &'a ipv6::Packet<'a>,
}

impl<'a> Arrived<'a> {
    pub(super) const fn new(
        now: Time,
        received: &Received<'a>,
        packet: &'a ipv6::Packet<'a>,
    ) -> Self {
        Self {
            now,
            octets: received.packet,
            packet,
        }
    }

    /// The same packet to another address, one hop further; none when it has no hop left.
    fn to(&self, address: Ipv6Addr) -> Option<Vec<u8>> {
        let start = self.packet.payload_offset;
        let field = start
            + match self.packet.protocol {
                NEXT_HEADER_MOBILITY => MOBILITY_CHECKSUM,
                _ => ICMPV6_CHECKSUM,
            };
        let mut octets = self
            .octets
            .get(..start + self.packet.payload.len())?
            .to_vec();
        let hop_limit = octets.get_mut(HOP_LIMIT)?;
        *hop_limit = hop_limit.checked_sub(1).filter(|left| *left > 0)?;
        octets
            .get_mut(DESTINATION)?
            .copy_from_slice(&address.octets());
        let check = octets.get_mut(field..field + 2)?;
        let before = u16::from_ne_bytes([*check.first()?, *check.last()?]);
        let delta = checksum::delta(&self.packet.destination.octets(), &address.octets());
        check.copy_from_slice(&checksum::apply(before, delta).to_ne_bytes());
        Some(octets)
    }
}

impl HandOn {
    pub(super) fn new(settings: &HandshakeSettings) -> Self {
        Self {
            prefixes: Buckets::new(more(settings.per_prefix), settings.max_clients),
            whole: Bucket::new(more(settings.whole)),
            shown: HashMap::new(),
            ends: Timers::default(),
            capacity: settings.max_clients.max(1),
        }
    }

    /// Whether a message of `client` may be handed on.
    fn admits(&mut self, now: Time, client: Ipv6Addr) -> bool {
        let prefix = prefix64(client);
        self.prefixes.holds(now, prefix) && self.whole.take(now) && self.prefixes.take(now, prefix)
    }

    /// A Home Test from `client` to `anycast` was for the member with `care_of`.
    fn note(&mut self, now: Time, pair: Pair, care_of: Ipv6Addr) {
        while let Some(pair) = self.ends.pop(now) {
            self.shown.remove(&pair);
        }
        if !self.shown.contains_key(&pair)
            && self.shown.len() >= self.capacity
            && let Some(first) = self.ends.first()
        {
            self.ends.set(first, None);
            self.shown.remove(&first);
        }
        let until = now + FOLLOWS;
        let shown = self.shown.entry(pair).or_default();
        shown.retain(|other| other.care_of != care_of && other.until > now);
        if shown.len() >= FOLLOWERS {
            // The one that was named first.
            shown.remove(0);
        }
        shown.push(Shown { care_of, until });
        self.ends.set(pair, Some(until));
    }

    /// Whom the latest Home Tests from A to B were for.
    fn shown(&self, now: Time, pair: Pair) -> Vec<Ipv6Addr> {
        let shown = self.shown.get(&pair).into_iter().flatten();
        let shown = shown.filter(|shown| shown.until > now);
        shown.map(|shown| shown.care_of).collect()
    }
}

impl Member {
    /// Hands a message on that came to B and is for other members. False: it is not.
    pub(super) fn hand_on(
        &mut self,
        arrived: &Arrived<'_>,
        message: &Message,
        actions: &mut Actions,
    ) -> bool {
        let Arrived { now, packet, .. } = *arrived;
        let pair = (packet.source, packet.destination);
        let Some(peers) = self.peers(packet.destination) else {
            return false;
        };
        let (to, counter) = match message {
            Message::HomeTest { cookie, .. } => {
                let Named::Peer(care_of) = peers.named(*cookie) else {
                    return false;
                };
                (vec![care_of], Counter::HomeTestHandedOn)
            }
            Message::BindingAck(ack) => {
                let ours = self.peer(packet.source, packet.destination);
                if ours.is_some_and(|ours| self.handshakes.expects(ours, ack, packet)) {
                    return false;
                }
                (self.hand_on.shown(now, pair), Counter::AckHandedOn)
            }
            Message::BindingError {
                status: error_status::UNRECOGNIZED_MH_TYPE,
                home_address: _,
            } => {
                let ours = self.peer(packet.source, packet.destination);
                if ours.is_some_and(|ours| self.handshakes.is_under_way(ours)) {
                    return false;
                }
                (self.hand_on.shown(now, pair), Counter::ErrorHandedOn)
            }
            Message::BindingError { .. }
            | Message::BindingRefreshRequest
            | Message::CareOfTest { .. }
            | Message::HomeTestInit { .. }
            | Message::CareOfTestInit { .. }
            | Message::BindingUpdate(_)
            | Message::Unknown { .. } => return false,
        };
        let names_its_owner = matches!(message, Message::HomeTest { .. });
        for care_of in &to {
            if self.send_on(arrived, packet.source, *care_of, counter, actions) && names_its_owner {
                self.hand_on.note(now, pair, *care_of);
            }
        }
        !to.is_empty()
    }

    /// Hands an ICMPv6 error on that came to B and is about a message of another member. False: it is
    /// not.
    pub(super) fn hand_on_error(
        &mut self,
        arrived: &Arrived<'_>,
        refusal: &Refusal,
        actions: &mut Actions,
    ) -> bool {
        let anycast = arrived.packet.destination;
        let Some(peers) = self.peers(anycast).filter(|_| anycast == refusal.source) else {
            return false;
        };
        let Some(care_of) = refusal.asked_by(peers) else {
            return false;
        };
        let client = refusal.destination;
        self.send_on(arrived, client, care_of, Counter::ErrorHandedOn, actions);
        true
    }

    /// The handshake that a message to C is for, when it is one that goes to B and another member handed
    /// on. An acknowledgement is a copy where Home Tests of several members came together.
    pub(super) fn take_handed_on(
        &mut self,
        packet: &ipv6::Packet<'_>,
        message: &Message,
    ) -> Result<Option<Peer>, Counter> {
        let peer = self.peer_by_care_of(packet);
        let peer = peer.filter(|peer| self.peers(peer.anycast).is_some());
        let Some(peer) = peer else {
            return Ok(None);
        };
        match message {
            Message::BindingAck(ack) if !self.handshakes.expects(peer, ack, packet) => {
                return Err(Counter::HandedOnNotOurs);
            }
            Message::HomeTest { .. } | Message::BindingAck(_) => {
                self.counters.count(Counter::HandedOnReceived);
            }
            Message::CareOfTest { .. }
            | Message::BindingRefreshRequest
            | Message::BindingError { .. }
            | Message::HomeTestInit { .. }
            | Message::CareOfTestInit { .. }
            | Message::BindingUpdate(_)
            | Message::Unknown { .. } => {}
        }
        Ok(Some(peer))
    }

    /// The others of the group, where there are any.
    fn peers(&self, anycast: Ipv6Addr) -> Option<&Peers> {
        let peers = &self.groups.get(&anycast)?.settings.peers;
        Some(peers).filter(|peers| !peers.is_empty())
    }

    fn send_on(
        &mut self,
        arrived: &Arrived<'_>,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        counter: Counter,
        actions: &mut Actions,
    ) -> bool {
        let Some(packet) = arrived.to(care_of) else {
            self.counters.count(Counter::HandOnHopLimit);
            return false;
        };
        if !self.hand_on.admits(arrived.now, client) {
            self.counters.count(Counter::HandOnLimited);
            return false;
        }
        let (_, mut cx) = self.handshakes_mut(arrived.now, actions);
        cx.send(None, Ok(packet), counter);
        true
    }
}

fn more(rate: Rate) -> Rate {
    Rate {
        every: rate.every / PER_HANDSHAKE,
        burst: rate.burst.saturating_mul(PER_HANDSHAKE),
    }
}
