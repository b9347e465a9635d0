//! What a correspondent does with the messages of its fleet, and what it tells the others.
//!
//! A gateway that has just started knows nothing, and must not decide by what it happens to know: until it has the
//! others' flows, bindings steer no new flow, for what it takes for a new one may be bound elsewhere. What the others
//! tell of flows is used at once.

use std::time::Duration;

use anycast_common::wire::{ipv6, mobility::Message};

use super::{Correspondent, authorize::Refused, origin::Origin, steers, triple::Triple};
use crate::core::{
    Actions, Time,
    counters::Counter,
    fleet::{Bus, News, Unforgotten},
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
            News::Snapshot {
                mut pins,
                taken,
                parts,
            } => {
                if let Some(parts) = parts {
                    self.make_room(&pins, parts);
                }
                self.elsewhere.since(taken).take_out(&mut pins);
                self.adopt_snapshot(now, &pins, actions);
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

    /// No longer shows a gateway of the fleet that was taken away. `None` where there is no bus.
    pub fn dismiss_peer(&mut self, name: &str) -> Option<Result<(), Unforgotten>> {
        self.bus.as_mut().map(|bus| bus.dismiss(name))
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
        let steering = self.cache.all_steering();
        actions.reserve(self.cache.bound());
        actions.extend(steering.map(|(triple, live)| steers(triple, live.expires)));
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
}
