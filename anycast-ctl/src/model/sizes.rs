//! Sizes of the large BPF maps.

use std::ops::RangeInclusive;

use anycast_common::abi::maps;

/// Permitted number of entries in a map. The lowest leaves room for a burst; the highest keeps a map within some
/// gigabytes.
pub const SIZES: RangeInclusive<u32> = 1024..=16_777_216;

/// Number of entries in each of the maps that grow with clients and flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Correspondent: pinned flows.
    pub flows: u32,
    /// Correspondent: bindings, and pairs of a client and a care-of address.
    pub bindings: u32,
    /// Member: flows that the member tracks because they came by its care-of address.
    pub member_flows: u32,
    /// Member: clients that the member knows.
    pub clients: u32,
    /// Packets whose first fragment is remembered for the fragments that follow it.
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
