//! Which members get copies of messages that name no member, and how many messages may be handed on.

use std::{collections::HashMap, net::Ipv6Addr, time::Duration};

use super::HandshakeSettings;
use crate::core::{
    Time,
    rate::{Bucket, Buckets, Rate, prefix64},
    timers::Timers,
};

/// How long acknowledgements are sent to the member that a Home Test was for: a Binding Update is repeated for 15
/// seconds.
const FOLLOWS: Duration = Duration::from_secs(16);
/// Largest number of these members: as many as a correspondent binds to one (A, B).
const FOLLOWERS: usize = 8;
/// Messages that may be handed on for each handshake that this member may start. Each of the other members needs a Home
/// Test and an acknowledgement, and copies of these.
const PER_HANDSHAKE: u32 = 4;

/// What is remembered of messages that were handed on.
#[derive(Debug)]
pub(super) struct HandOn {
    prefixes: Buckets<u64>,
    whole: Bucket,
    shown: HashMap<Pair, Vec<Shown>>,
    /// When the last entry of a pair (A, B) ends.
    ends: Timers<Pair>,
    capacity: usize,
}

/// The pair (A, B).
pub(super) type Pair = (Ipv6Addr, Ipv6Addr);

/// A member that a Home Test was for.
#[derive(Clone, Copy, Debug)]
struct Shown {
    care_of: Ipv6Addr,
    until: Time,
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

    /// Other limits from now on.
    pub(super) fn set(&mut self, settings: &HandshakeSettings) {
        self.capacity = settings.max_clients.max(1);
        self.prefixes.set(more(settings.per_prefix), self.capacity);
        self.whole.set(more(settings.whole));
    }

    /// Whether a message of `client` may be handed on.
    pub(super) fn admits(&mut self, now: Time, client: Ipv6Addr) -> bool {
        let prefix = prefix64(client);
        self.prefixes.holds(now, prefix) && self.whole.take(now) && self.prefixes.take(now, prefix)
    }

    /// A Home Test from `client` to `anycast` was for the member with `care_of`.
    pub(super) fn note(&mut self, now: Time, pair: Pair, care_of: Ipv6Addr) {
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
            // The member that was named first gives way.
            shown.remove(0);
        }
        shown.push(Shown { care_of, until });
        self.ends.set(pair, Some(until));
    }

    /// The members that the latest Home Tests from A to B were for.
    pub(super) fn shown(&self, now: Time, pair: Pair) -> Vec<Ipv6Addr> {
        let shown = self.shown.get(&pair).into_iter().flatten();
        let shown = shown.filter(|shown| shown.until > now);
        shown.map(|shown| shown.care_of).collect()
    }
}

fn more(rate: Rate) -> Rate {
    Rate {
        every: rate.every / PER_HANDSHAKE,
        burst: rate.burst.saturating_mul(PER_HANDSHAKE),
    }
}
