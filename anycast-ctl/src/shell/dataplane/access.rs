//! Takes maps out of the object, and writes and removes their entries.

use std::{borrow::Borrow, net::Ipv6Addr};

use anycast_common::abi::maps::{Address, BindingKey};
use aya::{
    Ebpf, Pod,
    maps::{
        HashMap, Map, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::Ipv6Net;

use super::error::DataplaneError;

pub(super) type Hash<K, V> = HashMap<MapData, K, V>;

pub(super) fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DataplaneError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(DataplaneError::Missing(name))?;
    T::try_from(map).map_err(failed(name))
}

pub(super) fn failed(map: &'static str) -> impl Fn(MapError) -> DataplaneError {
    move |error| DataplaneError::Map { map, error }
}

pub(super) fn set_prefixes(
    name: &'static str,
    map: &mut LpmTrie<MapData, Address, u32>,
    prefixes: &[Ipv6Net],
) -> Result<(), DataplaneError> {
    let wanted: Vec<_> = prefixes
        .iter()
        .map(|prefix| Key::new(u32::from(prefix.prefix_len()), octets(prefix.network())))
        .collect();
    let old: Vec<_> = map.keys().collect::<Result<_, _>>().map_err(failed(name))?;
    for key in &wanted {
        map.insert(key, 1, 0).map_err(failed(name))?;
    }
    let same = |a: &Key<Address>, b: &Key<Address>| {
        a.prefix_len() == b.prefix_len() && a.data() == b.data()
    };
    for key in old
        .iter()
        .filter(|old| !wanted.iter().any(|new| same(old, new)))
    {
        map.remove(key).map_err(failed(name))?;
    }
    Ok(())
}

pub(super) fn set<K: Pod, V: Pod>(
    name: &'static str,
    map: &mut Hash<K, V>,
    key: impl Borrow<K>,
    value: V,
) -> Result<(), DataplaneError> {
    map.insert(key, value, 0).map_err(failed(name))
}

/// Removes an entry. It is no error if the entry does not exist, since actions are idempotent.
pub(super) fn remove<K: Pod, V: Pod>(
    name: &'static str,
    map: &mut Hash<K, V>,
    key: &K,
) -> Result<(), DataplaneError> {
    match map.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        Err(error) => Err(failed(name)(error)),
    }
}

pub(super) fn pair(client: Ipv6Addr, anycast: Ipv6Addr) -> BindingKey {
    BindingKey {
        client: octets(client),
        anycast: octets(anycast),
    }
}

pub(super) const fn octets(address: Ipv6Addr) -> [u8; 16] {
    address.octets()
}
