//! Next-hop objects, as the kernel has them.

use std::{collections::BTreeSet, time::Duration};

use crate::core::NextHop;

/// How resilient next-hop groups are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resilient {
    /// Hash buckets, each of which belongs to one member at a time.
    pub buckets: u16,
    /// A bucket that saw no packet for so long may be given to a newcomer.
    pub idle_timer: Duration,
    /// After so long a newcomer gets its share of the buckets although they are in use; zero for
    /// never.
    pub unbalanced_timer: Duration,
}

/// A next-hop object of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its number.
    pub id: u32,
    /// Who made it.
    pub protocol: u8,
    /// What it is.
    pub kind: Kind,
}

/// What a next-hop object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One next hop.
    Hop(NextHop),
    /// A resilient group of these, all of the same weight.
    Group {
        /// Numbers of its members.
        members: BTreeSet<u32>,
        /// Its settings.
        settings: Resilient,
    },
    /// Something that we never make.
    Other,
}
