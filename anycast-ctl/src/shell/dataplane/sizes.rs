//! Sizes of the large maps.

use anycast_common::abi::flow_table;
use aya::{EbpfLoader, maps::MapInfo};

use super::{
    needed::{self, FLOWS},
    pins::Pins,
};
use crate::model::sizes::Sizes;

/// A map of an earlier run that was taken over with its sessions, and whose size differs from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSize {
    /// Name of the map.
    pub map: &'static str,
    /// Number of entries for which it has room.
    pub entries: u32,
    /// Number of entries that the configuration wants.
    pub configured: u32,
}

/// Sets the sizes of the maps before they are made. Maps that no role needs take no memory.
pub(super) fn set(loader: &mut EbpfLoader<'_>, sizes: &Sizes, roles: u8) {
    for map in needed::by(roles) {
        if let Some(size) = map.size {
            loader.map_max_entries(map.name, entries(map.name, size(sizes)));
        }
    }
    for map in needed::not_by(roles) {
        loader.map_max_entries(map.name, 1);
    }
}

/// Pinned maps of an earlier run that have another size than the configuration wants. They stay as they are, because
/// sessions are in them.
pub(super) fn differing(sizes: &Sizes, pins: &Pins, roles: u8) -> Vec<OtherSize> {
    let pinned = pins.maps(roles).into_iter();
    pinned
        .filter_map(|(map, path)| {
            let needed = needed::by(roles).find(|needed| needed.name == map)?;
            let configured = needed.size?(sizes);
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

/// Number of entries of a map that is to have this size. The table of flows has one entry for each set of flows.
fn entries(map: &str, size: u32) -> u32 {
    match map {
        FLOWS => flow_table::entries(size),
        _ => size,
    }
}

/// Size of a map that has this number of entries.
fn size(map: &str, entries: u32) -> u32 {
    match map {
        FLOWS => flow_table::flows(entries),
        _ => entries,
    }
}
