//! What each event does to the handshake with one client, in each of its states.

use super::{
    exchange::Peer,
    state::{Event, State, Unanswered},
    step::Step,
};
use crate::core::{
    Time,
    counters::Counter,
    member::{HandshakeSettings, HandshakeState, Heard, context::Context},
};

/// All that is known of one client.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) state: State,
    /// Sequence number of the last Binding Update.
    sequence: Option<u16>,
    /// Number of handshakes in a row that failed.
    pub(super) failures: u32,
    /// Number of transmissions of the present handshake, or of the last one.
    pub(super) attempts: u32,
    /// Since when the handshake has been in its state.
    pub(super) since: Time,
    /// The last answer of the client that was believed.
    pub(super) heard: Option<Heard>,
}

impl Handshake {
    /// Makes an entry in which nothing is known yet.
    pub(super) const fn new(now: Time) -> Self {
        Self {
            state: State::Resting { until: now },
            sequence: None,
            failures: 0,
            attempts: 0,
            since: now,
            heard: None,
        }
    }

    /// Whether `event` would start the exchange of messages.
    pub(super) fn starts(&self, event: &Event<'_>, now: Time) -> bool {
        match (&self.state, event) {
            (State::Resting { .. }, Event::Packet | Event::RefreshRequest)
            | (State::Bound { .. }, Event::RefreshRequest) => true,
            (State::Bound { .. }, Event::Packet) => self.state.quiet_until() <= now,
            _ => false,
        }
    }

    /// Whether `event` would start another attempt after one that failed.
    pub(super) const fn tries_again(&self) -> bool {
        self.failures > 0
    }

    /// Leaves the client alone until `until`, and remembers what is known for the same time after that.
    pub(super) fn postpone(&mut self, now: Time, until: Time) {
        if let State::Resting { until: forgotten } = &mut self.state {
            *forgotten = until + (until - now);
        }
    }

