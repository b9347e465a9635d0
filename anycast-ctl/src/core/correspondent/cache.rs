//! The Binding Cache (RFC 6275 section 9.1).

use std::{
    collections::{BTreeMap, HashMap, VecDeque, btree_map},
    net::Ipv6Addr,
    ops::RangeBounds,
    time::Duration,
};

use crate::core::{
    Time,
    rr::{BINDING_LIFETIME, MAX_NONCE_LIFETIME},
    timers::Timers,
};

/// A flow that was pinned in the last moment of a binding is in the map for sure this much later.
pub(super) const SWEEP_MARGIN: Duration = Duration::from_secs(1);

/// What a binding is for: (A, B).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pair {
    /// The client, A.
    pub(super) client: Ipv6Addr,
    /// The anycast address, B.
    pub(super) anycast: Ipv6Addr,
}

/// A binding that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// The member's unicast address, C.
    pub(super) care_of: Ipv6Addr,
    /// Since when (A, B) is bound to it without a gap.
    pub(super) since: Time,
    /// Its end.
    pub(super) expires: Time,
    /// Of the Binding Update that made it.
    nonces: NonceIndices,
}

/// Home and care-of nonce index.
pub(super) type NonceIndices = (u16, u16);

/// Nonces that a binding was made with which was then deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Barred {
    care_of: Ipv6Addr,
    nonces: NonceIndices,
}

/// Of one (A, B), the last so many: a deletion takes a handshake before it.
const BARRED: usize = 8;

/// What is known of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Sequence number of the last valid Binding Update.
    pub(super) sequence: u16,
    /// The binding, while it stands.
    pub(super) live: Option<Live>,
    /// When every nonce of a Binding Update seen so far has expired, so that none can be replayed
    /// (RFC 6275 section 5.2.8).
    pub(super) replay_ends: Time,
}

/// Why a binding was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room.
    Full,
    /// The care-of address stands for another anycast address of this client. To take it over
    /// would turn the packets of flows pinned to that one into ones from a stranger.
    CareOfTaken,
}

/// A pair (A, C) in the data plane.
#[derive(Clone, Copy, Debug)]
struct CareOf {
    anycast: Ipv6Addr,
    /// When the last binding that uses it ends, or ended.
    used_until: Time,
}

/// The Binding Cache, and the pairs (A, C) that bindings and pinned flows need.
#[derive(Debug)]
pub(super) struct Cache {
    capacity: usize,
    entries: BTreeMap<Pair, Entry>,
    /// Entries whose binding stands.
    bound: usize,
    timers: Timers<Pair>,
    care_of: BTreeMap<(Ipv6Addr, Ipv6Addr), CareOf>,
    /// What must not bind again. Goes with the entry, when the nonces are too old.
    barred: HashMap<Pair, VecDeque<Barred>>,
}

