//! What a correspondent does with the messages of its fleet, and what it tells the others.
//!
//! A gateway that has just started knows nothing, and must not decide by what it happens to know: until it has the
//! others' flows, bindings steer no new flow, for what it takes for a new one may be bound elsewhere. What the others
//! tell of flows is used at once.

use std::time::Duration;

use anycast_common::{
    abi::maps::{Flow, FlowKey},
    wire::{ipv6, mobility::Message},
};

use super::{
    Correspondent, changed, elsewhere::heard, leads, origin::Origin, periods::LATEST,
    sequences::Tag, triple::Triple, update::Refused,
};
use crate::core::{
    Action, Actions, MapAction, Time,
    counters::Counter,
    fleet::{Bus, News, Pins},
    notice::BindingChange,
    rr,
};

/// After this time, gateways that find each other again take each other's messages.
const AGAIN: Duration = Duration::from_secs(1);

impl Correspondent {
    /// Takes a message of the bus.
    pub fn bus_message(&mut self, now: Time, octets: &[u8], actions: &mut Actions) {
        let Some(bus) = &mut self.bus else {
            return;
        };
        let was_ready = bus.is_ready();
        match bus.receive(now, octets, &mut self.counters, actions) {
            News::None => {}
            News::Update(packet) => self.fleet_update(now, packet, actions),
            News::Pins(pins) => self.adopt_pins(now, &pins, actions),
            News::Snapshot(mut pins, taken) => {
                self.elsewhere.since(taken).take_out(&mut pins);
                self.adopt_bindings(now, &pins, actions);
                self.adopt_pins(now, &pins, actions);
            }
            News::Ends(ends) => {
                for (at, end) in ends {
                    self.ended_elsewhere(now, at, end, actions);
                }
            }
            News::Wanted => self.recent.want_all(now),
            News::Back(since) => self.unheard(now, since),
        }
        if !was_ready {
            self.if_ready(actions);
        }
    }

    /// The connection to the bus is there, or is not.
    pub fn bus_connected(&mut self, now: Time, is: bool) {
        let unheard = self.bus.as_mut().and_then(|bus| bus.connected(now, is));
        if let Some(since) = unheard {
            self.unheard(now, since);
        }
    }

    /// What was said since then, another gateway has not heard.
    fn unheard(&mut self, now: Time, since: Time) {
        self.published.unsaid(since);
        self.elsewhere.unheard(since, now + AGAIN);
        self.sweeper.no_later_than(now + AGAIN);
    }

    /// The bus, where there is one.
    #[must_use]
    pub fn bus(&self) -> Option<&Bus> {
        self.bus.as_ref()
    }

    /// Whether this gateway may decide about new flows.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.bus.as_ref().is_none_or(Bus::is_ready)
    }

    /// Whether other gateways hear what this one says.
    pub(super) fn has_others(&self) -> bool {
        self.bus.as_ref().is_some_and(Bus::has_others)
    }

    /// Whether there are others, who have to hear of a new binding before flows are steered by it.
    pub(super) fn is_told_first(&mut self, now: Time, triple: Triple) -> bool {
        let has_others = self.has_others();
        if has_others {
            self.ahead.steer(now, triple);
        }
        has_others
    }

    pub(super) fn poll_bus(&mut self, now: Time, actions: &mut Actions) {
        if let Some(bus) = &mut self.bus {
            let was_ready = bus.is_ready();
            bus.poll(now, actions);
            if !was_ready {
                self.if_ready(actions);
            }
        }
    }

    /// From now on, bindings steer.
    fn if_ready(&self, actions: &mut Actions) {
        if !self.is_ready() {
            return;
        }
        let mut last = None;
        for (triple, _) in self.cache.live() {
            if last != Some(triple.pair()) {
                self.steer(triple.pair(), None, actions);
                last = Some(triple.pair());
            }
        }
    }

    /// Tells the others of a Binding Update that was accepted.
    pub(super) fn tell_update(&mut self, now: Time, packet: &[u8], actions: &mut Actions) {
        if let Some(bus) = &mut self.bus {
            bus.update(now, packet, actions);
        }
    }

    /// A Binding Update that another gateway accepted. It proves itself as at that gateway, and is answered there.
    fn fleet_update(&mut self, now: Time, octets: &[u8], actions: &mut Actions) {
        let parsed = ipv6::Packet::parse(octets);
        let update = parsed.and_then(|packet| Ok((Message::parse(&packet)?, packet)));
        let Ok((Message::BindingUpdate(update), packet)) = update else {
            return self.counters.count(Counter::FleetMessageMalformed);
        };
        let ours = self.settings.is_client(packet.destination);
        if !ours || !ipv6::is_routable_unicast(packet.source) || packet.home_address.is_some() {
            self.counters.count(Counter::BindingUpdateNotOurs);
            return self.counters.count(Counter::FleetUpdateRefused);
        }
        let outcome = self
            .authorize(now, &packet, &update)
            .and_then(|seal| self.apply(now, &packet, &update, seal, Origin::Fleet, actions));
        match outcome {
            Ok(_) => self.counters.count(Counter::FleetUpdateAccepted),
            Err(Refused::Silently(counter) | Refused::With { counter, .. }) => {
                self.counters.count(counter);
                self.counters.count(Counter::FleetUpdateRefused);
            }
        }
    }

    /// Bindings of a snapshot, which live as long as they do at the others.
    fn adopt_bindings(&mut self, now: Time, all: &[Pins], actions: &mut Actions) {
        for pins in all.iter().filter(|pins| !pins.remaining.is_zero()) {
            let triple = Triple::of(pins);
            if !self.may_adopt(triple) {
                self.counters.count(Counter::FleetFlowsRefused);
                continue;
            }
            // Since its last update its member may have failed, or a flow on trial.
            let updated = (now + pins.remaining).before(rr::BINDING_LIFETIME);
            let failed = self.elsewhere.has_failed(triple.care_of, updated);
            if failed || self.trials.is_alone(now, triple.client, triple.care_of) {
                continue;
            }
            let tag = Tag::of(triple);
            // What was heard of it since the snapshot was taken counts: it may have been deleted.
            let last = self.sequences.last(now, tag);
            if last.is_some_and(|last| rr::is_after(last, pins.sequence)) {
                continue;
            }
            let ready = self.is_ready();
            let steered = ready.then(|| self.cache.steering(triple.pair())).flatten();
            let (remaining, sequence) = (pins.remaining, pins.sequence);
            let change = match self.cache.get(triple) {
                Some(_) => BindingChange::Renewed,
                None => BindingChange::Created,
            };
            let live = self.cache.adopt_live(now, triple, sequence, remaining);
            match live {
                Ok(Some(live)) => {
                    // Nobody has said which nonces it was made with.
                    self.sequences.note(now, tag, sequence, now + LATEST);
                    actions.push(leads(triple, live.expires));
                    actions.push(changed(triple, change, None));
                    self.steer(triple.pair(), steered, actions);
                }
                // As much is known already.
                Ok(None) => {}
                Err(_) => self.counters.count(Counter::FleetFlowsRefused),
            }
        }
    }

    /// Flows that are bound elsewhere, and may come here with their next packet.
    fn adopt_pins(&mut self, now: Time, all: &[Pins], actions: &mut Actions) {
        let mut flows = Actions::new();
        for pins in all.iter().filter(|pins| !pins.flows.is_empty()) {
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
                self.counters.count(Counter::FleetFlowsRefused);
                continue;
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
        // Pairs (A, C) come first, one after the other: answers of a flow need them.
        actions.append(&mut flows);
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
