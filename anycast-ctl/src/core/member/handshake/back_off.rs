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

/// How long a client is left alone at first whose correspondent answered with a status of 128 or more.
const REFUSED: Duration = Duration::from_secs(5);

impl Step<'_, '_> {
    /// The client does not know what was sent. It says so once for every message.
    pub(super) fn not_capable(&mut self, evidence: Evidence, unanswered: Unanswered) -> State {
        self.heard = Some(match evidence {
            Evidence::BindingError => Heard::BindingError(error_status::UNRECOGNIZED_MH_TYPE),
            Evidence::HomeTestInit(_)
            | Evidence::CareOfTestInit(_)
            | Evidence::BindingUpdate(_) => Heard::ParameterProblem,
        });
        // Who has answered tests knows the protocol; without a cookie, anybody may say otherwise.
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

    /// Leaves the client alone for a while, longer each time. One that refused is there, and what made it
    /// refuse may be over soon: it is tried again earlier.
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

    /// The client has said something after all: it is tried again with its next packet.
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

    /// Nothing more is sent, because we leave.
    pub(super) fn leave(&mut self) {
        self.ended(HandshakeOutcome::Left, Counter::HandshakeLeft);
    }

    /// The correspondent remembers our sequence number for as long.
    pub(super) fn rest_after_binding(&self) -> State {
        self.rest(MAX_NONCE_LIFETIME)
    }

    pub(super) fn rest(&self, wait: Duration) -> State {
        let until = self.cx.now + wait;
        State::Resting { until }
    }
}
