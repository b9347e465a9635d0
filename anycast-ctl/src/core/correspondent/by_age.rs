//! A table from which the oldest entries go first.
//!
//! A million Binding Updates in 16 seconds note as many sequence numbers, each at a random place of a table that no
//! cache holds. So an entry is found by one look, and is made the youngest without another.

use crate::core::hash::{Map, reserve};

/// A place that is none.
const NONE: u32 = u32::MAX;
/// What is kept of the room for entries, however few there are.
const ROOM: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Place<V> {
    key: u64,
    older: u32,
    younger: u32,
    value: V,
}

/// Values by key, and in the order in which they were put.
#[derive(Debug)]
pub(super) struct ByAge<V> {
    index: Map<u64, u32>,
    /// Without gaps.
    places: Vec<Place<V>>,
    oldest: u32,
    youngest: u32,
}

impl<V> Default for ByAge<V> {
    fn default() -> Self {
        Self {
            index: Map::default(),
            places: Vec::new(),
            oldest: NONE,
            youngest: NONE,
        }
    }
}

impl<V> ByAge<V> {
    /// Largest number of entries.
    pub(super) const MOST: usize = NONE as usize;

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, key: u64) -> Option<&V> {
        let place = self.places.get(*self.index.get(&key)? as usize)?;
        Some(&place.value)
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        let place = self.places.get_mut(*self.index.get(&key)? as usize)?;
        Some(&mut place.value)
    }

    /// Gives an entry, which is the youngest from now on.
    pub(super) fn renew(&mut self, key: u64) -> Option<&mut V> {
        let number = *self.index.get(&key)?;
        if number != self.youngest {
            self.unlink(number);
            self.link(number);
        }
        let place = self.places.get_mut(number as usize)?;
        Some(&mut place.value)
    }

    /// Adds the entry of a key that has none, as the youngest. Does nothing where there are [`ByAge::MOST`].
    pub(super) fn push(&mut self, key: u64, value: V) {
        let Some(number) = u32::try_from(self.places.len())
            .ok()
            .filter(|number| *number != NONE)
        else {
            return;
        };
        self.index.insert(key, number);
        self.places.push(Place {
            key,
            older: NONE,
            younger: NONE,
            value,
        });
        self.link(number);
    }

    /// Makes room for so many at once.
    pub(super) fn reserve(&mut self, number: usize) {
        reserve(&mut self.index, number);
        let more = number.saturating_sub(self.places.len());
        self.places.reserve_exact(more);
    }

    /// The oldest value.
    pub(super) fn oldest(&self) -> Option<&V> {
        self.places
            .get(self.oldest as usize)
            .map(|place| &place.value)
    }

    /// Removes the oldest entry.
    pub(super) fn pop(&mut self) -> Option<V> {
        let number = self.oldest;
        let key = self.places.get(number as usize)?.key;
        self.unlink(number);
        self.index.remove(&key);
        let gone = self.places.swap_remove(number as usize);
        self.moved(number);
        if self.places.len().max(ROOM) < self.places.capacity() / 4 {
            // After a flood its room is free again.
            self.places.shrink_to(2 * self.places.len());
            self.index.shrink_to(2 * self.places.len());
        }
        Some(gone.value)
    }

    /// All entries, the youngest first.
    pub(super) fn youngest_first(&self) -> impl Iterator<Item = (u64, &V)> + '_ {
        let place = |number: u32| self.places.get(number as usize);
        let all = std::iter::successors(place(self.youngest), move |last| place(last.older));
        all.map(|place| (place.key, &place.value))
    }

    /// The last entry has moved to this place, unless it was the last.
    fn moved(&mut self, number: u32) {
        let Some(Place {
            key,
            older,
            younger,
            ..
        }) = self.places.get(number as usize)
        else {
            return;
        };
        let (key, older, younger) = (*key, *older, *younger);
        self.index.insert(key, number);
        *self.younger_of(older) = number;
        *self.older_of(younger) = number;
    }

    fn link(&mut self, number: u32) {
        let youngest = self.youngest;
        *self.younger_of(youngest) = number;
        self.youngest = number;
        if let Some(place) = self.places.get_mut(number as usize) {
            (place.older, place.younger) = (youngest, NONE);
        }
    }

    fn unlink(&mut self, number: u32) {
        let Some(Place { older, younger, .. }) = self.places.get(number as usize) else {
            return;
        };
        let (older, younger) = (*older, *younger);
        *self.younger_of(older) = younger;
        *self.older_of(younger) = older;
    }

    /// Where it says which entry is younger than this one; of none that is the oldest of all.
    fn younger_of(&mut self, number: u32) -> &mut u32 {
        match self.places.get_mut(number as usize) {
            Some(place) => &mut place.younger,
            None => &mut self.oldest,
        }
    }

    /// Where it says which entry is older than this one; of none that is the youngest of all.
    fn older_of(&mut self, number: u32) -> &mut u32 {
        match self.places.get_mut(number as usize) {
            Some(place) => &mut place.older,
            None => &mut self.youngest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_list_of_what_was_put_last(steps in prop::collection::vec((0_u8..4, 0_u64..12), 0..200)) {
            let (mut table, mut list) = (ByAge::default(), VecDeque::new());
            for (step, key) in steps {
                let at = list.iter().position(|(known, _)| *known == key);
                match (step, at) {
                    (0, _) => prop_assert_eq!(table.pop(), list.pop_front().map(|(_, value)| value)),
                    (1, at) => {
                        let entry = at.and_then(|at| list.remove(at));
                        prop_assert_eq!(table.renew(key).copied(), entry.map(|(_, value)| value));
                        list.extend(entry);
                    }
                    (_, None) => {
                        let value = table.len();
                        table.push(key, value);
                        list.push_back((key, value));
                    }
                    (_, Some(at)) => {
                        if let Some(value) = table.get_mut(key) {
                            *value += 100;
                        }
                        list[at].1 += 100;
                    }
                }
                prop_assert_eq!(table.len(), list.len());
                prop_assert_eq!(table.oldest(), list.front().map(|(_, value)| value));
                prop_assert_eq!(table.get(key), list.iter().find(|(known, _)| *known == key).map(|(_, value)| value));
                let all: Vec<_> = table.youngest_first().map(|(key, value)| (key, *value)).collect();
                prop_assert!(all.iter().eq(list.iter().rev()));
            }
        }
    }

    #[test]
    fn its_room_is_free_again_after_a_flood() {
        let mut table = ByAge::default();
        for key in 0..100_000 {
            table.push(key, key);
        }
        while table.len() > 10 {
            table.pop();
        }
        assert!(
            table.places.capacity() <= 4 * ROOM,
            "{}",
            table.places.capacity()
        );
        assert!(
            table.index.capacity() <= 8 * ROOM,
            "{}",
            table.index.capacity()
        );
        let left: Vec<_> = table.youngest_first().map(|(key, _)| key).collect();
        assert!(left.into_iter().eq((99_990..100_000).rev()));
    }
}
