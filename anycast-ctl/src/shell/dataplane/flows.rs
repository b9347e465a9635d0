//! Reads all entries of the flow maps, for use in another thread.

use std::{hash::Hash, os::fd::AsFd as _, sync::Arc};

use anycast_common::abi::maps::{Flow, FlowKey, MemberFlow, state};
use aya::maps::{HashMap, Map, MapData, MapError};

use super::{
    flow_table::{FlowTable, Place},
    writer::Pending,
};
use crate::core::Time;

/// Reads the flow maps. A clone reads the same maps.
#[derive(Clone, Debug)]
pub struct FlowReader {
    flows: Arc<FlowTable>,
    member_flows: Arc<MemberFlows>,
    /// Flows that are on their way into the table, for which each reading waits.
    pending: Arc<Pending>,
}

impl FlowReader {
    pub(super) fn new(
        flows: &Arc<FlowTable>,
        member_flows: &Arc<MemberFlows>,
        pending: &Arc<Pending>,
    ) -> Self {
        Self {
            flows: Arc::clone(flows),
            member_flows: Arc::clone(member_flows),
            pending: Arc::clone(pending),
        }
    }

    /// The pinned flows of a correspondent, in the order of their keys. Flows that begin or end meanwhile may be
    /// missed.
    #[must_use]
    pub fn flows(&self) -> Vec<(FlowKey, Flow)> {
        self.recent(Time::ZERO)
    }

    /// Those that were in use since this time.
    #[must_use]
    pub fn recent(&self, since: Time) -> Vec<(FlowKey, Flow)> {
        let [pinned, _] = self.read(since, |flow| (!state::is_open(flow.state)).then_some(false));
        pinned
    }

    /// How many flows a correspondent and a member can have.
    #[must_use]
    pub fn room(&self) -> (usize, usize) {
        (self.flows.room(), self.member_flows.most)
    }

    /// The pinned flows and the open ones, of one read, each in the order of their keys.
    #[must_use]
    pub fn by_state(&self) -> [Vec<(FlowKey, Flow)>; 2] {
        self.read(Time::ZERO, |flow| Some(state::is_open(flow.state)))
    }

    /// Both.
    #[must_use]
    pub fn all_flows(&self) -> Vec<(FlowKey, Flow)> {
        let [all, _] = self.read(Time::ZERO, |_| Some(false));
        all
    }

    /// Two kinds of the flows that were in use since this time, each in the order of their keys: those of which
    /// `second` says that they are not of the second kind, and those of which it says that they are.
    fn read(
        &self,
        since: Time,
        second: impl Fn(&Flow) -> Option<bool>,
    ) -> [Vec<(FlowKey, Flow)>; 2] {
        self.pending.wait();
        let mut kinds = [Kind::default(), Kind::default()];
        self.flows.since(since.as_nanos(), |place, key, flow| {
            if let Some(second) = second(&flow) {
                kinds[usize::from(second)].push(place, key, flow);
            }
        });
        kinds.map(Kind::ordered)
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

/// Flows of a reading.
#[derive(Default)]
struct Kind {
    flows: Vec<(FlowKey, Flow)>,
    /// By what they are sorted: the client, and where the flow stands, with [`Kind::SECOND`] for one that may be there
    /// twice. The flows themselves are large, and move once.
    order: Vec<(u128, u32)>,
}

impl Kind {
    const SECOND: u32 = 1 << 31;

    fn push(&mut self, place: Place, key: FlowKey, flow: Flow) {
        // No table has more.
        let Some(number) = u32::try_from(self.flows.len()).ok() else {
            return;
        };
        let second = match place {
            Place::First => 0,
            Place::Second => Self::SECOND,
        };
        self.order
            .push((u128::from_be_bytes(key.client), number | second));
        self.flows.push((key, flow));
    }

    /// All in the order of their keys, each once: as it is in its first set, if it is there.
    fn ordered(self) -> Vec<(FlowKey, Flow)> {
        let Self {
            mut flows,
            order: mut sorted,
        } = self;
        let at = |number: u32| (number & !Self::SECOND) as usize;
        sorted.sort_unstable_by(|(client, one), (another, other)| {
            client.cmp(another).then_with(|| {
                let [first, second] = [one, other].map(|number| order(&flows[at(*number)].0));
                first.cmp(&second).then_with(|| one.cmp(other))
            })
        });
        for place in 0..sorted.len() {
            let mut from = at(sorted[place].1);
            // What stood there has moved on.
            while from < place {
                from = at(sorted[from].1);
            }
            sorted[place].1 = u32::try_from(from).unwrap_or_default();
            flows.swap(place, from);
        }
        flows.dedup_by_key(|(key, _)| *key);
        flows
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
