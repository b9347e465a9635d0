//! Multicast Router Discovery (RFC 4286): this router tells snooping switches that it is there, so that they pass
//! Reports to it although it may not be the Querier.
//!
//! The Advertisements of a link do not depend on who is the Querier there. A link that comes back, or whose link-local
//! address changes, begins anew, since the switch behind it may be another one.

use std::time::Duration;

use rand::RngExt as _;

use crate::core::{rate::Rate, rr::Generator};

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
    pub(super) fn wait(self, interval: Duration, random: &mut Generator) -> Duration {
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
