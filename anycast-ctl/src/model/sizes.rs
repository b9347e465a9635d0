//! How much the large maps hold.

use std::ops::RangeInclusive;

use anycast_common::abi::maps;

/// Entries that a map may have: room for a burst, and no more than some gigabytes.
pub const SIZES: RangeInclusive<u32> = 1024..=16_777_216;

/// Entries of the maps that grow with clients and flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Correspondent: pinned flows.
    pub flows: u32,
    /// Correspondent: bindings, and pairs of a client and a care-of address.
    pub bindings: u32,
    /// Member: flows that came by a care-of address.
    pub member_flows: u32,
    /// Member: clients that are known.
    pub clients: u32,
    /// Packets that came in fragments.
    pub fragments: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            flows: maps::FLOWS,
            bindings: maps::BINDINGS,
            member_flows: maps::FLOWS,
            clients: maps::CLIENTS,
            fragments: maps::FRAGMENTS,
        }
    }
}
