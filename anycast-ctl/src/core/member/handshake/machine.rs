//! The states of a handshake with one client, and what each event does in each of them.

use std::time::Duration;

use anycast_common::wire::{ipv6, mobility::BindingAck};
use subtle::ConstantTimeEq as _;

use super::{exchange::Peer, step::Step};
use crate::core::{
    Time,
    counters::Counter,
    member::{HandshakeSettings, HandshakeState, Heard, context::Context},
    notice::HandshakeOutcome,
    rr::{Cookie, Kbm, KeygenToken},
};

/// What a Home or Care-of Test brings.
#[derive(Clone, Debug)]
pub(in crate::core::member) struct Test {
    pub(in crate::core::member) nonce_index: u16,
    pub(in crate::core::member) token: KeygenToken,
}

/// What happens to a handshake.
#[derive(Clone, Debug)]
pub(in crate::core::member) enum Event<'a> {
    /// A packet of the client came to B.
    Packet,
    /// A Binding Refresh Request.
    RefreshRequest,
    /// A Home Test that came to B.
    HomeTest { cookie: Cookie, test: Test },
    /// A Care-of Test that came to C.
    CareOfTest { cookie: Cookie, test: Test },
    /// A Binding Acknowledgement, and the packet that its authenticator covers.
    Ack {
        ack: BindingAck,
        packet: &'a ipv6::Packet<'a>,
    },
    /// The client says that it does not know what we sent.
    NotUnderstood(Evidence),
    /// [`Handshake::deadline`] has come.
    TimerExpired,
    /// We leave the group, and go on to serve whom we bound: no handshake begins or goes on.
    Leave,
    /// We serve the group no longer.
    Stop,
}

/// How the client says so. What an ICMPv6 error quotes has to be what we sent: that nobody can
/// forge who did not see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core::member) enum Evidence {
    /// Parameter Problem that quotes a Home Test Init with this cookie.
    HomeTestInit(Cookie),
    /// Parameter Problem that quotes a Care-of Test Init with this cookie.
    CareOfTestInit(Cookie),
    /// Parameter Problem that quotes a Binding Update with this sequence number.
    BindingUpdate(u16),
    /// Binding Error, status 2. It quotes nothing.
    BindingError,
}

/// Where a handshake stands.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing is under way. Until then the sequence number and the failures are remembered.
    Resting { until: Time },
    /// Test Inits are out.
    Testing(Testing),
    /// A Binding Update is out.
    Updating(Updating),
    /// The correspondent has bound (A, B) to C; the home token can delete that.
    Bound { until: Time, home: Test },
    /// The client is left alone. The failures are remembered as long again.
    BackOff {
        until: Time,
        wait: Duration,
        /// How the handshake ended.
        why: HandshakeOutcome,
        /// Test Inits that the client does not know either, and will say so.
        unanswered: Unanswered,
    },
}

/// Test Inits are out (RFC 6275 section 11.6).
#[derive(Debug)]
pub(super) struct Testing {
    /// How often this handshake began anew or went on without waiting.
    pub(super) restarts: u32,
    /// Transmissions so far.
    pub(super) sent: u32,
    pub(super) retry: Time,
    pub(super) home: Half,
    pub(super) care_of: Half,
    /// The binding that is to be renewed before its end, and what can delete it.
    pub(super) bound: Option<(Time, Test)>,
}

/// One of the two tests.
#[derive(Debug)]
pub(super) enum Half {
    /// The answer must bring this cookie.
    Waiting(Cookie),
    Received(Test),
}

/// The cookies of Test Inits that nothing has answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unanswered {
    pub(super) home: Option<Cookie>,
    pub(super) care_of: Option<Cookie>,
}

/// A Binding Update is out (RFC 6275 section 11.7.2).
#[derive(Debug)]
pub(super) struct Updating {
    /// As in [`Testing`].
    pub(super) restarts: u32,
    /// Transmissions since the last change of the sequence number by status 135.
    pub(super) sent: u32,
    pub(super) retry: Time,
    pub(super) key: Kbm,
    pub(super) home: Test,
    pub(super) care_of_index: u16,
    /// Sequence numbers that an acknowledgement may name, and when they were sent.
    pub(super) outstanding: Vec<(u16, Time)>,
}

/// All that is known of one client.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) state: State,
    /// Sequence number of the last Binding Update.
    sequence: Option<u16>,
    /// Handshakes in a row that came to nothing.
    pub(super) failures: u32,
    /// Transmissions of the handshake that is under way, or of the last.
    pub(super) attempts: u32,
    /// Since when it is in its state.
    pub(super) since: Time,
    /// What the client said last of what we sent, and believed.
    pub(super) heard: Option<Heard>,
}

