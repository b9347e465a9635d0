//! The state of a member: the second and third diagram of RFC 2710 section 6.
//!
//! RFC 2710 has one state per address and link. A unicast route must lead to a particular host, so there is one state
//! per address, link and member here. The state of the group follows from those of its members.

use crate::core::notice::LeaveCause;

/// Which of the two diagrams of RFC 2710 section 6 applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Diagram {
    /// The diagram for "routers in Querier state".
    Querier,
    /// The diagram for "routers in Non-Querier state".
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
///                Non-Querier: SpecificQuery, Timer (the same)
/// ```
///
/// | Event | Absent | Present | Checking |
/// |---|---|---|---|
/// | Report | Present: Join | stays: Refresh | Present: EndCheck |
/// | Done, Querier | stays | Checking: StartCheck | stays |
/// | Done, Non-Querier | stays | stays | stays |
/// | SpecificQuery, Querier | stays | stays | stays |
/// | SpecificQuery, Non-Querier | stays | Checking: Verify | stays |
/// | Timer, Querier | stays | Absent: Leave | Absent: Leave |
/// | Timer, Non-Querier | stays | Checking: Verify | Absent: Leave |
///
/// The RFC lets a Non-Querier lower its timer, and believe that the Querier asked. But the Query may be a forgery that
/// no member has heard, and a Querier may be one that never asks. So a Non-Querier asks itself before it takes a member
/// for gone, in the same time. Members alone read those Queries.
///
/// "retransmit timer expired" is not here, since Queries go to the group and not to one member of it: see
/// [`Group`](super::group::Group).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The RFC's "No Listeners Present": the host is not a member, and nothing is stored for it.
    Absent,
    /// The RFC's "Listeners Present".
    Present,
    /// The RFC's "Checking Listeners". A check goes on when the Querier changes in the meantime.
    Checking,
}

/// The policy's decision about a Report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    /// Ethernet source address of the Report.
    pub(super) mac: [u8; 6],
    /// Number of the rule that allows the member.
    pub(super) rule: usize,
}

/// Something that happens to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The RFC's "report received": the member sent it, and the policy allows it.
    Report(Admission),
    /// The RFC's "done received": the member sent it.
    Done,
    /// The RFC's "multicast-address-specific query received": the Querier sent it.
    SpecificQuery,
    /// The RFC's "timer expired".
    Timer,
}

/// What the router does as a result of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Do nothing, since the event has no meaning in this state.
    Nothing,
    /// "notify routing +" and start the timer.
    Join(Admission),
    /// Start the timer.
    Refresh(Admission),
    /// Start the timer and clear the retransmit timer.
    EndCheck(Admission),
    /// Lower the timer ("start timer*"), send a Query and start the retransmit timer.
    StartCheck,
    /// The same, whatever "fast leave" says: it is about members that said Done.
    Verify,
    /// "notify routing -" and clear the retransmit timer.
    Leave(LeaveCause),
}

impl State {
    /// The transition for an event: the next state and what to do. `diagram` is the one of this router's present role.
    pub(super) fn step(self, event: Event, diagram: Diagram) -> (Self, Effect) {
        use {Diagram as D, Effect as E, Event as Ev, State as S};
        match (self, event, diagram) {
            (S::Absent, Ev::Report(admission), D::Querier | D::NonQuerier) => {
                (S::Present, E::Join(admission))
            }
            (S::Absent, Ev::Done | Ev::SpecificQuery | Ev::Timer, D::Querier | D::NonQuerier) => {
                (S::Absent, E::Nothing)
            }

            (S::Present, Ev::Report(admission), D::Querier | D::NonQuerier) => {
                (S::Present, E::Refresh(admission))
            }
            (S::Present, Ev::Timer, D::Querier) => (S::Absent, E::Leave(LeaveCause::Timeout)),
            (S::Present, Ev::Done, D::Querier) => (S::Checking, E::StartCheck),
            (S::Present, Ev::SpecificQuery | Ev::Timer, D::NonQuerier) => (S::Checking, E::Verify),
            (S::Present, Ev::Done, D::NonQuerier) | (S::Present, Ev::SpecificQuery, D::Querier) => {
                (S::Present, E::Nothing)
            }

            (S::Checking, Ev::Report(admission), D::Querier | D::NonQuerier) => {
                (S::Present, E::EndCheck(admission))
            }
            (S::Checking, Ev::Timer, D::Querier | D::NonQuerier) => {
                (S::Absent, E::Leave(LeaveCause::Done))
            }
            (S::Checking, Ev::Done | Ev::SpecificQuery, D::Querier | D::NonQuerier) => {
                (self, E::Nothing)
            }
        }
    }
}
