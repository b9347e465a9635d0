//! What is known of a member: the second and third diagram of RFC 2710 section 6.
//!
//! RFC 2710 has one state per address and link. A unicast route must lead to somebody, so here is
//! one per address, link and member; the state of the group follows from those of its members.

use std::time::Duration;

use crate::core::notice::LeaveCause;

/// Which of the two diagrams applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Diagram {
    /// "routers in Querier state".
    Querier,
    /// "routers in Non-Querier state".
    NonQuerier,
}

/// State of one member: the second diagram of RFC 2710 section 6, for a Querier, and the third, for a Non-Querier.
///
/// ```text
///                          ┌────────┐
///        ┌────────────────►│ Absent │◄────────────────┐
///        │                 └───┬────┘                 │
///        │ Timer               │ Report               │ Timer
///        │ (notify routing -)  │ (notify routing +,   │ (notify routing -, clear
///        │                     │ start timer)         │ retransmit timer)
///        │                     ▼                      │
///        │     ┌─────────┐ Report (start timer, ┌─────┴────┐
///        └─────┤ Present │◄─────────────────────┤ Checking │
///          ┌──►│         │ clear retransmit     │          │
///   Report │   │         │ timer)               │          │
///   (start └───┤         ├─────────────────────►│          │
///   timer)     └─────────┘                      └──────────┘
///                Querier:     Done (start timer*, start retransmit timer, send Query)
///                Non-Querier: SpecificQuery (start timer*)
/// ```
///
/// | Event | Absent | Present | Checking |
/// |---|---|---|---|
/// | Report | Present: Join | stays: Refresh | Present: EndCheck |
/// | Done, Querier | stays | Checking: StartCheck | stays |
/// | Done, Non-Querier | stays | stays | stays |
/// | SpecificQuery, Querier | stays | stays | stays |
/// | SpecificQuery, Non-Querier | stays | Checking: Lower | stays |
/// | Timer | stays | Absent: Leave | Absent: Leave |
///
/// "retransmit timer expired" is not here, since Queries go to the group and not to one member of it: see
/// [`Group`](super::group::Group).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// "No Listeners Present": it is not a member, and needs no storage.
    Absent,
    /// "Listeners Present".
    Present,
    /// "Checking Listeners". A check ends in the diagram in which it began, whatever becomes of
    /// the election meanwhile.
    Checking(Diagram),
}

/// What the policy found about a Report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    /// Ethernet source.
    pub(super) mac: [u8; 6],
    /// The rule that lets the member in.
    pub(super) rule: usize,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// "report received", from the member, and the policy lets it in.
    Report(Admission),
    /// "done received", from the member.
    Done,
    /// "multicast-address-specific query received".
    SpecificQuery {
        /// Its Maximum Response Delay.
        delay: Duration,
    },
    /// "timer expired".
    Timer,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The event is not significant in the state.
    Nothing,
    /// "notify routing +", start timer.
    Join(Admission),
    /// Start timer.
    Refresh(Admission),
    /// Start timer, clear retransmit timer.
    EndCheck(Admission),
    /// Start timer*, send a Query, start retransmit timer.
    StartCheck,
    /// Start timer*.
    Lower {
        /// Maximum Response Delay of the Query.
        delay: Duration,
    },
    /// "notify routing -", clear retransmit timer.
    Leave(LeaveCause),
}

impl State {
    /// The transition, `diagram` being the one of the present role.
    pub(super) fn step(self, event: Event, diagram: Diagram) -> (Self, Effect) {
        use {Diagram as D, Effect as E, Event as Ev, State as S};
        match (self, event, diagram) {
            (S::Absent, Ev::Report(admission), D::Querier | D::NonQuerier) => {
                (S::Present, E::Join(admission))
            }
            (
                S::Absent,
                Ev::Done | Ev::SpecificQuery { .. } | Ev::Timer,
                D::Querier | D::NonQuerier,
            ) => (S::Absent, E::Nothing),

            (S::Present, Ev::Report(admission), D::Querier | D::NonQuerier) => {
                (S::Present, E::Refresh(admission))
            }
            (S::Present, Ev::Timer, D::Querier | D::NonQuerier) => {
                (S::Absent, E::Leave(LeaveCause::Timeout))
            }
            (S::Present, Ev::Done, D::Querier) => (S::Checking(D::Querier), E::StartCheck),
            (S::Present, Ev::SpecificQuery { delay }, D::NonQuerier) => {
                (S::Checking(D::NonQuerier), E::Lower { delay })
            }
            (S::Present, Ev::Done, D::NonQuerier)
            | (S::Present, Ev::SpecificQuery { .. }, D::Querier) => (S::Present, E::Nothing),

            (S::Checking(_), Ev::Report(admission), D::Querier | D::NonQuerier) => {
                (S::Present, E::EndCheck(admission))
            }
            (S::Checking(_), Ev::Timer, D::Querier | D::NonQuerier) => {
                (S::Absent, E::Leave(LeaveCause::Done))
            }
            (S::Checking(_), Ev::Done | Ev::SpecificQuery { .. }, D::Querier | D::NonQuerier) => {
                (self, E::Nothing)
            }
        }
    }
}
