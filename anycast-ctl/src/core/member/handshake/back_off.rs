//! When a client is left alone, and for how long.

use std::time::Duration;

use anycast_common::wire::mobility::error_status;

use super::{
    state::{Evidence, State, Unanswered},
    step::Step,
};
use crate::core::{
    counters::Counter, member::Heard, notice::HandshakeOutcome, rr::MAX_NONCE_LIFETIME,
};

/// How long a client is left alone after the first refusal, which is an acknowledgement with a status of 128 or more.
const REFUSED: Duration = Duration::from_secs(5);

impl Step<'_, '_> {
    /// Handles that the client does not know the Mobility Header. It says so once for each message.
    pub(super) fn not_capable(&mut self, evidence: Evidence, unanswered: Unanswered) -> State {
        self.heard = Some(match evidence {
            Evidence::BindingError => Heard::BindingError(error_status::UNRECOGNIZED_MH_TYPE),
            Evidence::HomeTestInit(_)
            | Evidence::CareOfTestInit(_)
            | Evidence::BindingUpdate(_) => Heard::ParameterProblem,
        });
        // A client that has answered tests knows the protocol. An error without a cookie may come from anybody, and is
        // doubted then.
        let doubtful = match evidence {
            Evidence::BindingError | Evidence::BindingUpdate(_) => self.sequence.is_some(),
            Evidence::HomeTestInit(_) | Evidence::CareOfTestInit(_) => false,
        };
        let wait = if doubtful {
            self.growing(self.settings.first_back_off)
        } else {
            self.settings.not_capable
        };
        self.leave_alone(HandshakeOutcome::NotCapable, wait, unanswered)
    }

    /// Leaves the client alone for a while, longer each time. A client that refused is tried again earlier, since it is
    /// there and its reason may not last.
    pub(super) fn back_off(&mut self, outcome: HandshakeOutcome) -> State {
        let first = match outcome {
            HandshakeOutcome::Refused(_) => self.settings.first_back_off.min(REFUSED),
            HandshakeOutcome::NoAnswer
            | HandshakeOutcome::NotCapable
            | HandshakeOutcome::Bound
            | HandshakeOutcome::Left => self.settings.first_back_off,
        };
        self.leave_alone(outcome, self.growing(first), Unanswered::default())
    }

    fn growing(&self, first: Duration) -> Duration {
        let doubled = 2u32.saturating_pow(self.failures);
        first
            .saturating_mul(doubled)
            .min(self.settings.max_back_off)
    }

    /// The client has sent a message after all, so that its next packet starts a handshake.
    pub(super) fn speaks(&mut self, state: State) -> State {
        match state {
            State::BackOff {
                wait,
                why:
                    HandshakeOutcome::NoAnswer
                    | HandshakeOutcome::NotCapable
                    | HandshakeOutcome::Bound
                    | HandshakeOutcome::Left,
                ..
            } => {
                self.cx.count(Counter::BackOffEnded);
                self.quiet(self.cx.now);
                self.rest(wait)
            }
            state @ (State::BackOff {
                why: HandshakeOutcome::Refused(_),
                ..
            }
            | State::Resting { .. }
            | State::Testing(_)
            | State::Updating(_)
            | State::Bound { .. }) => state,
        }
    }

    fn leave_alone(
        &mut self,
        outcome: HandshakeOutcome,
        wait: Duration,
        unanswered: Unanswered,
    ) -> State {
        let counter = match outcome {
            HandshakeOutcome::NotCapable => Counter::ClientNotCapable,
            HandshakeOutcome::NoAnswer => Counter::HandshakeNoAnswer,
            HandshakeOutcome::Refused(_) | HandshakeOutcome::Bound | HandshakeOutcome::Left => {
                Counter::HandshakeRefused
            }
        };
        self.failures = self.failures.saturating_add(1);
        let until = self.cx.now + wait;
        self.quiet(until);
        self.ended(outcome, counter);
        State::BackOff {
            until,
            wait,
            why: outcome,
            unanswered,
        }
    }

    /// Ends the handshake because the member leaves the group.
    pub(super) fn leave(&mut self) {
        self.ended(HandshakeOutcome::Left, Counter::HandshakeLeft);
    }

    /// Rests after a binding, for as long as the correspondent remembers the sequence number.
    pub(super) fn rest_after_binding(&self) -> State {
        self.rest(MAX_NONCE_LIFETIME)
    }

    pub(super) fn rest(&self, wait: Duration) -> State {
        let until = self.cx.now + wait;
        State::Resting { until }
    }
}
