//! Reads all entries of the flow maps, for use in another thread.

use std::{cmp::Ordering, hash::Hash, os::fd::AsFd as _, sync::Arc};

use anycast_common::abi::maps::{Flow, FlowKey, MemberFlow, state};
use aya::maps::{HashMap, Map, MapData, MapError};

use super::{
    flow_table::{FlowTable, Place},
    pace::{Hurry, Pace},
    writer::Pending,
};
use crate::core::Time;

/// Flows that are put into their order between two looks at whether others want the processor.
const STEP: usize = 1024;
/// So many are sorted at once.
const SORTED: usize = 16_384;

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
        self.read(since, |state| !state::is_open(state))
    }

    /// How many flows a correspondent and a member can have.
    #[must_use]
    pub fn room(&self) -> (usize, usize) {
        (self.flows.room(), self.member_flows.most)
    }

    /// The pinned flows, and the open ones as well if `listed`, of one read.
    #[must_use]
    pub fn by_state(&self, listed: bool, hurry: Hurry) -> ByState {
        self.pending.wait();
        let mut pace = Pace::patient(hurry);
        let (mut pinned, mut open, mut number) = (Kind::default(), Kind::default(), 0);
        let wanted = |state| {
            let is_open = state::is_open(state);
            number += usize::from(is_open);
            listed || !is_open
        };
        let found = |place, key, flow: Flow| match state::is_open(flow.state) {
            true => open.push(place, key, flow),
            false => pinned.push(place, key, flow),
        };
        self.flows.since(0, &mut pace, wanted, found);
        ByState {
            pinned: pinned.ordered(&mut pace),
            number_open: number,
            open: listed.then(|| open.ordered(&mut pace)),
        }
    }

    /// Both.
    #[must_use]
    pub fn all_flows(&self) -> Vec<(FlowKey, Flow)> {
        self.read(Time::ZERO, |_| true)
    }

    /// The flows that were in use since this time, of those whose state is wanted.
    fn read(&self, since: Time, wanted: impl Fn(u8) -> bool) -> Vec<(FlowKey, Flow)> {
        self.pending.wait();
        let (mut pace, mut kind) = (Pace::quick(), Kind::default());
        // The state may be another one when the flow is read.
        let found = |place, key, flow: Flow| {
            if wanted(flow.state) {
                kind.push(place, key, flow);
            }
        };
        self.flows
            .since(since.as_nanos(), &mut pace, &wanted, found);
        kind.ordered(&mut pace)
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

/// Flows of one reading, each list in the order of their keys.
#[derive(Debug)]
pub struct ByState {
    /// Those that are pinned.
    pub pinned: Vec<(FlowKey, Flow)>,
    /// How many are open. One that two CPUs opened at the same time counts twice.
    pub number_open: usize,
    /// These, if they were to be listed.
    pub open: Option<Vec<(FlowKey, Flow)>>,
}

/// Flows of a reading.
#[derive(Default)]
struct Kind {
    flows: Vec<(FlowKey, Flow)>,
    /// By what they are sorted: the client, and where the flow stands, with [`Kind::SECOND`] for one that may be there
    /// twice. The flows themselves are large, and move once.
    order: Vec<(u128, u32)>,
    /// Whether one of them is.
    elsewhere: bool,
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
        self.elsewhere |= place == Place::Second;
        self.order
            .push((u128::from_be_bytes(key.client), number | second));
        self.flows.push((key, flow));
    }

    /// All in the order of their keys, each once: as it is in its first set, if it is there.
    fn ordered(self, pace: &mut Pace) -> Vec<(FlowKey, Flow)> {
        let Self {
            mut flows,
            order: mut sorted,
            elsewhere,
        } = self;
        let at = |number: u32| (number & !Self::SECOND) as usize;
        let compare = |(client, one): &(u128, u32), (another, other): &(u128, u32)| {
            client.cmp(another).then_with(|| {
                let [first, second] = [one, other].map(|number| order(&flows[at(*number)].0));
                first.cmp(&second).then_with(|| one.cmp(other))
            })
        };
        sort(&mut sorted, &compare, pace);
        for place in 0..sorted.len() {
            if place.is_multiple_of(STEP) {
                pace.step();
            }
            let mut from = at(sorted[place].1);
            // What stood there has moved on.
            while from < place {
                from = at(sorted[from].1);
            }
            sorted[place].1 = u32::try_from(from).unwrap_or_default();
            flows.swap(place, from);
        }
        if elsewhere {
            flows.dedup_by_key(|(key, _)| *key);
        }
        flows
    }
}

/// Sorts in parts: of a million flows, dividing them in two takes ten milliseconds, and each of the rest less.
fn sort<T>(parts: &mut [T], compare: &impl Fn(&T, &T) -> Ordering, pace: &mut Pace) {
    pace.step();
    if parts.len() <= SORTED {
        return parts.sort_unstable_by(compare);
    }
    let (before, _, after) = parts.select_nth_unstable_by(parts.len() / 2, compare);
    sort(before, compare, pace);
    sort(after, compare, pace);
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
