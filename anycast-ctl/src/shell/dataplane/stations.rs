//! The Ethernet addresses for which the programs process frames. Frames for other hosts are left alone.

use std::collections::{BTreeMap, BTreeSet};

use anycast_common::abi::maps::{self, Station, near_station};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use zerocopy::FromZeros as _;

use super::{
    access::{Hash, failed, remove, set, take},
    error::DataplaneError,
};

const MAP: &str = "STATIONS";

/// All addresses, and those of them that the programs compare without a lookup.
pub(super) struct Stations {
    map: Hash<Station, u32>,
    near: Array<MapData, maps::Stations>,
    known: BTreeSet<Station>,
}

impl Stations {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        Ok(Self {
            map: take(ebpf, MAP)?,
            near: take(ebpf, maps::Stations::SECTION)?,
            known: BTreeSet::new(),
        })
    }

    /// Replaces the Ethernet addresses whose frames the programs process, by interface index. On an interface that is
    /// not listed, all frames are processed. `own` gives the address to which most frames of an interface are sent.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub(super) fn set(
        &mut self,
        stations: &BTreeMap<u32, BTreeSet<[u8; 6]>>,
        own: impl Fn(u32) -> Option<[u8; 6]>,
    ) -> Result<(), DataplaneError> {
        let wanted = wanted(stations);
        let Self { map, near, known } = self;
        if *known == wanted {
            return Ok(());
        }
        // New entries are added before old ones are removed. So at no time are frames refused that both the old and the
        // new addresses accept.
        for new in wanted.difference(known) {
            set(MAP, map, new, 1)?;
        }
        near.set(0, nearby(stations, own), 0)
            .map_err(failed(maps::Stations::SECTION))?;
        for old in known.difference(&wanted) {
            remove(MAP, map, old)?;
        }
        *known = wanted;
        Ok(())
    }
}

/// All entries, and an entry of zeros for each interface.
fn wanted(stations: &BTreeMap<u32, BTreeSet<[u8; 6]>>) -> BTreeSet<Station> {
    let station = |ifindex, mac| Station {
        ifindex,
        mac,
        reserved: [0; 2],
    };
    let all = stations.iter().flat_map(|(ifindex, macs)| {
        let macs = macs.iter().map(|mac| station(*ifindex, *mac));
        macs.chain([station(*ifindex, [0; 6])])
    });
    all.collect()
}

/// Fills the table of addresses that need no lookup. If several interfaces share a slot of it, the last one gets it,
/// and the addresses of the others are looked up.
fn nearby(
    stations: &BTreeMap<u32, BTreeSet<[u8; 6]>>,
    own: impl Fn(u32) -> Option<[u8; 6]>,
) -> maps::Stations {
    let mut near = maps::Stations::new_zeroed();
    for (ifindex, macs) in stations {
        let own = own(*ifindex).filter(|mac| macs.contains(mac));
        // An empty slot would mean that the addresses of the interface are not known, so any of them is better.
        let mac = own.or_else(|| macs.first().copied());
        let slot = usize::try_from(*ifindex).map(|index| index % maps::NEAR_STATIONS);
        if let (Some([a, b, c, d, e, f]), Ok(slot)) = (mac, slot)
            && let Some(near) = near.near.get_mut(slot)
        {
            *near = near_station(*ifindex, u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]));
        }
    }
    near
}
