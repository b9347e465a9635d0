//! The hash of tables that are looked into for each message.
//!
//! SipHash, that of the standard library, takes as long for three addresses as the look into the table does. This one
//! is quicker and has a random seed, too: who chooses addresses does not know which of them collide, though somebody
//! who could see the hashes might find it out. They stay inside.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

/// A table whose keys come from the network.
pub(in crate::core) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A set of them.
pub(in crate::core) type Set<K> = HashSet<K, foldhash::fast::RandomState>;

/// What is kept of the room of a table, however few entries it has.
const ROOM: usize = 1024;

/// Gives back the room of a table of which most is gone, for example after a flood. Who walks over a table walks over
/// all of its room.
pub(in crate::core) fn give_back<K: Eq + Hash, V>(map: &mut Map<K, V>) {
    if map.len().max(ROOM) < map.capacity() / 4 {
        map.shrink_to(2 * map.len());
    }
}

/// Makes room for so many entries in all, where it is known that they come: a table that grows step by step is built
/// anew with each step.
pub(in crate::core) fn reserve<K: Eq + Hash, V>(map: &mut Map<K, V>, entries: usize) {
    map.reserve(entries.saturating_sub(map.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_when_most_is_gone() {
        let mut map: Map<u32, u32> = (0..100_000).map(|number| (number, number)).collect();
        let before = map.capacity();
        give_back(&mut map);
        assert_eq!(map.capacity(), before, "all of it is in use");
        map.retain(|number, _| *number < 10);
        assert!(map.capacity() > 8 * ROOM, "{}", map.capacity());
        give_back(&mut map);
        assert!(map.capacity() <= 4 * ROOM, "{}", map.capacity());
        assert_eq!(map.len(), 10);
    }
}
