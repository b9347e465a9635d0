//! Multicast Router Discovery (RFC 4286): this router tells snooping switches that it is there, so that they pass
//! Reports to it although it may not be the Querier.
//!
//! The Advertisements of a link do not depend on who is the Querier there. A link that comes back, or whose link-local
//! address changes, begins anew, since the switch behind it may be another one.

use std::time::Duration;

use anycast_common::wire::{
    discovery::{self, ADVERTISEMENT_LEN, Announcement},
    ipv6::Packet,
};
use rand::RngExt as _;

use super::{LinkId, Router, Timer};
use crate::core::{Action, Actions, Time, counters::Counter, rate::Rate, rr::Generator};

/// MaxInitialAdvertisementInterval (section 3.1.3): the first Advertisements wait for less than this, each.
const MAX_INITIAL_INTERVAL: Duration = Duration::from_secs(2);
/// MaxInitialAdvertisements (section 3.1.4).
const MAX_INITIAL: u8 = 3;
/// AdvertisementJitter (section 3.1.2), as a divisor of AdvertisementInterval.
const JITTER: u32 = 40;
/// MaxMessageRate (section 3.1.6). Anybody on the link can send Solicitations.
pub(super) const MAX_RATE: Rate = Rate::per_second(10, 10);

/// What this router tells the switches of a link.
///
/// ```text
///   ┌─────┐ Started (start initial timer)  ┌─────────┐──┐ Timer, Advertisements left
///   │ Off ├───────────────────────────────►│ Initial │  │ (Advertisement, start
///   └─────┘                                └─────────┘◄─┘ initial timer)
///      ▲ ▲     Stopped (stop timer)          │  │  ▲
///      │ └───────────────────────────────────┘  │  │ Started (start initial timer)
///      │                      Timer, the last   │  │
///      │                      (Advertisement,   ▼  │
///      │ Stopped              start timer)  ┌─────────┐──┐ Timer (Advertisement,
///      │ (stop timer)                       │ Regular │  │ start timer)
///      └────────────────────────────────────┤         │◄─┘
///                                           └─────────┘
/// ```
///
/// | Event | Off | Initial | Regular |
/// |---|---|---|---|
/// | Started | Initial: Wait | Initial: Wait | Initial: Wait |
/// | Stopped | stays | Off: Stop | Off: Stop |
/// | Timer | stays | Initial or Regular: Advertise | stays: Advertise |
/// | Solicited | stays | stays: Answer | stays: Answer |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// The link cannot send, or the configuration turns Advertisements off.
    #[default]
    Off,
    /// Right after the start, Advertisements follow each other soon, since one may get lost.
    Initial {
        /// Number of initial Advertisements that are still to be sent, at least one.
        left: u8,
    },
    /// Advertisements are sent every AdvertisementInterval.
    Regular,
}

/// Something that changes the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The link can send, or can do so from another address.
    Started,
    /// The link cannot send any more, or this router ends.
    Stopped,
    /// The timer expired.
    Timer,
    /// A switch asks.
    Solicited,
}

/// What the router does as a result of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Do nothing.
    Nothing,
    /// Start the timer, for a random time below MaxInitialAdvertisementInterval.
    Wait,
    /// Send an Advertisement, and start the timer as the new state has it.
    Advertise,
    /// Send an Advertisement, if the rate allows it. The timer goes on.
    Answer,
    /// Stop the timer, and send a Termination if the link can still send.
    Stop,
}

impl State {
    pub(super) fn step(self, event: Event) -> (Self, Effect) {
        match (self, event) {
            (Self::Off | Self::Initial { .. } | Self::Regular, Event::Started) => {
                (Self::Initial { left: MAX_INITIAL }, Effect::Wait)
            }
            (Self::Initial { .. } | Self::Regular, Event::Stopped) => (Self::Off, Effect::Stop),
            (Self::Off, Event::Stopped | Event::Timer | Event::Solicited) => {
                (Self::Off, Effect::Nothing)
            }
            (Self::Initial { left }, Event::Timer) => match left.saturating_sub(1) {
                0 => (Self::Regular, Effect::Advertise),
                left => (Self::Initial { left }, Effect::Advertise),
            },
            (Self::Regular, Event::Timer) => (Self::Regular, Effect::Advertise),
            (state @ (Self::Initial { .. } | Self::Regular), Event::Solicited) => {
                (state, Effect::Answer)
            }
        }
    }

    /// Time until the next Advertisement.
    fn wait(self, interval: Duration, random: &mut Generator) -> Duration {
        match self {
            Self::Off | Self::Initial { .. } => {
                random.random_range(Duration::ZERO..MAX_INITIAL_INTERVAL)
            }
            Self::Regular => {
                let jitter = interval / JITTER;
                random.random_range(interval - jitter..=interval + jitter)
            }
        }
    }
}

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
