//! The live bindings, by pair (A, B).
//!
//! A Binding Update finds the bindings of its pair by one look into a hash table. Their order, by which they are read
//! page by page, is only touched when a pair comes or goes. Before, both were one ordered map of triples, which was
//! searched seven times for an update: a sixth of its time.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, hash::BuildHasher as _, net::Ipv6Addr, ops::Bound};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{
    live::Entry,
    triple::{Pair, Triple},
};

/// A place that is none.
const NONE: u32 = u32::MAX;
/// What is kept of the room for bindings, however few there are.
const ROOM: usize = 1024;

/// A binding, or a place that is free.
#[derive(Clone, Copy, Debug)]
struct Place {
    triple: Triple,
    entry: Entry,
    /// The next binding of the pair, in order of the care-of addresses, or the next free place.
    next: u32,
}

/// Bindings by triple.
#[derive(Debug)]
pub(super) struct Bindings {
    places: Vec<Place>,
    /// The first binding of each pair.
    first: HashTable<u32>,
    seed: RandomState,
    /// The same in order.
    order: BTreeMap<Pair, u32>,
    len: usize,
    /// The first free place.
    free: u32,
}

impl Default for Bindings {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            first: HashTable::new(),
            seed: RandomState::default(),
            order: BTreeMap::new(),
            len: 0,
            free: NONE,
        }
    }
}

impl Bindings {
    /// Largest number of bindings.
    pub(super) const MOST: usize = NONE as usize;

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bindings of a pair, in order.
    pub(super) fn of(&self, pair: Pair) -> impl Iterator<Item = (Triple, &Entry)> + '_ {
        self.chain(self.find(pair))
    }

    pub(super) fn get(&self, triple: Triple) -> Option<&Entry> {
        let mut all = self.of(triple.pair());
        all.find(|(other, _)| *other == triple)
            .map(|(_, entry)| entry)
    }

    pub(super) fn get_mut(&mut self, triple: Triple) -> Option<&mut Entry> {
        self.of_mut(triple.pair()).into_mut(triple.care_of)
    }

    /// The same, to be looked at and changed with one look.
    pub(super) fn of_mut(&mut self, pair: Pair) -> OfPair<'_> {
        let first = self.find(pair);
        let places = &mut self.places;
        OfPair { places, first }
    }

    /// The last pair in order.
    pub(super) fn last(&self) -> Option<Pair> {
        self.order.last_key_value().map(|(pair, _)| *pair)
    }

    /// All bindings in order, from a triple on or after it.
    pub(super) fn from(&self, from: Bound<Triple>) -> impl Iterator<Item = (Triple, &Entry)> + '_ {
        let pairs = match from {
            Bound::Included(triple) | Bound::Excluded(triple) => Bound::Included(triple.pair()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let pairs = self.order.range((pairs, Bound::Unbounded));
        let all = pairs.flat_map(|(_, first)| self.chain(*first));
        all.skip_while(move |(triple, _)| match from {
            Bound::Included(from) => *triple < from,
            Bound::Excluded(after) => *triple <= after,
            Bound::Unbounded => false,
        })
    }

    /// Adds a binding that is not there. Does nothing where there are [`Bindings::MOST`].
    pub(super) fn insert(&mut self, triple: Triple, entry: Entry) {
        let pair = triple.pair();
        let Some(number) = self.take_place(Place {
            triple,
            entry,
            next: NONE,
        }) else {
            return;
        };
        self.len += 1;
        let hash = self.hash(pair);
        let (places, seed) = (&mut self.places, &self.seed);
        let is = |first: &u32| pair_of(places, *first) == Some(pair);
        let Some(first) = self.first.find_mut(hash, is) else {
            let hash_of = |first: &u32| hash_of(seed, places, *first);
            self.first.insert_unique(hash, number, hash_of);
            self.order.insert(pair, number);
            return;
        };
        // The last of those before it.
        let (mut before, mut after) = (NONE, *first);
        while let Some(place) = places.get(after as usize)
            && place.triple < triple
        {
            (before, after) = (after, place.next);
        }
        if let Some(place) = places.get_mut(number as usize) {
            place.next = after;
        }
        match places.get_mut(before as usize) {
            Some(place) => place.next = number,
            None => {
                *first = number;
                self.order.insert(pair, number);
            }
        }
    }

    /// Removes a binding, if it is there.
    pub(super) fn remove(&mut self, triple: Triple) -> Option<Entry> {
        let pair = triple.pair();
        let hash = self.hash(pair);
        let places = &mut self.places;
        let is = |first: &u32| pair_of(places, *first) == Some(pair);
        let mut known = self.first.find_entry(hash, is).ok()?;
        let (mut before, mut number) = (NONE, *known.get());
        let Place { entry, next, .. } = loop {
            let place = *places.get(number as usize)?;
            if place.triple == triple {
                break place;
            }
            (before, number) = (number, place.next);
        };
        match places.get_mut(before as usize) {
            Some(before) => before.next = next,
            None if next == NONE => {
                known.remove();
                self.order.remove(&pair);
            }
            None => {
                *known.get_mut() = next;
                self.order.insert(pair, next);
            }
        }
        if let Some(place) = places.get_mut(number as usize) {
            place.next = self.free;
        }
        self.free = number;
        self.len -= 1;
        if self.len.max(ROOM) < self.places.len() / 4 {
            self.give_back();
        }
        Some(entry)
    }

    /// Makes room for so many at once.
    pub(super) fn reserve(&mut self, number: usize) {
        let more = number.saturating_sub(self.len);
        self.places.reserve_exact(more);
        let (places, seed) = (&self.places, &self.seed);
        self.first
            .reserve(more, |first| hash_of(seed, places, *first));
    }

    /// After a flood its room is free again.
    fn give_back(&mut self) {
        let mut places = Vec::with_capacity(2 * self.len);
        for first in self.order.values_mut() {
            let mut at = *first;
            *first = u32::try_from(places.len()).unwrap_or(NONE);
            while let Some(place) = self.places.get(at as usize) {
                at = place.next;
                let next = match at {
                    NONE => NONE,
                    _ => u32::try_from(places.len() + 1).unwrap_or(NONE),
                };
                places.push(Place { next, ..*place });
            }
        }
        self.places = places;
        self.free = NONE;
        let (places, seed) = (&self.places, &self.seed);
        let hash_of = |first: &u32| hash_of(seed, places, *first);
        self.first = HashTable::with_capacity(2 * self.order.len());
        for (pair, first) in &self.order {
            self.first
                .insert_unique(seed.hash_one(pair), *first, hash_of);
        }
    }

    fn take_place(&mut self, place: Place) -> Option<u32> {
        let number = self.free;
        if let Some(free) = self.places.get_mut(number as usize) {
            self.free = free.next;
            *free = place;
            return Some(number);
        }
        let number = u32::try_from(self.places.len()).ok()?;
        if number == NONE {
            return None;
        }
        self.places.push(place);
        Some(number)
    }

    fn hash(&self, pair: Pair) -> u64 {
        self.seed.hash_one(pair)
    }

    /// The first binding of a pair.
    fn find(&self, pair: Pair) -> u32 {
        let is = |first: &u32| pair_of(&self.places, *first) == Some(pair);
        let first = self.first.find(self.hash(pair), is);
        first.copied().unwrap_or(NONE)
    }

    fn chain(&self, first: u32) -> impl Iterator<Item = (Triple, &Entry)> + '_ {
        chain(&self.places, first)
    }
}

