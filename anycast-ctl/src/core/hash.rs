//! The hash of tables that are looked into for each message.
//!
//! SipHash, that of the standard library, takes as long for three addresses as the look into the table does. This one
//! is quicker and has a random seed, too: who chooses addresses does not know which of them collide, though somebody
//! who could see the hashes might find it out. They stay inside.

use std::collections::HashMap;

/// A table whose keys come from the network.
pub(in crate::core) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
