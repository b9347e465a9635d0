//! The hints by which the programs decide early that a packet needs no further work. They are kept consistent with the
//! other maps.

use std::{io, net::Ipv6Addr, time::Duration};

use anycast_common::abi::{
    globals,
    maps::{
        self, AGE, AGE_SECTION, FLOW_CACHE, FLOW_CACHE_LIFE, PLAIN_ROUTES_SECTION, WAYS, mixed,
        our_address,
    },
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
/// Maps that have a part for each CPU, with the number of entries of one part.
const PARTED: [(&str, u32); 2] = [("FLOW_CACHE", FLOW_CACHE), ("WAYS", WAYS)];

/// The hints, and what they are made of.
pub(super) struct Hints {
    map: Array<MapData, maps::Hints>,
    value: Box<maps::Hints>,
    age: Array<MapData, u64>,
    /// Programs of an earlier build have it not, and ask the FIB for each flow.
    plain_routes: Option<Array<MapData, u64>>,
    /// Whether packets may share next hops since then.
    vouched: bool,
}

/// The end to which prefixes belong.
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
            plain_routes: take(ebpf, PLAIN_ROUTES_SECTION).ok(),
            vouched: false,
        })
    }

    /// From now on the programs look closely at packets in which this address may be what it is: bits of
    /// [`whose`](maps::whose). To be called before a map gets an entry for the address.
    pub(super) fn add_address(
        &mut self,
        address: Ipv6Addr,
        whose: u8,
    ) -> Result<(), DataplaneError> {
        let index = our_address(mixed(halves(address)));
        let Some(ours) = self.value.addresses.get_mut(index as usize) else {
            return Ok(());
        };
        if *ours & whose == whose {
            return Ok(());
        }
        *ours |= whose;
        self.write()?;
        // Flows in the cache would otherwise still skip the closer look.
        self.end_flow_cache()
    }

    /// Replaces all prefixes of one end. `None` stands for every address, and has to be set while the prefixes change.
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

    /// Ends the entries of the flow cache after a change in the kernel. Does nothing where no address is ours and no
    /// next hop was ever shared, since there are no entries then.
    pub(super) fn next_hops_changed(&mut self) -> Result<(), DataplaneError> {
        if !self.vouched && self.value.addresses.iter().all(|ours| *ours == 0) {
            return Ok(());
        }
        self.end_flow_cache()
    }

    /// Until then, in nanoseconds, nothing but the destination and the interface of a packet decides its next hop.
    pub(super) fn vouch_for_routes(&mut self, until: u64) -> Result<(), DataplaneError> {
        let Some(map) = &mut self.plain_routes else {
            return Ok(());
        };
        self.vouched |= until > 0;
        map.set(0, until, 0).map_err(failed(PLAIN_ROUTES_SECTION))
    }

    /// Ends all entries of the flow cache, so that the next packet of every pinned flow is looked at closely.
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

/// Sizes of the caches, and the lifetime of their entries.
pub(super) struct Caches {
    cpus: u32,
    jiffies: u64,
}

impl Caches {
    pub(super) fn new() -> Result<Self, DataplaneError> {
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        // The coarse clock of the kernel advances once per jiffy.
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

/// The bits that all prefixes have in common within their first 64, and a mask of these bits, in memory order.
fn common(prefixes: &[Ipv6Net]) -> (u64, u64) {
    let half = |address| halves(address)[0];
    let first = prefixes.first().map_or(0, |first| half(first.network()));
    let mask = prefixes.iter().fold(u64::MAX, |mask, prefix| {
        mask & half(prefix.netmask()) & !(half(prefix.network()) ^ first)
    });
    (first & mask, mask)
}

/// The two halves of an address, in memory order.
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