/// The bindings of a pair.
pub(super) struct OfPair<'a> {
    places: &'a mut [Place],
    first: u32,
}

impl<'a> OfPair<'a> {
    /// All of them, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = (Triple, &Entry)> + '_ {
        chain(self.places, self.first)
    }

    /// The one to this care-of address.
    pub(super) fn get_mut(&mut self, care_of: Ipv6Addr) -> Option<&mut Entry> {
        let Self { places, first } = self;
        let first = *first;
        OfPair { places, first }.into_mut(care_of)
    }

    fn into_mut(self, care_of: Ipv6Addr) -> Option<&'a mut Entry> {
        let mut at = self.first;
        while self.places.get(at as usize)?.triple.care_of != care_of {
            at = self.places.get(at as usize)?.next;
        }
        let place = self.places.get_mut(at as usize)?;
        Some(&mut place.entry)
    }
}

/// A binding and those after it of the same pair.
fn chain(places: &[Place], first: u32) -> impl Iterator<Item = (Triple, &Entry)> + '_ {
    let place = |number: u32| places.get(number as usize);
    let all = std::iter::successors(place(first), move |last| place(last.next));
    all.map(|place| (place.triple, &place.entry))
}

fn pair_of(places: &[Place], number: u32) -> Option<Pair> {
    places.get(number as usize).map(|place| place.triple.pair())
}

/// The hash of the pair whose first binding this is.
fn hash_of(seed: &RandomState, places: &[Place], first: u32) -> u64 {
    pair_of(places, first).map_or(0, |pair| seed.hash_one(pair))
}
