//! How many bindings each prefix and member has.

use std::{collections::hash_map, hash::Hash};

use crate::core::hash::Map;

/// Counts by key. A key with the count 0 takes no room.
#[derive(Debug)]
pub(super) struct Tally<K>(Map<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<K: Eq + Hash> Tally<K> {
    /// How many of this key there are.
    pub(super) fn get(&self, key: K) -> usize {
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// The place of this key, to count one more there.
    pub(super) fn entry(&mut self, key: K) -> Count<'_, K> {
        Count(self.0.entry(key))
    }

    /// One less.
    pub(super) fn remove(&mut self, key: K) {
        if let hash_map::Entry::Occupied(mut count) = self.0.entry(key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The count of one key.
pub(super) struct Count<'a, K>(hash_map::Entry<'a, K, usize>);

impl<K> Count<'_, K> {
    /// How many there are.
    pub(super) fn get(&self) -> usize {
        match &self.0 {
            hash_map::Entry::Occupied(count) => *count.get(),
            hash_map::Entry::Vacant(_) => 0,
        }
    }

    /// One more.
    pub(super) fn add(self) {
        *self.0.or_default() += 1;
    }
}
