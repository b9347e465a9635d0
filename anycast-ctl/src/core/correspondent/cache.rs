//! The Binding Cache (RFC 6275 section 9.1), of triples: several members may be bound to one (A, B).

use std::{
    collections::{BTreeMap, HashMap, btree_map, hash_map},
    hash::Hash,
    net::Ipv6Addr,
    ops::{Bound, RangeBounds},
    time::Duration,
};

use crate::core::{Time, rate::prefix64, rr::BINDING_LIFETIME, timers::Timers};

/// A flow that was pinned in the last moment of a binding is in the map for sure this much later.
pub(super) const SWEEP_MARGIN: Duration = Duration::from_secs(1);

/// Members that may be bound to one (A, B) at the same time.
pub(super) const MEMBERS: usize = 8;

/// (A, B): whose new flows one of the bindings steers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pair {
    /// The client, A.
    pub(super) client: Ipv6Addr,
    /// The anycast address, B.
    pub(super) anycast: Ipv6Addr,
}

/// What a binding is of: (A, B, C).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Triple {
    /// The client, A.
    pub(super) client: Ipv6Addr,
    /// The anycast address, B.
    pub(super) anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub(super) care_of: Ipv6Addr,
}

impl Pair {
    /// Its triple with this member.
    pub(super) const fn with(self, care_of: Ipv6Addr) -> Triple {
        let Self { client, anycast } = self;
        Triple {
            client,
            anycast,
            care_of,
        }
    }

    /// What an update that names no member is numbered by: B stands for C, as in its authenticator.
    pub(super) const fn unnamed(self) -> Triple {
        self.with(self.anycast)
    }
}

impl Triple {
    /// Whose flows it is about.
    pub(super) const fn pair(self) -> Pair {
        Pair {
            client: self.client,
            anycast: self.anycast,
        }
    }
}

/// A binding that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// Since when it stands without a gap.
    pub(super) since: Time,
    /// Its end.
    pub(super) expires: Time,
    /// Of the last valid Binding Update.
    pub(super) sequence: u16,
    /// When the newer nonce of the Binding Update that made it was first used.
    pub(super) nonces: Time,
}

/// Why a binding was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room.
    Full,
    /// The clients of one /64 have as many as they may.
    PrefixFull,
    /// The member has as many as it may.
    MemberFull,
    /// As many members as may be are bound to (A, B).
    PairFull,
    /// The care-of address stands for another anycast address of this client. To take it over
    /// would turn the packets of flows pinned to that one into ones from a stranger.
    CareOfTaken,
}

/// How much there may be at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bindings.
    pub(super) bindings: usize,
    /// Of them, those of the clients of one /64.
    pub(super) per_prefix: usize,
    /// Of them, those to one care-of address.
    pub(super) per_member: usize,
    /// Pairs (A, C): those of bindings, and of flows that go on without one.
    pub(super) care_of: usize,
}

/// A pair (A, C) in the data plane.
#[derive(Clone, Copy, Debug)]
struct CareOf {
    anycast: Ipv6Addr,
    /// When the binding that uses it ends, or ended.
    used_until: Time,
}

/// The Binding Cache, and the pairs (A, C) that bindings and pinned flows need. What has ended takes no
/// room; its sequence numbers are kept [apart](super::sequences).
#[derive(Debug)]
pub(super) struct Cache {
    room: Room,
    live: BTreeMap<Triple, Live>,
    timers: Timers<Triple>,
    /// How many bindings the clients of a /64 have.
    prefixes: Tally<u64>,
    /// How many bindings lead to a care-of address.
    members: Tally<Ipv6Addr>,
    care_of: BTreeMap<(Ipv6Addr, Ipv6Addr), CareOf>,
}

