//! What lets the programs tell soon that a packet needs no thought, kept true to the other maps.

use std::{io, net::Ipv6Addr, time::Duration};

use anycast_common::abi::{
    globals,
    maps::{self, AGE, AGE_SECTION, FLOW_CACHE, FLOW_CACHE_LIFE, WAYS, mixed, our_address},
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData},
    util::nr_cpus,
};
use ipnet::Ipv6Net;
use nix::time::{ClockId, clock_getres};
use zerocopy::FromZeros as _;

use super::{
    access::{failed, octets, take},
    error::DataplaneError,
};

const HINTS: &str = maps::Hints::SECTION;
/// Maps that have a part for each CPU, and how many entries that has.
const PARTED: [(&str, u32); 2] = [("FLOW_CACHE", FLOW_CACHE), ("WAYS", WAYS)];

/// What packets read of it, and what is in there.
pub(super) struct Hints {
    map: Array<MapData, maps::Hints>,
    value: Box<maps::Hints>,
    age: Array<MapData, u64>,
}

/// Whose prefixes.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Client,
    Anycast,
}

impl Hints {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        Ok(Self {
            map: take(ebpf, HINTS)?,
            value: Box::new(maps::Hints::new_zeroed()),
            age: take(ebpf, AGE_SECTION)?,
        })
    }

    /// The programs look closely at packets with this address from now on. To be said before a map
    /// speaks of the address.
    pub(super) fn add_address(&mut self, address: Ipv6Addr) -> Result<(), DataplaneError> {
        let index = our_address(mixed(halves(address)));
        let Some(ours) = self.value.addresses.get_mut(index as usize) else {
            return Ok(());
        };
        if *ours != 0 {
            return Ok(());
        }
        *ours = 1;
        self.write()?;
        // Those that are noted are not looked at closely.
        self.end_flow_cache()
    }

    /// All prefixes of one side. While they change, none is to be said.
    pub(super) fn set_scope(
        &mut self,
        side: Side,
        prefixes: Option<&[Ipv6Net]>,
    ) -> Result<(), DataplaneError> {
        let (bits, mask) = prefixes.map_or((0, 0), common);
        let scope = &mut self.value.scope;
        match side {
            Side::Client => (scope.client, scope.client_mask) = (bits, mask),
            Side::Anycast => (scope.anycast, scope.anycast_mask) = (bits, mask),
        }
        self.write()
    }

    /// The same for what changes without us; where no address is ours, no flow is pinned.
    pub(super) fn next_hops_changed(&mut self) -> Result<(), DataplaneError> {
        if self.value.addresses.iter().all(|ours| *ours == 0) {
            return Ok(());
        }
        self.end_flow_cache()
    }

    /// Has the next packet of every pinned flow looked at closely.
    pub(super) fn end_flow_cache(&mut self) -> Result<(), DataplaneError> {
        let age = self.age.get(&0, 0).map_err(failed(AGE_SECTION))?;
        let next = age.wrapping_add(AGE);
        self.age.set(0, next, 0).map_err(failed(AGE_SECTION))
    }

    fn write(&mut self) -> Result<(), DataplaneError> {
        self.map
            .set(0, self.value.as_ref(), 0)
            .map_err(failed(HINTS))
    }
}

/// How large the caches are, and for how long they hold.
pub(super) struct Caches {
    cpus: u32,
    jiffies: u64,
}

impl Caches {
    pub(super) fn new() -> Result<Self, DataplaneError> {
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        // That clock goes on once in a jiffy.
        let jiffy = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_err(io::Error::from)?;
        let jiffy = Duration::from(jiffy).as_nanos().max(1);
        Ok(Self {
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            jiffies: u64::try_from((1 << FLOW_CACHE_LIFE) / jiffy).unwrap_or(1),
        })
    }

    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader.override_global(globals::CACHE_JIFFIES, &self.jiffies, true);
        for (map, entries) in PARTED {
            loader.map_max_entries(map, entries.saturating_mul(self.cpus));
        }
    }
}

/// What the first 64 bits of all prefixes have in common, and in which of them; as in memory.
fn common(prefixes: &[Ipv6Net]) -> (u64, u64) {
    let half = |address| halves(address)[0];
    let first = prefixes.first().map_or(0, |first| half(first.network()));
    let mask = prefixes.iter().fold(u64::MAX, |mask, prefix| {
        mask & half(prefix.netmask()) & !(half(prefix.network()) ^ first)
    });
    (first & mask, mask)
}

/// The halves of an address, as they lie in memory.
fn halves(address: Ipv6Addr) -> [u64; 2] {
    zerocopy::transmute!(octets(address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(bits: u128, length: u8) -> Ipv6Net {
        Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), length).trunc()
    }

    fn within(prefixes: &[Ipv6Net], address: Ipv6Addr) -> bool {
        let (bits, mask) = common(prefixes);
        (halves(address)[0] ^ bits) & mask == 0
    }

    proptest! {
        #[test]
        fn no_address_of_any_prefix_is_left_out(
            prefixes in prop::collection::vec((any::<u128>(), 0_u8..=128), 1..5),
            host: u128,
        ) {
            let prefixes: Vec<_> = prefixes.iter().map(|&(bits, length)| net(bits, length)).collect();
            for prefix in &prefixes {
                let host = host & prefix.hostmask().to_bits();
                let address = Ipv6Addr::from_bits(prefix.network().to_bits() | host);
                prop_assert!(within(&prefixes, address));
            }
        }
    }

    #[test]
    fn what_no_prefix_shares_is_left_out() {
        let prefixes = ["2001:db8:1::/64", "2001:db8:3::/64"].map(|text| text.parse().unwrap());
        let within = |text: &str| within(&prefixes, text.parse().unwrap());
        assert!(within("2001:db8:1::9"));
        assert!(within("2001:db8:3::9"));
        assert!(!within("2001:db8:4::9"));
        assert!(!within("2001:db8:1:1::9"));
    }
}
