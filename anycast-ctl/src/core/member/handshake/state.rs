//! The states of a handshake with one client, and what happens to it.

use std::time::Duration;

use anycast_common::wire::{ipv6, mobility::BindingAck};
use subtle::ConstantTimeEq as _;

use crate::core::{
    Time,
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
    /// A Test or an acknowledgement of it came that is another member's: it speaks the protocol.
    Speaks,
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
    /// [`State::deadline`] has come.
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

/// Where a handshake stands. It is the mobile node's side of RFC 6275 section 11, which has no diagram of its
/// own, with the anycast address as home address. Numbers in brackets are sections of that RFC.
///
/// ```text
///               Packet,               both Tests have come
///               RefreshRequest        (11.6.2), Update goes
///    ┌─────────┐ (11.6.1) ┌─────────┐ out (11.7.2)  ┌──────────┐
///    │ Resting ├─────────►│ Testing ├──────────────►│ Updating │
///    └─────────┘          └─────────┘◄──────────────┴──────────┘
///     ▲      ▲             │       ▲  nonces expired   │     │
///     │      │  refused, or│       │  (11.7.3)         │     │ accepted (11.7.3),
///     │      │  no answer  │       │                   │     │ or Leave
///     │      │  (11.8)     │       │ RefreshRequest    │     ▼
///     │      │             │       │ (11.7.4), Packet  │  ┌───────┐
///     │      │             │       └───────────────────┼──┤ Bound │
///     │      │             ▼                           │  └───────┘
///     │      │        ┌─────────┐ refused, or no answer│     │
///     │      └────────┤ BackOff │◄─────────────────────┘     │
///     │ TimerExpired, └─────────┘                            │
///     │ or it speaks                                         │
///     └──────────────────────────────────────────────────────┘
///                          TimerExpired
/// ```
///
/// Each event in each state. "Counted" and "stays" leave the state as it is, "quiet" tells the data plane again
/// not to report the client, and after "forgotten" nothing is known of the client any more.
///
/// | Event | Resting | Testing | Updating | Bound | BackOff |
/// |---|---|---|---|---|---|
/// | Packet | Testing | quiet | quiet | quiet; Testing, shortly before its end | quiet |
/// | RefreshRequest (11.7.4) | Testing | stays | stays | Testing | Resting |
/// | HomeTest, CareOfTest (11.6.2) | counted | Updating, with both | counted | counted | counted, Resting |
/// | Ack (11.7.3) | counted | counted | Bound, Testing, BackOff; status 135: stays, sends again | counted | counted, Resting |
/// | Speaks | stays | stays | stays | stays | Resting |
/// | NotUnderstood (11.3.5, 11.3.6) | counted | BackOff | BackOff | counted | stays |
/// | TimerExpired (11.8) | forgotten | sends again, then BackOff | sends again, then BackOff | Resting | Resting |
/// | Leave | forgotten | forgotten; Bound, if it renewed a binding | Bound, presumed | stays | stays |
/// | Stop | forgotten | forgotten | forgotten | forgotten | stays |
///
/// What may be bound when Stop comes is deleted (11.7.2). A client that refused with a status stays in BackOff
/// whatever it says: that it speaks was known.
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

/// So long before the end of a binding a packet that comes to B renews it.
const RENEWED_AHEAD: Duration = Duration::from_secs(4);

impl State {
    /// Until when packets to B are of no interest.
    pub(super) const fn quiet_until(&self) -> Time {
        match self {
            Self::Bound { until, .. } => until.before(RENEWED_AHEAD),
            Self::Resting { .. } | Self::Testing(_) | Self::Updating(_) | Self::BackOff { .. } => {
                self.deadline()
            }
        }
    }

    /// When [`Event::TimerExpired`] happens.
    pub(super) const fn deadline(&self) -> Time {
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
    pub(super) fn without(self, evidence: Evidence) -> Option<Self> {
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
    /// Whether it is about a Binding Update that is out.
    pub(super) fn sent_it(&self, evidence: Evidence) -> bool {
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