impl Cache {
    /// An empty cache.
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            live: BTreeMap::new(),
            timers: Timers::default(),
            prefixes: Tally::default(),
            members: Tally::default(),
            care_of: BTreeMap::new(),
        }
    }

    /// The binding of this triple, while it stands.
    pub(super) fn get(&self, triple: Triple) -> Option<&Live> {
        self.live.get(&triple)
    }

    /// Makes or renews a binding for [`BINDING_LIFETIME`]. Gives the binding, and the same as it stood
    /// before. `nonces` is when the newer nonce of the Binding Update was first used.
    pub(super) fn bind(
        &mut self,
        now: Time,
        triple: Triple,
        sequence: u16,
        nonces: Time,
    ) -> Result<(Live, Option<Live>), Refusal> {
        let before = self.live.get(&triple).copied();
        let members = self.of(triple.pair()).count();
        let full = self.care_of.len() >= self.room.care_of;
        let way_back = self.care_of.entry((triple.client, triple.care_of));
        match &way_back {
            btree_map::Entry::Occupied(taken) if taken.get().anycast != triple.anycast => {
                return Err(Refusal::CareOfTaken);
            }
            btree_map::Entry::Vacant(_) if full => return Err(Refusal::Full),
            btree_map::Entry::Occupied(_) | btree_map::Entry::Vacant(_) => {}
        }
        let prefix = prefix64(triple.client);
        if before.is_none() {
            if members >= MEMBERS {
                return Err(Refusal::PairFull);
            }
            if self.live.len() >= self.room.bindings {
                return Err(Refusal::Full);
            }
            if self.prefixes.get(prefix) >= self.room.per_prefix {
                return Err(Refusal::PrefixFull);
            }
            if self.members.get(triple.care_of) >= self.room.per_member {
                return Err(Refusal::MemberFull);
            }
            self.prefixes.add(prefix);
            self.members.add(triple.care_of);
        }
        let live = Live {
            since: before.map_or(now, |before| before.since),
            expires: now + BINDING_LIFETIME,
            sequence,
            nonces,
        };
        way_back.insert_entry(CareOf {
            anycast: triple.anycast,
            used_until: live.expires,
        });
        self.live.insert(triple, live);
        self.timers.set(triple, Some(live.expires));
        Ok((live, before))
    }

    /// Remembers the sequence number of a valid Binding Update for a binding that stands.
    pub(super) fn note(&mut self, triple: Triple, sequence: u16) {
        if let Some(live) = self.live.get_mut(&triple) {
            live.sequence = sequence;
        }
    }

    /// Ends a binding, if it stands.
    pub(super) fn unbind(&mut self, now: Time, triple: Triple) -> Option<Live> {
        let live = self.live.remove(&triple)?;
        self.timers.set(triple, None);
        self.prefixes.remove(prefix64(triple.client));
        self.members.remove(triple.care_of);
        // It uses its pair (A, C) no longer from now on, or from its end.
        if let Some(care_of) = self.care_of.get_mut(&(triple.client, triple.care_of)) {
            care_of.used_until = live.expires.min(now);
        }
        Some(live)
    }

    /// A binding whose time is over, to be ended; none when nothing is left to do at `now`.
    pub(super) fn over(&mut self, now: Time) -> Option<Triple> {
        self.timers.pop(now)
    }

    /// When [`Cache::over`] has something to say.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The bindings of (A, B).
    pub(super) fn of(&self, pair: Pair) -> impl Iterator<Item = (Triple, &Live)> + '_ {
        let whole = pair.with(Ipv6Addr::UNSPECIFIED)..=pair.with(Ipv6Addr::from_bits(u128::MAX));
        self.range(whole)
    }

    /// The binding that steers the new flows of (A, B): the one that was there first, which is the one whose
    /// time is over first. One that is renewed goes to the end of the row, so that every 16 seconds routing
    /// has its say.
    pub(super) fn steering(&self, pair: Pair) -> Option<(Triple, Live)> {
        let first = self
            .of(pair)
            .min_by_key(|(triple, live)| (live.expires, *triple));
        first.map(|(triple, live)| (triple, *live))
    }

    /// The pairs (A, C) that neither a binding nor one of the flows in `in_use` needs are taken out
    /// and given, in order. `now` is when the sweep of the flow map began.
    pub(super) fn sweep<T>(
        &mut self,
        now: Time,
        in_use: &HashMap<(Ipv6Addr, Ipv6Addr), T>,
    ) -> Vec<(Ipv6Addr, Ipv6Addr)> {
        self.care_of
            .extract_if(.., |pair, care_of| {
                care_of.used_until + SWEEP_MARGIN <= now && !in_use.contains_key(pair)
            })
            .map(|(pair, _)| pair)
            .collect()
    }

    /// Takes over a pair (A, C) that an earlier run left in the data plane.
    pub(super) fn adopt(&mut self, client: Ipv6Addr, care_of: Ipv6Addr, anycast: Ipv6Addr) {
        let adopted = CareOf {
            anycast,
            used_until: Time::ZERO,
        };
        self.care_of.entry((client, care_of)).or_insert(adopted);
    }

    /// The bindings that stand, in order.
    pub(super) fn live(&self) -> impl Iterator<Item = (Triple, &Live)> + '_ {
        self.live.iter().map(|(triple, live)| (*triple, live))
    }

    /// Those of a range, in order.
    pub(super) fn range(
        &self,
        triples: impl RangeBounds<Triple>,
    ) -> impl Iterator<Item = (Triple, &Live)> + '_ {
        let live = self.live.range(triples);
        live.map(|(triple, live)| (*triple, live))
    }

    /// Those from here on, in order: all, those of a client, or those after one.
    pub(super) fn from(
        &self,
        client: Option<Ipv6Addr>,
        after: Option<Triple>,
    ) -> impl Iterator<Item = (Triple, &Live)> + '_ {
        let first = Pair {
            client: client.unwrap_or(Ipv6Addr::UNSPECIFIED),
            anycast: Ipv6Addr::UNSPECIFIED,
        };
        let first = Bound::Included(first.unnamed());
        let from = after.map_or(first, Bound::Excluded);
        self.range((from, Bound::Unbounded))
    }

    /// How many bindings stand.
    pub(super) fn bound(&self) -> usize {
        self.live.len()
    }
}

/// How often each key is there. One that is not takes no room.
#[derive(Debug)]
struct Tally<K>(HashMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Tally<K> {
    fn get(&self, key: K) -> usize {
        self.0.get(&key).copied().unwrap_or_default()
    }

    fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    fn remove(&mut self, key: K) {
        if let hash_map::Entry::Occupied(mut count) = self.0.entry(key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
