//! The flow maps, for whoever reads all of them on another thread.

use std::{hash::Hash, os::fd::AsFd as _, sync::Arc};

use anycast_common::abi::maps::{Flow, FlowKey, MemberFlow};
use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError},
};

/// Reads the flow maps. A clone reads the same.
#[derive(Clone, Debug)]
pub struct FlowReader {
    flows: Arc<Reader<Flow>>,
    member_flows: Arc<Reader<MemberFlow>>,
}

impl FlowReader {
    pub(super) fn new(flows: &MapData, member_flows: &MapData) -> Result<Self, MapError> {
        Ok(Self {
            flows: Arc::new(Reader::new(flows)?),
            member_flows: Arc::new(Reader::new(member_flows)?),
        })
    }

    /// The pinned flows of a correspondent, in the order of their keys. Flows that come or go
    /// meanwhile may be missed.
    #[must_use]
    pub fn flows(&self) -> Vec<(FlowKey, Flow)> {
        self.flows.read()
    }

    /// The flows of a member that came by a care-of address, likewise.
    #[must_use]
    pub fn member_flows(&self) -> Vec<(FlowKey, MemberFlow)> {
        self.member_flows.read()
    }
}

/// By what flows are ordered.
#[must_use]
pub fn order(key: &FlowKey) -> impl Ord + Copy + Hash + use<> {
    (
        key.client,
        key.anycast,
        key.client_port,
        key.service_port,
        key.protocol,
    )
}

/// A map, by a descriptor of its own.
#[derive(Debug)]
struct Reader<V> {
    map: HashMap<MapData, FlowKey, V>,
    most: usize,
}

impl<V: Pod> Reader<V> {
    fn new(map: &MapData) -> Result<Self, MapError> {
        let descriptor = map.fd().as_fd().try_clone_to_owned()?;
        let most = map.info()?.max_entries();
        let map = Map::LruHashMap(MapData::from_fd(descriptor)?);
        Ok(Self {
            map: HashMap::try_from(map)?,
            most: usize::try_from(most).unwrap_or(usize::MAX),
        })
    }

    /// When the key at which the kernel stands is deleted, it begins anew: flows may come twice, and
    /// where flows come and go fast it might never end.
    fn read(&self) -> Vec<(FlowKey, V)> {
        let found = self.map.iter().take(self.most.saturating_mul(2));
        let mut flows: Vec<_> = found.filter_map(Result::ok).collect();
        flows.sort_unstable_by_key(|(key, _)| order(key));
        flows.dedup_by_key(|(key, _)| *key);
        flows
    }
}
