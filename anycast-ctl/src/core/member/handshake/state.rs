//! The states of a handshake with one client, and what happens to it.

use std::time::Duration;

use anycast_common::wire::{ipv6, mobility::BindingAck};
use subtle::ConstantTimeEq as _;

use crate::core::{
    Time,
    notice::HandshakeOutcome,
    rr::{Cookie, Kbm, KeygenToken},
};

/// Content of a Home Test or Care-of Test.
#[derive(Clone, Debug)]
pub(in crate::core::member) struct Test {
    pub(in crate::core::member) nonce_index: u16,
    pub(in crate::core::member) token: KeygenToken,
}

/// An event of a handshake.
#[derive(Clone, Debug)]
pub(in crate::core::member) enum Event<'a> {
    /// A packet of the client to B was received.
    Packet,
    /// A Binding Refresh Request.
    RefreshRequest,
    /// A Test or an acknowledgement of the client for another member was received, so that the client knows the
    /// protocol.
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
    /// The client says that it does not know the Mobility Header.
    NotUnderstood(Evidence),
    /// [`State::deadline`] has come.
    TimerExpired,
    /// The member leaves the group, but still serves clients that are bound. No handshake begins or goes on.
    Leave,
    /// The member no longer serves the group.
    Stop,
}

/// How the client says so. An ICMPv6 error must quote what this member sent, which nobody can forge who has not seen
/// it.
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
    /// Nothing is under way. Until this time the sequence number and the failures are remembered.
    Resting { until: Time },
    /// Test Inits are out.
    Testing(Testing),
    /// A Binding Update is out.
    Updating(Updating),
    /// The correspondent has bound (A, B) to C. The home token can delete the binding.
    Bound { until: Time, home: Test },
    /// The client is left alone. After that, the failures are remembered for the same time again.
    BackOff {
        until: Time,
        wait: Duration,
        /// How the handshake ended.
        why: HandshakeOutcome,
        /// Test Inits about which the client will send further errors.
        unanswered: Unanswered,
    },
}

/// Test Inits are out (RFC 6275 section 11.6).
#[derive(Debug)]
pub(super) struct Testing {
    /// How often this handshake was restarted, or went on without waiting.
    pub(super) restarts: u32,
    /// Transmissions so far.
    pub(super) sent: u32,
    pub(super) retry: Time,
    pub(super) home: Half,
    pub(super) care_of: Half,
    /// The binding that is being renewed, and the Test with which it can be deleted.
    pub(super) bound: Option<(Time, Test)>,
}

/// One of the two tests.
#[derive(Debug)]
pub(super) enum Half {
    /// The answer must bring this cookie.
    Waiting(Cookie),
    Received(Test),
}

/// The cookies of Test Inits that were not answered.
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

/// In this time before the end of a binding, a packet to B renews it.
const RENEWED_AHEAD: Duration = Duration::from_secs(4);

impl State {
    /// Until when packets to B need not be reported.
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
    /// Whether an answer with this cookie is awaited.
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
    /// The cookies that are left after an error. `None` when the error is about something else.
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
            // A Binding Error does not say which of the two it answers.
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
