//! The node key of the programs that answer Test Inits.

use anycast_common::abi::maps;
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use zerocopy::{FromZeros as _, IntoBytes as _};
use zeroize::Zeroize as _;

use super::{
    access::{failed, take},
    error::DataplaneError,
};
use crate::core::rr::NodeKey;

const MAP: &str = "NODE_KEYS";
const AGE: &str = maps::NodeKey::AGE_SECTION;

/// The maps of the node key.
pub(super) struct NodeKeys {
    keys: Array<MapData, maps::NodeKey>,
    age: Array<MapData, u64>,
}

impl NodeKeys {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        Ok(Self {
            keys: take(ebpf, MAP)?,
            age: take(ebpf, AGE)?,
        })
    }

    /// Replaces the key. A Test Init is answered with the old one or with the new one.
    pub(super) fn set(&mut self, key: &NodeKey) -> Result<(), DataplaneError> {
        let [n0, n1, n2, n3, n4, n5, n6, n7] = key.nonce;
        let words = [[n0, n1, n2, n3], [n4, n5, n6, n7]];
        let mut value = maps::NodeKey {
            inner: key.midstates.inner,
            outer: key.midstates.outer,
            nonce: words.map(u32::from_be_bytes),
            until: key.until.as_nanos(),
            index: key.index.to_be_bytes(),
            reserved: [0; 6],
        };
        let replaced = self.replace(&value);
        value.as_mut_bytes().zeroize();
        replaced
    }

    /// Removes the key, and the one before it.
    pub(super) fn remove(&mut self) -> Result<(), DataplaneError> {
        for _ in 0..maps::NodeKey::ENTRIES {
            self.replace(&maps::NodeKey::new_zeroed())?;
        }
        Ok(())
    }

    fn replace(&mut self, key: &maps::NodeKey) -> Result<(), DataplaneError> {
        let next = self.age.get(&0, 0).map_err(failed(AGE))?.wrapping_add(1);
        let entry = maps::NodeKey::entry(next);
        self.keys.set(entry, key, 0).map_err(failed(MAP))?;
        self.age.set(0, next, 0).map_err(failed(AGE))
    }
}
