//! The table of pinned flows: an array that programs and controller read and write by the same functions.
//!
//! A kernel's LRU hash map takes an insert about as long as a hundred other instructions of a packet, and evicts
//! whoever was silent for longest. Here a flow may be in two sets of [`SLOTS`] slots. A set begins with a line of the
//! processor's cache that has a tag of each flow in it, so that a lookup reads this line and the flow's own, and an
//! insert no more. When both sets are full, a flow goes that is worth least, see [`class`]: an open one, else one
//! that a single packet made, else one that is not TCP, and of those the one that was silent for longest. So no flood
//! of packets with forged ports, answered or not, ends a session. Open flows have a [share](OPEN_SHARE) of each set,
//! and take the place of nothing else.
//!
//! There is no lock. A slot is written by one CPU at a time but for chance, and [`Slot::check`] tells a slot that two
//! of them wrote at once, or that is being written: it is nobody's, and the flow is pinned again by its next packet.

mod find;
mod home;
mod insert;
mod lanes;
mod layout;

pub use self::{
    find::{Found, end, find, heard, is_free, open, rank, silent, slot},
    home::{Home, Secret},
    insert::{Inserted, insert, insert_with},
    layout::{Header, OPEN_SHARE, SLOTS, Set, Slot, class, entries, flows, sets},
};
