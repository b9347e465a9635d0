//! The table of pinned flows: an array that programs and controller read and write by the same functions.
//!
//! A kernel's LRU hash map takes an insert about as long as a hundred other instructions of a packet, and evicts
//! whoever was silent for longest. Here a flow may be in two sets of [`SLOTS`] slots. A set begins with a line of the
//! processor's cache that has a tag of each flow in it, so that a lookup reads this line and the flow's own, and an
//! insert no more. When both sets are full the flow goes that was silent for longest, where one whose client never went
//! on after an answer counts as [`ANSWERED`] ticks older than it is: a flood of packets with forged ports, answered or
//! not, ends no session that was heard of in the last minute.
//!
//! There is no lock. A slot is written by one CPU at a time but for chance, and [`Slot::check`] tells a slot that two
//! of them wrote at once, or that is being written: it is nobody's, and the flow is pinned again by its next packet.

mod find;
mod home;
mod insert;
mod lanes;
mod layout;

pub use self::{
    find::{Found, answered, end, find, heard, is_free, slot},
    home::{Home, Secret},
    insert::{Inserted, insert},
    layout::{ANSWERED, Header, SLOTS, Set, Slot, entries, flows, sets},
};
