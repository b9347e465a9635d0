//! What this router sends to the switches of a link, and what it hears of them (RFC 4286).

use std::time::Duration;

use anycast_common::wire::{
    discovery::{self, ADVERTISEMENT_LEN, Announcement},
    ipv6::Packet,
};

use super::{
    LinkId, Router, Timer,
    discovery::{Effect, Event},
};
use crate::core::{Action, Actions, Time, counters::Counter};

impl Router {
    /// Applies an event to what the switches of a link are told.
    pub(super) fn discovery_event(
        &mut self,
        now: Time,
        id: LinkId,
        event: Event,
        actions: &mut Actions,
    ) {
        let link = &mut self.links[id];
        let Some(interval) = link.settings.advertisement_interval else {
            return;
        };
        let (state, effect) = link.discovery.step(event);
        link.discovery = state;
        match effect {
            Effect::Nothing => {}
            Effect::Wait => self.await_advertisement(now, id, interval),
            Effect::Advertise => {
                self.advertise(id, interval, actions);
                self.await_advertisement(now, id, interval);
            }
            Effect::Answer => {
                if link.solicitations.take(now) {
                    self.advertise(id, interval, actions);
                } else {
                    self.counters.count(Counter::DiscoveryLimited);
                }
            }
            Effect::Stop => {
                self.schedule.cancel(Timer::Advertise(id));
                if self.announce(id, Announcement::Termination, actions) {
                    self.counters.count(Counter::DiscoveryTerminationSent);
                }
            }
        }
    }

    /// Handles a Multicast Router Solicitation (section 4), or what looks like one.
    pub fn solicited(
        &mut self,
        now: Time,
        ifindex: u32,
        packet: &Packet<'_>,
        actions: &mut Actions,
    ) {
        match (self.link_id(ifindex), discovery::solicitation(packet)) {
            (Some(id), Ok(())) => self.discovery_event(now, id, Event::Solicited, actions),
            // Other routers of this host may be on that link.
            (None, _) => {}
            (Some(_), Err(_)) => self.counters.count(Counter::DiscoveryInvalid),
        }
    }

    fn await_advertisement(&mut self, now: Time, id: LinkId, interval: Duration) {
        let wait = self.links[id].discovery.wait(interval, &mut self.random);
        self.schedule.start(Timer::Advertise(id), now, wait);
    }

    fn advertise(&mut self, id: LinkId, interval: Duration, actions: &mut Actions) {
        let timers = &self.links[id].settings.timers;
        let advertisement = Announcement::Advertisement {
            interval: u8::try_from(interval.as_secs()).unwrap_or(u8::MAX),
            query_interval: u16::try_from(timers.query_interval.as_secs()).unwrap_or(u16::MAX),
            robustness: timers.robustness.into(),
        };
        if self.announce(id, advertisement, actions) {
            self.counters.count(Counter::DiscoveryAdvertisementSent);
        }
    }

    /// Sends an announcement. Gives whether the link could send it.
    fn announce(&self, id: LinkId, announcement: Announcement, actions: &mut Actions) -> bool {
        let Some((ifindex, source)) = self.links[id].sender() else {
            return false;
        };
        let mut packet = vec![0; ADVERTISEMENT_LEN];
        let Ok(length) = announcement.emit(source, &mut packet) else {
            debug_assert!(false, "the buffer has the size of the longest");
            return false;
        };
        packet.truncate(length);
        actions.push(Action::Send {
            ifindex: Some(ifindex),
            packet,
        });
        true
    }
}
