//! What a correspondent takes over of the bindings and flows that other gateways of its fleet have.

use std::hint::black_box;

use anycast_common::{
    abi::maps::{Flow, FlowKey},
    wire::ipv6,
};

use super::{
    Correspondent, changed, elsewhere::heard, leads, periods::LATEST, sequences::Tag,
    triple::Triple,
};
use crate::core::{Action, Actions, MapAction, Time, counters::Counter, fleet::Pins, rr};

/// Triples of a snapshot that are looked up before the first of them is taken.
const TOGETHER: usize = 32;

impl Correspondent {
    /// Makes room for a snapshot of so many parts like its first one, as far as there may be so much. Tables that grow
    /// step by step are built anew with each step.
    pub(super) fn make_room(&mut self, first: &[Pins], parts: usize) {
        let flows: usize = first.iter().map(|pins| pins.flows.len()).sum();
        let bound = first.iter().filter(|pins| !pins.remaining.is_zero());
        let [triples, bound, flows] =
            [first.len(), bound.count(), flows].map(|number| number.saturating_mul(parts));
        self.cache.reserve(triples, bound);
        self.sequences.reserve(bound);
        self.published.reserve(flows.min(self.settings.max_care_of));
    }

    /// Takes over a part of a snapshot.
    pub(super) fn adopt_snapshot(&mut self, now: Time, all: &[Pins], actions: &mut Actions) {
        let mut flows = Actions::new();
        for pins in all.chunks(TOGETHER) {
            let tag = |pins: &Pins| (!pins.remaining.is_zero()).then(|| Tag::of(Triple::of(pins)));
            let tags: Vec<_> = pins.iter().map(tag).collect();
            self.look_up(pins, &tags);
            for (pins, tag) in pins.iter().zip(tags) {
                if let Some(tag) = tag {
                    self.adopt_binding(now, pins, tag, actions);
                }
                self.adopt_flows(now, pins, actions, &mut flows);
            }
        }
        actions.append(&mut flows);
    }

    /// Takes over flows that are bound elsewhere, and may come here with their next packet.
    pub(super) fn adopt_pins(&mut self, now: Time, all: &[Pins], actions: &mut Actions) {
        let mut flows = Actions::new();
        for pins in all {
            self.adopt_flows(now, pins, actions, &mut flows);
        }
        // Pairs (A, C) come first, one after the other: answers of a flow need them.
        actions.append(&mut flows);
    }

    /// Looks for what is about to be taken. The tables fit no cache of a processor: these looks wait for memory all at
    /// once, and those of what is then done with a triple one after the other.
    fn look_up(&self, all: &[Pins], tags: &[Option<Tag>]) {
        let flows = all.iter().flat_map(|pins| &pins.flows);
        let known = [
            all.iter()
                .filter(|pins| self.cache.has_way_back(Triple::of(pins)))
                .count(),
            all.iter()
                .filter(|pins| self.cache.get(Triple::of(pins)).is_some())
                .count(),
            tags.iter()
                .flatten()
                .filter(|tag| self.sequences.has(**tag))
                .count(),
            flows.filter(|(key, _)| self.published.has(key)).count(),
        ];
        black_box(known);
    }

    /// A binding of a snapshot, which lives as long as it does at the others.
    fn adopt_binding(&mut self, now: Time, pins: &Pins, tag: Tag, actions: &mut Actions) {
        let triple = Triple::of(pins);
        if !self.may_adopt(triple) {
            return self.counters.count(Counter::FleetFlowsRefused);
        }
        // Since its last update its member may have failed, or a flow on trial.
        let updated = (now + pins.remaining).before(rr::BINDING_LIFETIME);
        let failed = self.elsewhere.has_failed(triple.care_of, updated);
        if failed || self.trials.is_alone(now, triple.client, triple.care_of) {
            return;
        }
        // What was heard of it since the snapshot was taken counts: it may have been deleted.
        let last = self.sequences.last(now, tag);
        if last.is_some_and(|last| rr::is_after(last, pins.sequence)) {
            return;
        }
        let (remaining, sequence) = (pins.remaining, pins.sequence);
        match self.cache.adopt_live(now, triple, sequence, remaining) {
            Ok(Some(bound)) => {
                // Nobody has said which nonces it was made with.
                self.sequences.note(now, tag, sequence, now + LATEST);
                actions.push(leads(triple, bound.live.expires));
                actions.push(changed(triple, bound.change(), None));
                self.steer(triple.pair(), bound.steered, bound.steers, actions);
            }
            // As much is known already.
            Ok(None) => {}
            Err(_) => self.counters.count(Counter::FleetFlowsRefused),
        }
    }

    /// Flows of a triple that are bound elsewhere. Pairs (A, C) go to `actions`, and flows to `flows`.
    fn adopt_flows(&mut self, now: Time, pins: &Pins, actions: &mut Actions, flows: &mut Actions) {
        if pins.flows.is_empty() {
            return;
        }
        let triple = Triple::of(pins);
        let Triple {
            client,
            anycast,
            care_of,
        } = triple;
        // A trial that failed says nothing of flows that were answered.
        let alone = self.trials.is_alone(now, client, care_of);
        let (elsewhere, over) = (&self.elsewhere, self.elsewhere.over_until(triple));
        let believed = |(key, flow): &(FlowKey, Flow)| {
            let may_be = !alone || flow.answered != 0;
            may_be && heard(flow) >= over && !elsewhere.is_opened(key, flow)
        };
        let any = pins.flows.iter().any(believed);
        let known = (any && self.may_adopt(triple))
            .then(|| self.cache.remember(now, client, care_of, anycast));
        let Some(Ok(new)) = known else {
            return self.counters.count(Counter::FleetFlowsRefused);
        };
        if new {
            actions.push(leads(triple, Time::ZERO));
        }
        for known in &pins.flows {
            if !believed(known) {
                self.counters.count(Counter::FleetFlowsRefused);
                continue;
            }
            self.counters.count(Counter::FleetFlowsAdopted);
            let (key, flow) = *known;
            self.published.heard(now, key, &flow);
            flows.push(Action::Map(MapAction::AdoptFlow { key, flow }));
        }
    }

    fn may_adopt(&self, triple: Triple) -> bool {
        let Triple {
            client,
            anycast,
            care_of,
        } = triple;
        let settings = &self.settings;
        settings.is_client(client)
            && settings.may_bind(anycast)
            && ipv6::is_routable_unicast(anycast)
            && self.can_be_care_of(care_of, anycast)
    }
}
