//! What a handshake sends in its transitions, and what its answers change.

use std::time::Duration;

use anycast_common::wire::{
    ipv6,
    mobility::{BindingAck, status},
};
use rand::Rng;

use super::{
    exchange::Peer,
    state::{Half, State, Test, Testing, Updating},
};
use crate::core::{
    Notice, Time,
    counters::Counter,
    member::{HandshakeSettings, Heard, context::Context},
    notice::HandshakeOutcome,
    rr::{
        self, BINDING_LIFETIME, COOKIE, Cookie, INITIAL_BINDACK_TIMEOUT, Kbm, MAX_RO_FAILURE,
        MAX_UPDATE_RATE,
    },
};

/// One transition of the state machine.
pub(super) struct Step<'a, 'b> {
    pub(super) peer: Peer,
    pub(super) settings: &'a HandshakeSettings,
    pub(super) cx: &'a mut Context<'b>,
    pub(super) sequence: Option<u16>,
    pub(super) failures: u32,
    pub(super) attempts: u32,
    pub(super) since: Time,
    pub(super) heard: Option<Heard>,
}

impl Step<'_, '_> {
    /// Sends both Test Inits at once (RFC 6275 section 11.6.1).
    pub(super) fn test(&mut self, restarts: u32) -> State {
        self.cx.count(Counter::HandshakeStarted);
        self.since = self.cx.now;
        if restarts == 0 {
            self.attempts = 0;
            let Peer {
                client, anycast, ..
            } = self.peer;
            self.cx.tell(Notice::HandshakeStarted { client, anycast });
        }
        self.quiet(self.cx.now + patience());
        let testing = Testing {
            restarts,
            sent: 0,
            retry: self.cx.now,
            home: Half::Waiting([0; COOKIE]),
            care_of: Half::Waiting([0; COOKIE]),
            bound: None,
        };
        self.send_tests(testing)
    }

    /// Tests again while the binding is live, in order to renew it.
    pub(super) fn renew(&mut self, until: Time, home: Test) -> State {
        match self.test(0) {
            State::Testing(testing) => State::Testing(Testing {
                bound: Some((until, home)),
                ..testing
            }),
            other => other,
        }
    }

    /// No Test came in time: sends the Test Inits that were not answered again, or gives up.
    pub(super) fn test_again(&mut self, testing: Testing) -> State {
        if testing.sent > MAX_RO_FAILURE {
            return self.back_off(HandshakeOutcome::NoAnswer);
        }
        self.send_tests(testing)
    }

    /// Sends the Test Inits that were not answered. Every transmission has a new cookie (RFC 6275 section 11.8).
    fn send_tests(&mut self, mut testing: Testing) -> State {
        if let Half::Waiting(cookie) = &mut testing.home {
            *cookie = self.home_cookie();
            self.peer.send_home_test_init(*cookie, self.cx);
        }
        if let Half::Waiting(cookie) = &mut testing.care_of {
            *cookie = self.cookie();
            self.peer.send_care_of_test_init(*cookie, self.cx);
        }
        testing.sent += 1;
        self.attempts += 1;
        testing.retry = self.cx.now + timeout(testing.sent);
        State::Testing(testing)
    }

    /// Handles a Home Test (RFC 6275 section 11.6.2).
    pub(super) fn home_test(&mut self, mut testing: Testing, cookie: Cookie, test: Test) -> State {
        if !testing.home.waits_for(cookie) {
            return self.unexpected(Counter::TestUnexpected, State::Testing(testing));
        }
        testing.home = Half::Received(test);
        self.tested(testing)
    }

    /// Handles a Care-of Test (RFC 6275 section 11.6.2).
    pub(super) fn care_of_test(
        &mut self,
        mut testing: Testing,
        cookie: Cookie,
        test: Test,
    ) -> State {
        if !testing.care_of.waits_for(cookie) {
            return self.unexpected(Counter::TestUnexpected, State::Testing(testing));
        }
        testing.care_of = Half::Received(test);
        self.tested(testing)
    }

    /// Sends the Binding Update when both Tests have come.
    fn tested(&mut self, testing: Testing) -> State {
        let Testing { restarts, .. } = testing;
        match (testing.home, testing.care_of) {
            (Half::Received(home), Half::Received(care_of)) => {
                self.quiet(self.cx.now + patience());
                self.send_update(Updating {
                    restarts,
                    sent: 0,
                    retry: self.cx.now,
                    key: Kbm::binding(&home.token, &care_of.token),
                    home,
                    care_of_index: care_of.nonce_index,
                    outstanding: Vec::new(),
                })
            }
            (home, care_of) => State::Testing(Testing {
                home,
                care_of,
                ..testing
            }),
        }
    }

    /// No acknowledgement came in time: sends the Binding Update again, or gives up.
    pub(super) fn update_again(&mut self, updating: Updating) -> State {
        if updating.sent > MAX_RO_FAILURE {
            return self.back_off(HandshakeOutcome::NoAnswer);
        }
        self.send_update(updating)
    }

    /// Sends a Binding Update. Every transmission has the next sequence number (RFC 6275 section 11.8).
    fn send_update(&mut self, mut updating: Updating) -> State {
        let sequence = self.next_sequence();
        let indices = (updating.home.nonce_index, updating.care_of_index);
        self.peer
            .send_update(sequence, indices, &updating.key, self.cx);
        updating.outstanding.push((sequence, self.cx.now));
        updating.sent += 1;
        self.attempts += 1;
        updating.retry = self.cx.now + timeout(updating.sent);
        State::Updating(updating)
    }