impl Handshake {
    /// Nothing is known yet.
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
    pub(super) const fn starts(&self, event: &Event<'_>) -> bool {
        matches!(
            (&self.state, event),
            (State::Resting { .. }, Event::Packet | Event::RefreshRequest)
                | (State::Bound { .. }, Event::RefreshRequest)
        )
    }

    /// The handshake after `event`; none when there is nothing to remember.
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
            // It may have bound already, and the answer be on its way.
            (Updating(updating), Event::Stop) => {
                step.delete(&updating.home);
                step.leave();
                None
            }

            // To send it again would bind anew; it may have bound already.
            (Updating(updating), Event::Leave) => {
                step.leave();
                Some(step.presume_bound(updating))
            }
            (state @ Bound { .. }, Event::Leave) => Some(state),
            (Bound { until, home }, Event::RefreshRequest) => Some(match step.test(0) {
                Testing(testing) => Testing(self::Testing {
                    bound: Some((until, home)),
                    ..testing
                }),
                other => other,
            }),
            (Bound { .. }, Event::TimerExpired) => Some(step.rest_after_binding()),
            (Bound { home, .. }, Event::Stop) => {
                step.delete(&home);
                None
            }

            (BackOff { wait, .. }, Event::TimerExpired) => Some(step.rest(wait)),
            // A member that comes back soon must not try them all again.
            (state @ BackOff { .. }, Event::RefreshRequest | Event::Leave | Event::Stop) => {
                Some(state)
            }

            // The data plane has forgotten what it was told.
            (state @ (Testing(_) | Updating(_) | Bound { .. } | BackOff { .. }), Event::Packet) => {
                step.quiet(state.deadline());
                Some(state)
            }
            (state @ (Testing(_) | Updating(_)), Event::RefreshRequest) => Some(state),
            (
                state @ (Resting { .. } | Updating(_) | Bound { .. } | BackOff { .. }),
                Event::HomeTest { .. } | Event::CareOfTest { .. },
            ) => Some(step.unexpected(Counter::TestUnexpected, state)),
            (
                state @ (Resting { .. } | Testing(_) | Bound { .. } | BackOff { .. }),
                Event::Ack { .. },
            ) => Some(step.unexpected(Counter::AckUnexpected, state)),
            // Both Test Inits are refused, one after the other.
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

    /// Whether little is lost when it is forgotten.
    pub(super) const fn is_forgettable(&self) -> bool {
        match &self.state {
            State::Resting { .. } | State::BackOff { .. } => true,
            State::Testing(_) | State::Updating(_) | State::Bound { .. } => false,
        }
    }

    /// Whether messages are on their way.
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

impl State {
    const fn deadline(&self) -> Time {
        match self {
            Self::Testing(Testing { retry, .. }) | Self::Updating(Updating { retry, .. }) => *retry,
            Self::Resting { until } | Self::Bound { until, .. } | Self::BackOff { until, .. } => {
                *until
            }
        }
    }
}

impl Half {
    /// Whether an answer with this cookie is waited for.
    pub(super) fn waits_for(&self, cookie: Cookie) -> bool {
        self.cookie().is_some_and(|ours| ours.ct_eq(&cookie).into())
    }

    const fn cookie(&self) -> Option<Cookie> {
        match self {
            Self::Waiting(ours) => Some(*ours),
            Self::Received(_) => None,
        }
    }
}

impl Testing {
    pub(super) const fn unanswered(&self) -> Unanswered {
        Unanswered {
            home: self.home.cookie(),
            care_of: self.care_of.cookie(),
        }
    }
}

impl Unanswered {
    /// What is left after a refusal; none when it is about something else.
    fn without(self, evidence: Evidence) -> Option<Self> {
        let Self { home, care_of } = self;
        let without_home = Self { home: None, ..self };
        let without_care_of = Self {
            care_of: None,
            ..self
        };
        match evidence {
            Evidence::HomeTestInit(cookie) => (home == Some(cookie)).then_some(without_home),
            Evidence::CareOfTestInit(cookie) => {
                (care_of == Some(cookie)).then_some(without_care_of)
            }
            // It does not say which of the two.
            Evidence::BindingError if home.is_some() => Some(without_home),
            Evidence::BindingError => care_of.map(|_| without_care_of),
            Evidence::BindingUpdate(_) => None,
        }
    }
}

impl Updating {
    fn sent_it(&self, evidence: Evidence) -> bool {
        match evidence {
            Evidence::BindingUpdate(sequence) => self.sent_at(sequence).is_some(),
            Evidence::BindingError => true,
            Evidence::HomeTestInit(_) | Evidence::CareOfTestInit(_) => false,
        }
    }

    /// When the update with this sequence number was sent.
    pub(super) fn sent_at(&self, sequence: u16) -> Option<Time> {
        let sent = self.outstanding.iter().find(|(ours, _)| *ours == sequence);
        sent.map(|(_, time)| *time)
    }
}
