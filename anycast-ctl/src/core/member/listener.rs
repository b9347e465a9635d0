//! The host's state diagram (RFC 2710 section 5), for one address on one interface.
//!
//! Reports of other members are no events here: they go to FF02::2, to which a host does not listen, and the router
//! needs a Report from every member.

use std::time::Duration;

use super::ListenerTimers;
use crate::core::Time;

/// State of a host with respect to an address on an interface: the diagram of RFC 2710 section 5.
///
/// ```text
///                       ┌─────────────┐
///        ┌─────────────►│ NonListener │◄─────────────┐
///        │              └──────┬──────┘              │
///        │ StopListening       │ StartListening      │ StopListening
///        │ (Done)              │ (Report)            │ (Done)
///        │                     ▼                     │
///   ┌────┴─────┐ QueryReceived (start timer)    ┌────┴─────┐
///   │ Delaying │◄───────────────────────────────┤   Idle   │
///   │          ├───────────────────────────────►│          │
///   └──────────┘ TimerExpired (Report), the last└──────────┘
/// ```
///
/// | Event | NonListener | Delaying | Idle |
/// |---|---|---|---|
/// | StartListening | Delaying: Report | stays | stays |
/// | StopListening | stays | NonListener: Done | NonListener: Done |
/// | QueryReceived | stays | stays: sooner, if the Query wants it | Delaying |
/// | QueryReceived, answer at once | stays | as TimerExpired | stays: Report |
/// | TimerExpired | stays | Report; Idle after the last, else Delaying | stays |
///
/// Two things differ. "report received" is no event, see above, so that every member that stops has been the last to
/// report, and says Done. And the first Report is repeated within [Unsolicited Report Interval] each time (section 4);
/// the state counts how many are still to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The address is not served on the interface. This state needs no storage.
    NonListener,
    /// The address is served, and Reports are still to be sent.
    Delaying {
        /// When the next Report is sent.
        until: Time,
        /// Number of Reports that are still to be sent.
        owed: u32,
    },
    /// The address is served, and no Report is to be sent.
    Idle,
}

/// An event of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// This host begins to serve the address.
    StartListening,
    /// This host stops serving the address.
    StopListening,
    /// A General Query, or a Query for the address, was received.
    QueryReceived {
        /// Time within which to answer. Zero means at once.
        max_response_delay: Duration,
    },
    /// `Delaying::until` has come.
    TimerExpired,
}

/// What the host sends in a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Report,
    Done,
}

impl State {
    /// The state after `event`, and what to send. `draw` gives a random delay from zero to its
    /// argument, both included.
    pub(super) fn after(
        self,
        event: Event,
        now: Time,
        timers: &ListenerTimers,
        mut draw: impl FnMut(Duration) -> Duration,
    ) -> (Self, Option<Message>) {
        use Event::{QueryReceived, StartListening, StopListening, TimerExpired};
        use State::{Delaying, Idle, NonListener};

        // The state after a Report, with `owed` Reports still to be sent.
        let mut reported = |owed| {
            let state = match owed {
                0 => Idle,
                owed => Delaying {
                    until: now + draw(timers.unsolicited_report_interval),
                    owed,
                },
            };
            (state, Some(Message::Report))
        };
        match (self, event) {
            (NonListener, StartListening) => reported(timers.robustness),
            (NonListener, StopListening | QueryReceived { .. } | TimerExpired) => {
                (NonListener, None)
            }

            (Delaying { owed, .. }, TimerExpired) => reported(owed.saturating_sub(1)),
            (Delaying { until, owed }, QueryReceived { max_response_delay }) => {
                if max_response_delay.is_zero() {
                    reported(owed.saturating_sub(1))
                } else if max_response_delay < until.since(now) {
                    let until = now + draw(max_response_delay);
                    (Delaying { until, owed }, None)
                } else {
                    (self, None)
                }
            }

            (Idle, QueryReceived { max_response_delay }) => {
                if max_response_delay.is_zero() {
                    reported(0)
                } else {
                    let until = now + draw(max_response_delay);
                    (Delaying { until, owed: 1 }, None)
                }
            }
            (Idle, TimerExpired) => (Idle, None),

            (Delaying { .. } | Idle, StartListening) => (self, None),
            (Delaying { .. } | Idle, StopListening) => (NonListener, Some(Message::Done)),
        }
    }

    /// When [`Event::TimerExpired`] happens.
    pub(super) const fn deadline(self) -> Option<Time> {
        match self {
            Self::Delaying { until, .. } => Some(until),
            Self::NonListener | Self::Idle => None,
        }
    }
}
