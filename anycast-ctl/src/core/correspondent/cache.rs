//! The Binding Cache (RFC 6275 section 9.1). Its bindings are of triples (A, B, C), since several members may be bound
//! to one (A, B).

#[cfg(test)]
mod tests;
mod views;

use std::{
    collections::{BTreeSet, hash_map},
    net::Ipv6Addr,
    time::Duration,
};

use super::{
    bindings::Bindings,
    live::{self, Entry, Live, Steering},
    origin::Origin,
    tally::Tally,
    triple::{Back, Pair, Triple},
};
use crate::core::{
    Time,
    flows::Use,
    hash::{Map, give_back, reserve},
    notice::BindingChange,
    rate::prefix64,
    rr::{self, BINDING_LIFETIME},
};

/// After this time, a flow that was bound in the last moment of a binding is certainly in the map.
pub(super) const SWEEP_MARGIN: Duration = Duration::from_secs(1);

/// Members that may be bound to one (A, B) at the same time.
pub(super) const MEMBERS: usize = 8;

/// A binding that was made or renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) live: Live,
    /// What it was before.
    pub(super) before: Option<Live>,
    /// What steered the new flows of (A, B) before, and what does now.
    pub(super) steered: Option<Steering>,
    pub(super) steers: Option<Steering>,
}

impl Bound {
    /// What is told of it.
    pub(super) fn change(&self) -> BindingChange {
        match self.before {
            Some(_) => BindingChange::Renewed,
            None => BindingChange::Created,
        }
    }
}

/// Why a binding was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The cache is full.
    Full,
    /// The clients of the /64 have as many bindings as they may.
    PrefixFull,
    /// The member has as many bindings as it may.
    MemberFull,
    /// As many members as permitted are bound to (A, B).
    PairFull,
    /// The care-of address stands for another anycast address of this client. If the binding replaced that one, the
    /// client would get packets of its flows from an address that it does not know.
    CareOfTaken,
}

/// The largest numbers of entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bindings.
    pub(super) bindings: usize,
    /// Bindings of the clients of one /64.
    pub(super) per_prefix: usize,
    /// Bindings to one care-of address.
    pub(super) per_member: usize,
    /// Pairs (A, C) of bindings, and of flows that outlive their bindings.
    pub(super) care_of: usize,
}

/// A pair (A, C) in the data plane.
#[derive(Clone, Copy, Debug)]
struct CareOf {
    anycast: Ipv6Addr,
    /// When the binding that used the pair ended, or expired before that; [`BOUND`] while there is one.
    used_until: Time,
}

/// No binding ends then.
const BOUND: Time = Time::from_nanos(u64::MAX);

/// The Binding Cache, and the pairs (A, C) that bindings and bound flows need. A binding that has ended takes no room.
/// Its sequence numbers are kept [apart](super::sequences).
#[derive(Debug)]
pub(super) struct Cache {
    room: Room,
    live: Bindings,
    /// The bindings by when they are looked at.
    order: BTreeSet<(Time, Triple)>,
    /// Number of bindings of the clients of each /64.
    prefixes: Tally<u64>,
    /// Number of bindings to each care-of address.
    members: Tally<Ipv6Addr>,
    care_of: Map<Back, CareOf>,
    /// Those pairs that no binding uses. A sweep has to look at no other one.
    unbound: BTreeSet<Back>,
}

