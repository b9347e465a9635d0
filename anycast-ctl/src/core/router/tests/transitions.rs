//! The three diagrams of RFC 2710 section 6, arc by arc.

use super::{LOWER, LOWEST, OWN};
use crate::core::{
    Time,
    notice::LeaveCause,
    router::{
        member::{Admission, Diagram, Effect, Event, State},
        querier,
    },
};

const ADMISSION: Admission = Admission {
    mac: [2, 0, 0, 0, 0, 1],
    rule: 0,
};

/// Diagrams of an address: state, event -> state, actions.
#[test]
fn address() {
    use {Diagram as D, Effect as E, Event as Ev, State as S};
    let report = Ev::Report(ADMISSION);
    let query = Ev::SpecificQuery;
    let timeout = E::Leave(LeaveCause::Timeout);
    let done = E::Leave(LeaveCause::Done);
    let (join, refresh) = (E::Join(ADMISSION), E::Refresh(ADMISSION));
    let rows = [
        (D::Querier, S::Absent, report, S::Present, join),
        (D::Querier, S::Absent, Ev::Done, S::Absent, E::Nothing),
        (D::Querier, S::Absent, query, S::Absent, E::Nothing),
        (D::Querier, S::Absent, Ev::Timer, S::Absent, E::Nothing),
        (D::Querier, S::Present, report, S::Present, refresh),
        (D::Querier, S::Present, Ev::Done, S::Checking, E::StartCheck),
        (D::Querier, S::Present, query, S::Present, E::Nothing),
        (D::Querier, S::Present, Ev::Timer, S::Absent, timeout),
        // Non-Querier: it asks itself before it takes a member for gone.
        (D::NonQuerier, S::Absent, report, S::Present, join),
        (D::NonQuerier, S::Absent, Ev::Done, S::Absent, E::Nothing),
        (D::NonQuerier, S::Absent, query, S::Absent, E::Nothing),
        (D::NonQuerier, S::Absent, Ev::Timer, S::Absent, E::Nothing),
        (D::NonQuerier, S::Present, report, S::Present, refresh),
        (D::NonQuerier, S::Present, Ev::Done, S::Present, E::Nothing),
        (D::NonQuerier, S::Present, query, S::Checking, E::Verify),
        (D::NonQuerier, S::Present, Ev::Timer, S::Checking, E::Verify),
    ];
    // A check goes on whether an election is won or lost.
    let checks = [D::Querier, D::NonQuerier].into_iter().flat_map(|diagram| {
        [
            (
                diagram,
                S::Checking,
                report,
                S::Present,
                E::EndCheck(ADMISSION),
            ),
            (diagram, S::Checking, Ev::Done, S::Checking, E::Nothing),
            (diagram, S::Checking, query, S::Checking, E::Nothing),
            (diagram, S::Checking, Ev::Timer, S::Absent, done),
        ]
    });
    let rows = rows.into_iter().chain(checks);
    for (diagram, state, event, next, effect) in rows {
        assert_eq!(
            state.step(event, diagram),
            (next, effect),
            "{diagram:?}: {state:?}, {event:?}"
        );
    }
}

/// Diagram of a link: state, event -> state, actions.
#[test]
fn link() {
    use querier::{Effect as E, Event as Ev, Role as R};
    let now = Time::from_nanos(7);
    let lower = |source, stale| Ev::LowerQuery { source, stale, now };
    let other = |querier, heard| R::NonQuerier { querier, heard };
    let before = Time::ZERO;
    let renumbered = Ev::Renumbered { own: LOWEST };
    let rows = [
        (R::Initial, Ev::Started, R::Querier, E::StartUp),
        (R::Initial, Ev::Stopped, R::Initial, E::Nothing),
        (R::Initial, renumbered, R::Initial, E::Nothing),
        (R::Initial, Ev::QueryTimer, R::Initial, E::Nothing),
        (R::Initial, Ev::OtherQuerierTimer, R::Initial, E::Nothing),
        (R::Initial, lower(LOWER, true), R::Initial, E::Nothing),
        (R::Querier, Ev::QueryTimer, R::Querier, E::Ask),
        (R::Querier, lower(LOWER, true), other(LOWER, now), E::Listen),
        (R::Querier, Ev::OtherQuerierTimer, R::Querier, E::Nothing),
        (R::Querier, Ev::Started, R::Querier, E::Nothing),
        (R::Querier, renumbered, R::Querier, E::Nothing),
        (R::Querier, Ev::Stopped, R::Initial, E::Stop),
        (
            other(LOWER, before),
            lower(LOWER, false),
            other(LOWER, now),
            E::Listen,
        ),
        (
            other(LOWER, before),
            lower(LOWEST, false),
            other(LOWEST, now),
            E::Listen,
        ),
        (
            other(LOWEST, before),
            lower(LOWER, false),
            other(LOWEST, before),
            E::Listen,
        ),
        (
            other(LOWEST, before),
            lower(LOWER, true),
            other(LOWER, now),
            E::Listen,
        ),
        (
            other(LOWER, before),
            Ev::OtherQuerierTimer,
            R::Querier,
            E::Ask,
        ),
        (
            other(LOWER, before),
            Ev::QueryTimer,
            other(LOWER, before),
            E::Nothing,
        ),
        (
            other(LOWER, before),
            Ev::Started,
            other(LOWER, before),
            E::Nothing,
        ),
        (other(LOWER, before), renumbered, R::Querier, E::Ask),
        (
            other(LOWER, before),
            Ev::Renumbered { own: OWN },
            other(LOWER, before),
            E::Nothing,
        ),
        (other(LOWER, before), Ev::Stopped, R::Initial, E::Stop),
    ];
    for (role, event, next, effect) in rows {
        assert_eq!(role.step(event), (next, effect), "{role:?}, {event:?}");
    }
}
