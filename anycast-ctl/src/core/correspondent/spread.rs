//! What a correspondent tells its fleet of flows: soon of those that were in use of late, and of all when they are
//! judged. So what has to be looked at often does not grow with the flows that are silent.

use std::time::Duration;

use anycast_common::abi::maps::{Flow, FlowKey};

use super::{Correspondent, live::Live, triple::Triple};
use crate::core::{
    Actions, Time,
    fleet::{Due, Pins, Published},
};

/// While a snapshot comes, flows are not read for so long, unless something calls for it.
const SPARED: Duration = Duration::from_millis(500);

impl Correspondent {
    /// Handles the flows that [`Action::ReadRecentFlows`](crate::core::Action::ReadRecentFlows) requested. Their
    /// reading began at `now`.
    pub fn recent_flows(&mut self, now: Time, flows: &[(FlowKey, Flow)], actions: &mut Actions) {
        let Some(bus) = &mut self.bus else {
            return;
        };
        if std::mem::take(&mut self.recent.all_awaited) && bus.is_wanted() {
            let all = with_bindings(now, self.cache.live(), by_triple(flows));
            bus.serve(now, all, &mut self.counters, actions);
            // They are as late as they were.
            return self.recent.read(now, 0, Published::MOST);
        }
        bus.holds(self.cache.bound(), self.recent.number);
        let due = self.published.due_of_late(now, flows);
        self.recent.read(now, flows.len(), due.len());
        bus.pins(now, by_triple(&due), actions);
    }

    /// While a snapshot comes, flows are not read by themselves: what it brings is what would be read, again and again.
    /// Those of an earlier run go on meanwhile, so what an ICMPv6 error or an end calls for is done in time.
    /// Who gives it judges its flows a little later, too: that is as much work as the snapshot.
    pub(super) fn spare(&mut self, now: Time) {
        if self.bus.as_ref().is_some_and(|bus| bus.is_taking(now)) {
            self.recent.not_before(now + SPARED);
            self.sweeper.not_before(now + SPARED);
        }
        if self.bus.as_ref().is_some_and(|bus| bus.is_giving(now)) {
            self.sweeper.put_off(now, now + SPARED);
        }
    }

    /// Tells the others of the flows of a sweep that they do not know. So many of them go on.
    pub(super) fn spread(
        &mut self,
        now: Time,
        due: Due,
        flows: &[(FlowKey, Flow)],
        number: usize,
        actions: &mut Actions,
    ) {
        let Some(bus) = &mut self.bus else {
            return;
        };
        bus.holds(self.cache.bound(), number);
        let due = self.published.end(now, due, flows);
        self.recent.read_all(now, number, due.len());
        bus.pins(now, by_triple(&due), actions);
    }
}

/// The flows of each triple, in order. They mostly are in order already, and sorting finds that out at once.
fn by_triple(flows: &[(FlowKey, Flow)]) -> impl Iterator<Item = Pins> {
    let triple = |(key, flow): &(FlowKey, Flow)| Triple {
        client: key.client.into(),
        anycast: key.anycast.into(),
        care_of: flow.care_of.into(),
    };
    let mut all: Vec<_> = flows.iter().collect();
    all.sort_by_key(|known| triple(known));
    let mut rest = all.into_iter().copied().peekable();
    std::iter::from_fn(move || {
        let first = rest.next()?;
        let of = triple(&first);
        // Most have one.
        let mut pins = Pins {
            flows: vec![first],
            ..empty(of)
        };
        while let Some(next) = rest.next_if(|next| triple(next) == of) {
            pins.flows.push(next);
        }
        Some(pins)
    })
}

/// Live bindings and flows, in the order of their triples, so that who takes them finds their places side by side.
fn with_bindings<'a>(
    now: Time,
    live: impl Iterator<Item = (Triple, &'a Live)>,
    pins: impl Iterator<Item = Pins>,
) -> impl Iterator<Item = Pins> {
    let (mut live, mut pins) = (live.peekable(), pins.peekable());
    std::iter::from_fn(move || {
        let bound = live.peek().map(|(triple, _)| *triple);
        let pinned = pins.next_if(|pins| bound.is_none_or(|bound| Triple::of(pins) <= bound));
        let first = pinned.as_ref().map(Triple::of).or(bound)?;
        let mut all = pinned.unwrap_or_else(|| empty(first));
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