impl Cache {
    /// Makes an empty cache.
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            live: Bindings::default(),
            order: BTreeSet::new(),
            prefixes: Tally::default(),
            members: Tally::default(),
            care_of: Map::default(),
            unbound: BTreeSet::new(),
        }
    }

    /// Other limits from now on. Bindings beyond them end in time.
    pub(super) const fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// The live binding of this triple.
    pub(super) fn get(&self, triple: Triple) -> Option<&Live> {
        self.live.get(triple).map(|entry| &entry.live)
    }

    /// Makes or renews a binding for [`BINDING_LIFETIME`]. `nonces` is when the newer nonce of the Binding Update was
    /// first used.
    pub(super) fn bind(
        &mut self,
        now: Time,
        triple: Triple,
        sequence: u16,
        nonces: Time,
        origin: Origin,
    ) -> Result<Bound, Refusal> {
        let fresh = Live {
            since: now,
            expires: now + BINDING_LIFETIME,
            sequence,
            nonces,
            origin,
        };
        self.put(triple, fresh)
    }

    /// Puts a binding into the cache. One that is renewed began when it began.
    fn put(&mut self, triple: Triple, fresh: Live) -> Result<Bound, Refusal> {
        let full = self.care_of.len() >= self.room.care_of;
        let way_back = self.care_of.entry(triple.back());
        let is_unbound = match &way_back {
            hash_map::Entry::Occupied(taken) if taken.get().anycast != triple.anycast => {
                return Err(Refusal::CareOfTaken);
            }
            hash_map::Entry::Vacant(_) if full => return Err(Refusal::Full),
            hash_map::Entry::Occupied(known) => known.get().used_until != BOUND,
            hash_map::Entry::Vacant(_) => false,
        };
        let used = CareOf {
            anycast: triple.anycast,
            used_until: BOUND,
        };
        let mut of_pair = self.live.of_mut(triple.pair());
        let steered = live::first(of_pair.all());
        if let Some(entry) = of_pair.get_mut(triple.care_of) {
            let before = entry.live;
            let live = Live {
                since: before.since,
                ..fresh
            };
            entry.live = live;
            if live.expires < entry.queued {
                self.order.remove(&(entry.queued, triple));
                self.order.insert((live.expires, triple));
                entry.queued = live.expires;
            }
            return Ok(Bound {
                live,
                before: Some(before),
                steered,
                steers: live::first(of_pair.all()),
            });
        }
        if steered.is_some() && of_pair.all().count() >= MEMBERS {
            return Err(Refusal::PairFull);
        }
        if self.live.len() >= self.room.bindings.min(Bindings::MOST) {
            return Err(Refusal::Full);
        }
        let prefix = self.prefixes.entry(prefix64(triple.client));
        if prefix.get() >= self.room.per_prefix {
            return Err(Refusal::PrefixFull);
        }
        let member = self.members.entry(triple.care_of);
        if member.get() >= self.room.per_member {
            return Err(Refusal::MemberFull);
        }
        prefix.add();
        member.add();
        way_back.insert_entry(used);
        if is_unbound {
            self.unbound.remove(&triple.back());
        }
        self.order.insert((fresh.expires, triple));
        self.live.insert(triple, Entry::of(fresh));
        Ok(Bound {
            live: fresh,
            before: None,
            steered,
            steers: live::earlier(steered, (triple, fresh)),
        })
    }

    /// Makes or renews a binding that is live elsewhere, for as long as it is there, unless as much is known of it. Its
    /// nonces count as the youngest that there are.
    pub(super) fn adopt_live(
        &mut self,
        now: Time,
        triple: Triple,
        sequence: u16,
        remaining: Duration,
    ) -> Result<Option<Bound>, Refusal> {
        let may_be_known = !self.is_behind_all(triple.pair());
        let known = may_be_known.then(|| self.get(triple)).flatten();
        if known.is_some_and(|known| !rr::is_after(sequence, known.sequence)) {
            return Ok(None);
        }
        let expires = now + remaining.min(BINDING_LIFETIME);
        let fresh = Live {
            since: now,
            expires: known.map_or(expires, |known| known.expires.max(expires)),
            sequence,
            nonces: now,
            origin: Origin::Snapshot,
        };
        self.put(triple, fresh).map(Some)
    }

    /// Whether there is no binding of this pair or of one after it: a snapshot comes in order.
    fn is_behind_all(&self, pair: Pair) -> bool {
        self.live.last().is_none_or(|last| last < pair)
    }

    /// Whether the pair (A, C) of this triple is known.
    pub(super) fn has_way_back(&self, triple: Triple) -> bool {
        self.care_of.contains_key(&triple.back())
    }

    /// Makes room for so many pairs (A, C) and bindings at once, as far as they may be kept.
    pub(super) fn reserve(&mut self, pairs: usize, bindings: usize) {
        let pairs = pairs.min(self.room.care_of);
        reserve(&mut self.care_of, pairs);
        self.live.reserve(bindings.min(self.room.bindings));
    }

    /// Keeps a pair (A, C) for flows that are bound elsewhere. Gives whether it is new.
    pub(super) fn remember(
        &mut self,
        now: Time,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        anycast: Ipv6Addr,
    ) -> Result<bool, Refusal> {
        let full = self.care_of.len() >= self.room.care_of;
        match self.care_of.entry(Back { client, care_of }) {
            hash_map::Entry::Occupied(taken) if taken.get().anycast != anycast => {
                Err(Refusal::CareOfTaken)
            }
            hash_map::Entry::Vacant(_) if full => Err(Refusal::Full),
            hash_map::Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.used_until = known.used_until.max(now);
                Ok(false)
            }
            hash_map::Entry::Vacant(place) => {
                let used_until = now;
                place.insert(CareOf {
                    anycast,
                    used_until,
                });
                self.unbound.insert(Back { client, care_of });
                Ok(true)
            }
        }
    }

    /// Remembers the sequence number of a valid Binding Update for a live binding.
    pub(super) fn note(&mut self, triple: Triple, sequence: u16) {
        if let Some(entry) = self.live.get_mut(triple) {
            entry.live.sequence = sequence;
        }
    }

    /// Ends a binding, if there is one.
    pub(super) fn unbind(&mut self, now: Time, triple: Triple) -> Option<Live> {
        let Entry { live, queued } = self.live.remove(triple)?;
        self.order.remove(&(queued, triple));
        self.prefixes.remove(prefix64(triple.client));
        self.members.remove(triple.care_of);
        // The binding stops using its pair (A, C) now, or stopped at its end if that was earlier.
        if let Some(care_of) = self.care_of.get_mut(&triple.back()) {
            care_of.used_until = live.expires.min(now);
            self.unbound.insert(triple.back());
        }
        Some(live)
    }

    /// A binding that has expired and has to be ended. `None` when there is none at `now`.
    pub(super) fn over(&mut self, now: Time) -> Option<Triple> {
        while let Some((queued, triple)) = self.order.first().copied()
            && queued <= now
        {
            self.order.pop_first();
            let Some(entry) = self.live.get_mut(triple) else {
                continue;
            };
            if entry.live.expires <= queued {
                return Some(triple);
            }
            // It was renewed.
            entry.queued = entry.live.expires;
            self.order.insert((entry.queued, triple));
        }
        None
    }

    /// When [`Cache::over`] has to be called.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.order.first().map(|(queued, _)| *queued)
    }

    /// Removes the pairs (A, C) that neither a binding nor one of the flows in `in_use` needs, and gives them in order.
    /// `now` is when the sweep of the flow map began.
    pub(super) fn sweep(
        &mut self,
        now: Time,
        in_use: &Map<(Ipv6Addr, Ipv6Addr), Use>,
    ) -> Vec<(Ipv6Addr, Ipv6Addr)> {
        let over = self.unbound.extract_if(.., |back| {
            let known = self.care_of.get(back);
            known.is_none_or(|care_of| care_of.used_until + SWEEP_MARGIN <= now)
                && !in_use.contains_key(&(back.client, back.care_of))
        });
        let over: Vec<_> = over.collect();
        for back in &over {
            self.care_of.remove(back);
        }
        give_back(&mut self.care_of);
        over.into_iter()
            .map(|back| (back.client, back.care_of))
            .collect()
    }

    /// Takes over a pair (A, C) that an earlier run left in the data plane.
    pub(super) fn adopt(&mut self, client: Ipv6Addr, care_of: Ipv6Addr, anycast: Ipv6Addr) {
        let adopted = CareOf {
            anycast,
            used_until: Time::ZERO,
        };
        let back = Back { client, care_of };
        if let hash_map::Entry::Vacant(place) = self.care_of.entry(back) {
            place.insert(adopted);
            self.unbound.insert(back);
        }
    }
}
