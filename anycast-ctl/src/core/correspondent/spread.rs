//! What a correspondent tells its fleet of flows: soon of those that were in use of late, and of all when they are
//! judged. So what has to be looked at often does not grow with the flows that are silent.

use std::{collections::BTreeMap, time::Duration};

use anycast_common::abi::maps::{Flow, FlowKey};

use super::{Correspondent, cache::Live, triple::Triple};
use crate::core::{
    Actions, Time,
    fleet::{Pins, Published},
};

impl Correspondent {
    /// Handles the flows that [`Action::ReadRecentFlows`](crate::core::Action::ReadRecentFlows) requested. Their
    /// reading began at `now`.
    pub fn recent_flows(&mut self, now: Time, flows: &[(FlowKey, Flow)], actions: &mut Actions) {
        let Some(bus) = &mut self.bus else {
            return;
        };
        if std::mem::take(&mut self.recent.all_awaited) && bus.is_wanted() {
            let all = with_bindings(now, self.cache.live(), by_triple(flows.iter().copied()));
            bus.serve(now, all, &mut self.counters, actions);
            // They are as late as they were.
            return self.recent.read(now, 0, Published::MOST);
        }
        bus.holds(self.cache.bound(), self.recent.number);
        let due = self.published.due_of_late(now, flows.iter());
        self.recent.read(now, flows.len(), due.len());
        bus.pins(now, by_triple(due.into_iter()).into_values(), actions);
    }

    /// Tells the others of the flows of a sweep that they do not know.
    pub(super) fn spread<'a>(
        &mut self,
        now: Time,
        flows: impl Iterator<Item = &'a (FlowKey, Flow)> + Clone,
        actions: &mut Actions,
    ) {
        let Some(bus) = &mut self.bus else {
            return;
        };
        let number = flows.clone().count();
        bus.holds(self.cache.bound(), number);
        let due = self.published.due(now, flows);
        self.recent.read_all(now, number, due.len());
        bus.pins(now, by_triple(due.into_iter()).into_values(), actions);
    }
}

/// The flows of each triple, in order.
fn by_triple(flows: impl Iterator<Item = (FlowKey, Flow)>) -> BTreeMap<Triple, Pins> {
    let mut all: BTreeMap<Triple, Pins> = BTreeMap::new();
    for (key, flow) in flows {
        let triple = Triple {
            client: key.client.into(),
            anycast: key.anycast.into(),
            care_of: flow.care_of.into(),
        };
        let pins = all.entry(triple).or_insert_with(|| empty(triple));
        if pins.flows.is_empty() {
            // Most have one.
            pins.flows.reserve_exact(1);
        }
        pins.flows.push((key, flow));
    }
    all
}

/// Live bindings and flows, in the order of their triples, so that who takes them finds their places side by side.
fn with_bindings<'a>(
    now: Time,
    live: impl Iterator<Item = (Triple, &'a Live)>,
    pins: BTreeMap<Triple, Pins>,
) -> impl Iterator<Item = Pins> {
    let (mut live, mut pins) = (live.peekable(), pins.into_iter().peekable());
    std::iter::from_fn(move || {
        let bound = live.peek().map(|(triple, _)| *triple);
        let pinned = pins.next_if(|(triple, _)| bound.is_none_or(|bound| *triple <= bound));
        let first = pinned.as_ref().map(|(triple, _)| *triple).or(bound)?;
        let mut all = pinned.map_or_else(|| empty(first), |(_, pins)| pins);
        if let Some((_, live)) = live.next_if(|(triple, _)| *triple == first) {
            all.remaining = live.expires - now;
            all.sequence = live.sequence;
        }
        Some(all)
    })
}

fn empty(triple: Triple) -> Pins {
    Pins {
        client: triple.client,
        anycast: triple.anycast,
        care_of: triple.care_of,
        remaining: Duration::ZERO,
        sequence: 0,
        flows: Vec::new(),
    }
}
