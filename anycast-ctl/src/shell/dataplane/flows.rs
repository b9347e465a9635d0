//! Reads all entries of the flow maps, for use in another thread.

use std::{hash::Hash, os::fd::AsFd as _, sync::Arc};

use anycast_common::abi::maps::{Flow, FlowKey, MemberFlow, state};
use aya::maps::{HashMap, Map, MapData, MapError};

use super::flow_table::FlowTable;
use crate::core::Time;

/// Reads the flow maps. A clone reads the same maps.
#[derive(Clone, Debug)]
pub struct FlowReader {
    flows: Arc<FlowTable>,
    member_flows: Arc<MemberFlows>,
}

impl FlowReader {
    pub(super) fn new(flows: &Arc<FlowTable>, member_flows: &Arc<MemberFlows>) -> Self {
        Self {
            flows: Arc::clone(flows),
            member_flows: Arc::clone(member_flows),
        }
    }

    /// The pinned flows of a correspondent, in the order of their keys. Flows that begin or end meanwhile may be
    /// missed.
    #[must_use]
    pub fn flows(&self) -> Vec<(FlowKey, Flow)> {
        let all = self.flows.iter();
        ordered(
            all.filter(|(_, flow)| !state::is_open(flow.state))
                .collect(),
        )
    }

    /// Those that were in use since this time.
    #[must_use]
    pub fn recent(&self, since: Time) -> Vec<(FlowKey, Flow)> {
        let recent = self.flows.since(since.as_nanos());
        let pinned = recent.filter(|(_, flow)| !state::is_open(flow.state));
        ordered(pinned.collect())
    }

    /// How many flows a correspondent and a member can have.
    #[must_use]
    pub fn room(&self) -> (usize, usize) {
        (self.flows.room(), self.member_flows.most)
    }

    /// Those, and the open ones.
    #[must_use]
    pub fn all_flows(&self) -> Vec<(FlowKey, Flow)> {
        ordered(self.flows.iter().collect())
    }

    /// The pinned flows and the open ones, of one read, each in the order of their keys.
    #[must_use]
    pub fn by_state(&self) -> [Vec<(FlowKey, Flow)>; 2] {
        let is_pinned = |(_, flow): &(FlowKey, Flow)| !state::is_open(flow.state);
        self.all_flows().into_iter().partition(is_pinned).into()
    }

    /// The flows that came to a member by its care-of address, in the order of their keys. Flows that begin or end
    /// meanwhile may be missed.
    #[must_use]
    pub fn member_flows(&self) -> Vec<(FlowKey, MemberFlow)> {
        let mut flows = self.member_flows.read();
        flows.retain(|(_, flow)| flow.care_of != [0; 16]);
        ordered(flows)
    }
}

/// Sorts the flows by key, and removes duplicates. Each is moved once, since it is large.
fn ordered<V>(mut flows: Vec<(FlowKey, V)>) -> Vec<(FlowKey, V)> {
    flows.sort_by_cached_key(|(key, _)| order(key));
    flows.dedup_by_key(|(key, _)| *key);
    flows
}

/// The order of flow keys. Addresses are compared as whole numbers, which is quicker than by octets.
#[must_use]
pub fn order(key: &FlowKey) -> impl Ord + Copy + Hash + use<> {
    (
        u128::from_be_bytes(key.client),
        u128::from_be_bytes(key.anycast),
        key.client_port,
        key.service_port,
        key.protocol,
    )
}

/// The map of a member's flows, through a file descriptor of its own.
#[derive(Debug)]
pub(super) struct MemberFlows {
    map: HashMap<MapData, FlowKey, MemberFlow>,
    most: usize,
}

impl MemberFlows {
    pub(super) fn new(map: &MapData) -> Result<Self, MapError> {
        let descriptor = map.fd().as_fd().try_clone_to_owned()?;
        let most = map.info()?.max_entries();
        let map = Map::LruHashMap(MapData::from_fd(descriptor)?);
        Ok(Self {
            map: HashMap::try_from(map)?,
            most: usize::try_from(most).unwrap_or(usize::MAX),
        })
    }

    /// Reads all entries, with a limit. When the key at which the kernel stands is deleted, the kernel starts again
    /// from the beginning. Flows may therefore be read twice, and where flows come and go fast, reading might never
    /// end.
    fn read(&self) -> Vec<(FlowKey, MemberFlow)> {
        let found = self.map.iter().take(self.most.saturating_mul(2));
        found.filter_map(Result::ok).collect()
    }
}
