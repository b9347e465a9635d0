//! Next-hop objects in the kernel.

use std::{collections::BTreeSet, time::Duration};

use crate::core::NextHop;

/// Settings of a resilient next-hop group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resilient {
    /// Number of hash buckets. Each bucket belongs to one member of the group at a time.
    pub buckets: u16,
    /// After this time without a packet, a bucket may be given to another member of the group.
    pub idle_timer: Duration,
    /// After this time, a new member of the group gets its share of the buckets although they are in use. Zero means
    /// never.
    pub unbalanced_timer: Duration,
}

/// A next-hop object of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Number of the object, which routes and groups refer to.
    pub id: u32,
    /// Protocol number of the program that made the object.
    pub protocol: u8,
    /// Whether the object is one next hop or a group of them.
    pub kind: Kind,
}

/// What a next-hop object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The object is one next hop.
    Hop(NextHop),
    /// The object is a resilient group of other next-hop objects, all of the same weight.
    Group {
        /// Numbers of its members.
        members: BTreeSet<u32>,
        /// Its settings.
        settings: Resilient,
    },
    /// The object is of a kind that this daemon never makes.
    Other,
}