    /// Handles a Binding Acknowledgement (RFC 6275 section 11.7.3).
    pub(super) fn acknowledged(
        &mut self,
        updating: Updating,
        ack: BindingAck,
        packet: &ipv6::Packet<'_>,
    ) -> State {
        let nonces_expired = matches!(
            ack.status,
            status::EXPIRED_HOME_NONCE | status::EXPIRED_CARE_OF_NONCE | status::EXPIRED_NONCES
        );
        let Peer {
            client, care_of, ..
        } = self.peer;
        // A correspondent that has lost the nonces cannot authenticate (RFC 6275 section 9.5.4).
        if !nonces_expired && !rr::verify(&updating.key, care_of, client, packet) {
            return self.unexpected(Counter::AckBadAuthenticator, State::Updating(updating));
        }
        if ack.status == status::SEQUENCE_OUT_OF_WINDOW {
            self.heard = Some(Heard::BindingAck(ack.status));
            return self.out_of_window(updating, ack.sequence);
        }
        let Some(sent_at) = updating.sent_at(ack.sequence) else {
            return self.unexpected(Counter::AckUnexpected, State::Updating(updating));
        };
        self.heard = Some(Heard::BindingAck(ack.status));
        if nonces_expired {
            return match next_restart(updating.restarts) {
                Some(restarts) => self.test(restarts),
                None => self.back_off(HandshakeOutcome::Refused(ack.status)),
            };
        }
        if ack.status < status::UNSPECIFIED && ack.lifetime > 0 {
            self.bound(sent_at + BINDING_LIFETIME, updating.home)
        } else {
            self.back_off(HandshakeOutcome::Refused(ack.status))
        }
    }

    /// Handles status 135. `last` is the sequence number that the correspondent accepted last, maybe from another
    /// member.
    fn out_of_window(&mut self, mut updating: Updating, last: u16) -> State {
        if self.sequence.is_some_and(|ours| rr::is_after(ours, last)) {
            // The acknowledgement is about an earlier update.
            return self.unexpected(Counter::AckUnexpected, State::Updating(updating));
        }
        let Some(restarts) = next_restart(updating.restarts) else {
            return self.back_off(HandshakeOutcome::Refused(status::SEQUENCE_OUT_OF_WINDOW));
        };
        self.sequence = Some(last);
        updating.restarts = restarts;
        updating.sent = 0;
        self.send_update(updating)
    }

    fn bound(&mut self, until: Time, home: Test) -> State {
        self.failures = 0;
        let state = State::Bound { until, home };
        self.quiet(state.quiet_until());
        self.lead(until);
        self.ended(HandshakeOutcome::Bound, Counter::HandshakeBound);
        state
    }

    /// The binding that the last update has made if it arrived. The answer is not awaited.
    pub(super) fn presume_bound(&self, updating: Updating) -> State {
        let sent_at = updating.outstanding.last().map(|(_, time)| *time);
        State::Bound {
            until: sent_at.unwrap_or(self.cx.now) + BINDING_LIFETIME,
            home: updating.home,
        }
    }

    /// Deletes a binding, so that no new flow comes to a member that has left.
    pub(super) fn delete(&mut self, home: &Test) {
        let sequence = self.next_sequence();
        self.peer.send_deletion(sequence, home, self.cx);
        self.lead(self.cx.now);
    }

    /// Counts a message that is not expected in this state. Nothing changes.
    pub(super) fn unexpected(&mut self, counter: Counter, state: State) -> State {
        self.cx.count(counter);
        state
    }

    pub(super) fn quiet(&mut self, until: Time) {
        self.peer.quiet(until, self.cx);
    }

    /// Lets the data plane lead flows of this client to C until `until`, since the correspondent has acknowledged the
    /// binding.
    pub(super) fn lead(&mut self, until: Time) {
        self.peer.lead(until, self.cx);
    }

    pub(super) fn ended(&mut self, outcome: HandshakeOutcome, counter: Counter) {
        self.cx.count(counter);
        self.cx.tell(Notice::Handshake {
            client: self.peer.client,
            anycast: self.peer.anycast,
            outcome,
        });
    }

    /// The next sequence number. The first one is random (RFC 6275 section 11.7.2).
    fn next_sequence(&mut self) -> u16 {
        let sequence = match self.sequence {
            Some(last) => last.wrapping_add(1),
            None => {
                let [high, low, ..] = self.cx.rng.next_u32().to_be_bytes();
                u16::from_be_bytes([high, low])
            }
        };
        self.sequence = Some(sequence);
        sequence
    }

    /// A random cookie that begins with the name by which other members find this one, if there are any.
    fn home_cookie(&mut self) -> Cookie {
        let mut cookie = self.cookie();
        if let (Some(name), Some(start)) = (self.peer.name, cookie.first_chunk_mut()) {
            *start = name.to_be_bytes();
        }
        cookie
    }

    fn cookie(&mut self) -> Cookie {
        self.cx.rng.next_u64().to_be_bytes()
    }
}

/// How long to wait after the `sent`th transmission: a second, doubled each time.
fn timeout(sent: u32) -> Duration {
    INITIAL_BINDACK_TIMEOUT.saturating_mul(2u32.saturating_pow(sent.saturating_sub(1)))
}

/// How long until an unanswered exchange is given up.
fn patience() -> Duration {
    (1..=MAX_RO_FAILURE + 1).map(timeout).sum()
}

/// The number of the next restart. `None` when another restart could make a type of message more frequent than
/// MAX_UPDATE_RATE.
fn next_restart(restarts: u32) -> Option<u32> {
    let next = restarts + 1;
    (next < MAX_UPDATE_RATE).then_some(next)
}