impl Cache {
    /// An empty cache of at most `capacity` entries.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: BTreeMap::new(),
            bound: 0,
            timers: Timers::default(),
            care_of: BTreeMap::new(),
            barred: HashMap::new(),
        }
    }

    /// The sequence number that the next Binding Update for `pair` must be after.
    pub(super) fn sequence(&self, pair: Pair) -> Option<u16> {
        self.entries.get(&pair).map(|entry| entry.sequence)
    }

    /// Remembers the sequence number of a valid Binding Update for a pair that has an entry.
    pub(super) fn note(&mut self, now: Time, pair: Pair, sequence: u16) {
        if let Some(entry) = self.entries.get_mut(&pair) {
            entry.sequence = sequence;
            entry.replay_ends = now + MAX_NONCE_LIFETIME;
            self.timers.set(pair, Some(entry.deadline()));
        }
    }

    /// Makes or renews the binding of `pair` for [`BINDING_LIFETIME`]. Gives the binding, and the
    /// one that stood before.
    pub(super) fn bind(
        &mut self,
        now: Time,
        pair: Pair,
        care_of: Ipv6Addr,
        sequence: u16,
        nonces: NonceIndices,
    ) -> Result<(Live, Option<Live>), Refusal> {
        let full = self.care_of.len() >= self.capacity;
        let way_back = self.care_of.entry((pair.client, care_of));
        match &way_back {
            btree_map::Entry::Occupied(taken) if taken.get().anycast != pair.anycast => {
                return Err(Refusal::CareOfTaken);
            }
            btree_map::Entry::Vacant(_) if full => return Err(Refusal::Full),
            btree_map::Entry::Occupied(_) | btree_map::Entry::Vacant(_) => {}
        }
        let full = self.entries.len() >= self.capacity;
        let known = self.entries.entry(pair);
        if full && matches!(known, btree_map::Entry::Vacant(_)) {
            return Err(Refusal::Full);
        }
        let before = match &known {
            btree_map::Entry::Occupied(known) => known.get().live,
            btree_map::Entry::Vacant(_) => None,
        };
        let same = before.filter(|before| before.care_of == care_of);
        let live = Live {
            care_of,
            since: same.map_or(now, |before| before.since),
            expires: now + BINDING_LIFETIME,
            nonces,
        };
        way_back.insert_entry(CareOf {
            anycast: pair.anycast,
            used_until: live.expires,
        });
        let entry = Entry {
            sequence,
            live: Some(live),
            replay_ends: now + MAX_NONCE_LIFETIME,
        };
        known.insert_entry(entry);
        self.timers.set(pair, Some(entry.deadline()));
        match before {
            None => self.bound += 1,
            Some(before) if before.care_of != care_of => self.release(now, pair, before),
            Some(_) => {}
        }
        Ok((live, before))
    }

    /// Ends the binding of `pair`, if one stands. Its sequence number stays.
    pub(super) fn unbind(&mut self, now: Time, pair: Pair) -> Option<Live> {
        let entry = self.entries.get_mut(&pair)?;
        let live = entry.live.take();
        self.timers.set(pair, Some(entry.deadline()));
        if let Some(live) = live {
            self.bound -= 1;
            self.release(now, pair, live);
        }
        live
    }

    /// Ends the binding of `pair` because its member says so. The nonces that it was made with do not
    /// make another (RFC 6275 section 9.5.3).
    pub(super) fn delete(&mut self, now: Time, pair: Pair) -> Option<Live> {
        let live = self.unbind(now, pair)?;
        let Live {
            care_of, nonces, ..
        } = live;
        let barred = self.barred.entry(pair).or_default();
        if barred.len() == BARRED {
            barred.pop_front();
        }
        barred.push_back(Barred { care_of, nonces });
        Some(live)
    }

    /// Whether these nonces have made a binding of `pair` to `care_of` that was deleted.
    pub(super) fn bars(&self, pair: Pair, care_of: Ipv6Addr, nonces: NonceIndices) -> bool {
        let barred = self.barred.get(&pair);
        barred.is_some_and(|barred| barred.contains(&Barred { care_of, nonces }))
    }

    /// Whether the nonce is among those that have made a binding that was deleted.
    pub(super) fn bars_nonce(&self, index: u16) -> bool {
        let mut barred = self.barred.values().flatten();
        barred.any(|barred| [barred.nonces.0, barred.nonces.1].contains(&index))
    }

    /// Ends one binding whose time is over, and forgets the sequence numbers that nothing can
    /// replay any more. None when nothing is left to do at `now`.
    pub(super) fn expire(&mut self, now: Time) -> Option<(Pair, Live)> {
        while let Some(pair) = self.timers.pop(now) {
            if let Some(live) = self.unbind(now, pair) {
                return Some((pair, live));
            }
            self.timers.set(pair, None);
            self.entries.remove(&pair);
            self.barred.remove(&pair);
        }
        None
    }

    /// When [`Cache::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The pairs (A, C) that neither a binding nor one of the flows in `pinned` needs are taken out
    /// and given, in order. `now` is when the sweep of the flow map began.
    pub(super) fn sweep(
        &mut self,
        now: Time,
        pinned: &HashMap<(Ipv6Addr, Ipv6Addr), usize>,
    ) -> Vec<(Ipv6Addr, Ipv6Addr)> {
        self.care_of
            .extract_if(.., |place, care_of| {
                care_of.used_until + SWEEP_MARGIN <= now && !pinned.contains_key(place)
            })
            .map(|(place, _)| place)
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

    /// The pairs of whose Binding Updates one might be replayed.
    pub(super) fn replayable(&self, now: Time) -> impl Iterator<Item = (Pair, Entry)> + '_ {
        let entries = self.entries.iter().map(|(pair, entry)| (*pair, *entry));
        entries.filter(move |(_, entry)| now < entry.replay_ends)
    }

    /// Takes over what an earlier run knew of a pair.
    pub(super) fn restore(&mut self, pair: Pair, entry: Entry) {
        self.timers.set(pair, Some(entry.deadline()));
        self.entries.insert(pair, entry);
    }

    /// The bindings that stand, in order.
    pub(super) fn live(&self) -> impl Iterator<Item = (Pair, Live, u16)> + '_ {
        self.entries
            .iter()
            .filter_map(|(pair, entry)| Some((*pair, entry.live?, entry.sequence)))
    }

    /// What is known of the pairs of a range, in order.
    pub(super) fn range(
        &self,
        pairs: impl RangeBounds<Pair>,
    ) -> impl Iterator<Item = (Pair, &Entry)> + '_ {
        let entries = self.entries.range(pairs);
        entries.map(|(pair, entry)| (*pair, entry))
    }

    /// How many bindings stand.
    pub(super) const fn bound(&self) -> usize {
        self.bound
    }

    /// The binding no longer uses its pair (A, C) from `now` on, or from its end.
    fn release(&mut self, now: Time, pair: Pair, live: Live) {
        if let Some(care_of) = self.care_of.get_mut(&(pair.client, live.care_of)) {
            care_of.used_until = live.expires.min(now);
        }
    }
}

impl Entry {
    /// Of a pair without a binding.
    pub(super) const fn ended(sequence: u16, replay_ends: Time) -> Self {
        Self {
            sequence,
            live: None,
            replay_ends,
        }
    }

    /// When something has to be done about it.
    fn deadline(&self) -> Time {
        self.live.map_or(self.replay_ends, |live| live.expires)
    }
}
