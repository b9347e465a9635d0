//! What lets the programs tell soon that a packet needs no thought, kept true to the other maps.

use std::net::Ipv6Addr;

use anycast_common::abi::maps::{FLOW_CACHE, Scope, our_address};
use aya::{
    Ebpf,
    maps::{Array, MapData},
    util::nr_cpus,
};
use ipnet::Ipv6Net;

use super::{
    DataplaneError,
    maps::{failed, take},
    octets,
};

/// Pinned flows with their next hops: a part for each CPU.
pub(super) const CACHE: &str = "FLOW_CACHE";
const ADDRESSES: &str = "OUR_ADDRESSES";
const SCOPE: &str = "SCOPE";
const AGE: &str = "FLOW_CACHE_AGE";

/// The maps of the short way.
pub(super) struct Hints {
    addresses: Array<MapData, u64>,
    scope: Array<MapData, Scope>,
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
            addresses: take(ebpf, ADDRESSES)?,
            scope: take(ebpf, SCOPE)?,
            age: take(ebpf, AGE)?,
        })
    }

    /// The programs look closely at packets with this address from now on. To be said before a map
    /// speaks of the address.
    pub(super) fn add_address(&mut self, address: Ipv6Addr) -> Result<(), DataplaneError> {
        let (word, bit) = our_address(halves(address));
        let bits = self.addresses.get(&word, 0).map_err(failed(ADDRESSES))?;
        if bits & bit != 0 {
            return Ok(());
        }
        let bits = bits | bit;
        self.addresses.set(word, bits, 0).map_err(failed(ADDRESSES))
    }

    /// All prefixes of one side. While they change, none is to be said.
    pub(super) fn set_scope(
        &mut self,
        side: Side,
        prefixes: Option<&[Ipv6Net]>,
    ) -> Result<(), DataplaneError> {
        let (bits, mask) = prefixes.map_or((0, 0), common);
        let mut scope = self.scope.get(&0, 0).map_err(failed(SCOPE))?;
        match side {
            Side::Client => (scope.client, scope.client_mask) = (bits, mask),
            Side::Anycast => (scope.anycast, scope.anycast_mask) = (bits, mask),
        }
        self.scope.set(0, scope, 0).map_err(failed(SCOPE))
    }

    /// Has the next packet of every pinned flow looked at closely.
    pub(super) fn end_flow_cache(&mut self) -> Result<(), DataplaneError> {
        let age = self.age.get(&0, 0).map_err(failed(AGE))?;
        self.age.set(0, age.wrapping_add(1), 0).map_err(failed(AGE))
    }
}

/// Entries of the map [`CACHE`].
pub(super) fn cache_entries() -> Result<u32, DataplaneError> {
    let cpus = nr_cpus().map_err(|(_, error)| DataplaneError::Events(error))?;
    let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
    Ok(cpus.saturating_mul(FLOW_CACHE))
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