    /// The handshake after `event`. `None` when there is nothing to remember.
    pub(super) fn after(
        self,
        event: Event<'_>,
        peer: Peer,
        settings: &HandshakeSettings,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        use State::{BackOff, Bound, Resting, Testing, Updating};

        let before = self.state();
        let mut step = Step {
            peer,
            settings,
            cx,
            sequence: self.sequence,
            failures: self.failures,
            attempts: self.attempts,
            since: self.since,
            heard: self.heard,
        };
        let next = match (self.state, event) {
            (Resting { .. }, Event::Packet | Event::RefreshRequest) => Some(step.test(0)),
            (Resting { .. }, Event::TimerExpired | Event::Leave | Event::Stop) => None,

            (Testing(testing), Event::HomeTest { cookie, test }) => {
                Some(step.home_test(testing, cookie, test))
            }
            (Testing(testing), Event::CareOfTest { cookie, test }) => {
                Some(step.care_of_test(testing, cookie, test))
            }
            (Testing(testing), Event::NotUnderstood(evidence)) => {
                Some(match testing.unanswered().without(evidence) {
                    Some(rest) => step.not_capable(evidence, rest),
                    None => step.unexpected(Counter::MobilityUnexpected, Testing(testing)),
                })
            }
            (Testing(testing), Event::TimerExpired) => Some(step.test_again(testing)),
            (Testing(testing), Event::Leave) => match testing.bound {
                Some((until, home)) => Some(Bound { until, home }),
                None => {
                    step.leave();
                    None
                }
            },
            (Testing(testing), Event::Stop) => {
                if let Some((_, home)) = &testing.bound {
                    step.delete(home);
                }
                step.leave();
                None
            }

            (Updating(updating), Event::Ack { ack, packet }) => {
                Some(step.acknowledged(updating, ack, packet))
            }
            (Updating(updating), Event::NotUnderstood(evidence)) => {
                Some(if updating.sent_it(evidence) {
                    step.not_capable(evidence, Unanswered::default())
                } else {
                    step.unexpected(Counter::MobilityUnexpected, Updating(updating))
                })
            }
            (Updating(updating), Event::TimerExpired) => Some(step.update_again(updating)),
            // The correspondent may have bound the client already, and its answer may be on its way.
            (Updating(updating), Event::Stop) => {
                step.delete(&updating.home);
                step.leave();
                None
            }

            // The correspondent may have bound the client already. To send the update again would bind it anew.
            (Updating(updating), Event::Leave) => {
                step.leave();
                Some(step.presume_bound(updating))
            }
            (state @ Bound { .. }, Event::Leave) => Some(state),
            (Bound { until, home }, Event::RefreshRequest) => Some(step.renew(until, home)),
            // The data plane has forgotten what it was told.
            (state @ Bound { until, .. }, Event::Packet) if step.cx.now < state.quiet_until() => {
                step.quiet(state.quiet_until());
                step.lead(until);
                Some(state)
            }
            (Bound { until, home }, Event::Packet) => Some(step.renew(until, home)),
            (Bound { .. }, Event::TimerExpired) => Some(step.rest_after_binding()),
            (Bound { home, .. }, Event::Stop) => {
                step.delete(&home);
                None
            }

            (BackOff { wait, .. }, Event::TimerExpired) => Some(step.rest(wait)),
            // A member that joins again soon must not try all of these clients again.
            (state @ BackOff { .. }, Event::Leave | Event::Stop) => Some(state),
            (state @ BackOff { .. }, Event::RefreshRequest | Event::Speaks) => {
                Some(step.speaks(state))
            }
            (state @ BackOff { .. }, Event::HomeTest { .. } | Event::CareOfTest { .. }) => {
                let state = step.speaks(state);
                Some(step.unexpected(Counter::TestUnexpected, state))
            }
            (state @ BackOff { .. }, Event::Ack { .. }) => {
                let state = step.speaks(state);
                Some(step.unexpected(Counter::AckUnexpected, state))
            }

            // The data plane has forgotten what it was told.
            (state @ (Testing(_) | Updating(_) | BackOff { .. }), Event::Packet) => {
                step.quiet(state.quiet_until());
                Some(state)
            }
            (state @ (Testing(_) | Updating(_)), Event::RefreshRequest) => Some(state),
            (state @ (Resting { .. } | Testing(_) | Updating(_) | Bound { .. }), Event::Speaks) => {
                Some(state)
            }
            (
                state @ (Resting { .. } | Updating(_) | Bound { .. }),
                Event::HomeTest { .. } | Event::CareOfTest { .. },
            ) => Some(step.unexpected(Counter::TestUnexpected, state)),
            (state @ (Resting { .. } | Testing(_) | Bound { .. }), Event::Ack { .. }) => {
                Some(step.unexpected(Counter::AckUnexpected, state))
            }
            // The client refuses both Test Inits, one after the other.
            (
                BackOff {
                    until,
                    wait,
                    why,
                    unanswered,
                },
                Event::NotUnderstood(evidence),
            ) => {
                let rest = unanswered.without(evidence);
                let state = BackOff {
                    until,
                    wait,
                    why,
                    unanswered: rest.unwrap_or(unanswered),
                };
                Some(match rest {
                    Some(_) => state,
                    None => step.unexpected(Counter::MobilityUnexpected, state),
                })
            }
            // RFC 6275 section 11.3.6: ignored when no answer is expected.
            (state @ (Resting { .. } | Bound { .. }), Event::NotUnderstood(_)) => {
                Some(step.unexpected(Counter::MobilityUnexpected, state))
            }
        };
        let after = Self {
            state: next?,
            sequence: step.sequence,
            failures: step.failures,
            attempts: step.attempts,
            since: step.since,
            heard: step.heard,
        };
        let since = match after.state() == before {
            true => after.since,
            false => step.cx.now,
        };
        Some(Self { since, ..after })
    }

    /// When [`Event::TimerExpired`] happens.
    pub(super) const fn deadline(&self) -> Time {
        self.state.deadline()
    }

    /// Whether the entry can be forgotten without much loss.
    pub(super) const fn is_forgettable(&self) -> bool {
        match &self.state {
            State::Resting { .. } | State::BackOff { .. } => true,
            State::Testing(_) | State::Updating(_) | State::Bound { .. } => false,
        }
    }

    /// Whether messages await an answer.
    pub(super) const fn is_under_way(&self) -> bool {
        matches!(self.state, State::Testing(_) | State::Updating(_))
    }

    pub(super) const fn state(&self) -> HandshakeState {
        match &self.state {
            State::Resting { .. } => HandshakeState::Resting,
            State::Testing(_) => HandshakeState::Testing,
            State::Updating(_) => HandshakeState::Updating,
            State::Bound { .. } => HandshakeState::Bound,
            State::BackOff { .. } => HandshakeState::BackOff,
        }
    }
}
