//! How much the large maps hold.

use std::ops::RangeInclusive;

use anycast_common::abi::{flow_table, maps, roles};
use aya::{EbpfLoader, maps::MapInfo};

use super::Pins;

/// Entries that a map may have: room for a burst, and no more than some gigabytes.
pub const RANGE: RangeInclusive<u32> = 1024..=16_777_216;

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

/// A map of an earlier run, with its sessions, whose size is not what is configured now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSize {
    /// Its name.
    pub map: &'static str,
    /// Entries that it has room for.
    pub entries: u32,
    /// Entries that are configured.
    pub configured: u32,
}

impl Sizes {
    /// Names and entries of the maps that these roles need.
    fn of(&self, roles: u8) -> impl Iterator<Item = (&'static str, u32)> {
        let both = roles::CORRESPONDENT | roles::MEMBER;
        [
            (roles::CORRESPONDENT, FLOWS, self.flows),
            (roles::CORRESPONDENT, "BINDINGS", self.bindings),
            (roles::CORRESPONDENT, "CARE_OF", self.bindings),
            (roles::MEMBER, "MEMBER_FLOWS", self.member_flows),
            (roles::MEMBER, "CLIENTS", self.clients),
            (both, "FRAGMENTS", self.fragments),
        ]
        .into_iter()
        .filter(move |(of, ..)| roles & of != 0)
        .map(|(_, map, entries)| (map, entries))
    }

    pub(super) fn set(&self, loader: &mut EbpfLoader<'_>, roles: u8) {
        for (map, size) in self.of(roles) {
            loader.map_max_entries(map, entries(map, size));
        }
    }

    /// Which of the maps that are pinned came from an earlier run with another size. They stay as they
    /// are, for sessions are in them.
    pub(super) fn differing(&self, pins: &Pins, roles: u8) -> Vec<OtherSize> {
        let sizes: Vec<_> = self.of(roles).collect();
        let pinned = pins.maps(roles).into_iter();
        pinned
            .filter_map(|(map, path)| {
                let (_, configured) = *sizes.iter().find(|(name, _)| *name == map)?;
                let there = MapInfo::from_pin(path).ok()?.max_entries();
                (there != entries(map, configured)).then_some(OtherSize {
                    map,
                    entries: size(map, there),
                    configured,
                })
            })
            .inspect(|found| {
                let OtherSize {
                    map,
                    entries,
                    configured,
                } = found;
                tracing::warn!(
                    map,
                    entries,
                    configured,
                    "a map of an earlier run keeps its size, for sessions are in it: stop the daemon \
                     and `anycast-ctl detach` to have it made anew, which ends them"
                );
            })
            .collect()
    }
}

/// Entries of a map that is to have a size. One has sets of them.
fn entries(map: &str, size: u32) -> u32 {
    match map {
        FLOWS => flow_table::entries(size),
        _ => size,
    }
}

/// The size of a map that has so many entries.
fn size(map: &str, entries: u32) -> u32 {
    match map {
        FLOWS => flow_table::flows(entries),
        _ => entries,
    }
}

const FLOWS: &str = "FLOWS";
