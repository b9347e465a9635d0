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

    /// One more.
    pub(super) fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
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
