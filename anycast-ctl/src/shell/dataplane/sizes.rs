//! How much the large maps hold.

use anycast_common::abi::flow_table;
use aya::{EbpfLoader, maps::MapInfo};

use super::{
    needed::{self, FLOWS},
    pins::Pins,
};
use crate::model::sizes::Sizes;

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

/// Says how large the maps are to be. Those that no role needs take no memory.
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

/// Which of the maps that are pinned came from an earlier run with another size. They stay as they
/// are, for sessions are in them.
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
