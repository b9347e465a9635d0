//! RFC 2710 section 5, arc by arc.

use super::*;
use crate::core::member::listener::{Event, Message, State};

const TIMERS: ListenerTimers = ListenerTimers {
    robustness: 2,
    unsolicited_report_interval: Duration::from_secs(10),
};
const START: Event = Event::StartListening;
const STOP: Event = Event::StopListening;
const EXPIRED: Event = Event::TimerExpired;

const fn query(seconds: u64) -> Event {
    Event::QueryReceived {
        max_response_delay: Duration::from_secs(seconds),
    }
}

fn delaying(milliseconds: u64, owed: u32) -> State {
    State::Delaying {
        until: at(milliseconds),
        owed,
    }
}

#[test]
fn every_transition() {
    let now = at(100_000);
    // A random delay is three quarters of what it may be, so that each row shows what it is of.
    let draw = |longest: Duration| longest * 3 / 4;
    let report = Some(Message::Report);
    let done = Some(Message::Done);
    let (non, idle) = (State::NonListener, State::Idle);
    let rows = [
        ("start listening", non, START, delaying(107_500, 2), report),
        ("stop, not listening", non, STOP, non, None),
        ("query, not listening", non, query(10), non, None),
        ("query at once, not listening", non, query(0), non, None),
        ("timer, not listening", non, EXPIRED, non, None),
        // Delaying Listener.
        (
            "start, delaying",
            delaying(104_000, 2),
            START,
            delaying(104_000, 2),
            None,
        ),
        ("stop, delaying", delaying(104_000, 2), STOP, non, done),
        (
            "first repetition",
            delaying(100_000, 2),
            EXPIRED,
            delaying(107_500, 1),
            report,
        ),
        (
            "last repetition",
            delaying(100_000, 1),
            EXPIRED,
            idle,
            report,
        ),
        (
            "longer query",
            delaying(104_000, 2),
            query(10),
            delaying(104_000, 2),
            None,
        ),
        (
            "as long a query",
            delaying(104_000, 2),
            query(4),
            delaying(104_000, 2),
            None,
        ),
        (
            "shorter query",
            delaying(104_000, 2),
            query(2),
            delaying(101_500, 2),
            None,
        ),
        (
            "query at once",
            delaying(104_000, 2),
            query(0),
            delaying(107_500, 1),
            report,
        ),
        (
            "query at once, one owed",
            delaying(104_000, 1),
            query(0),
            idle,
            report,
        ),
        // Idle Listener.
        ("start, idle", idle, START, idle, None),
        ("stop, idle", idle, STOP, non, done),
        ("query, idle", idle, query(10), delaying(107_500, 1), None),
        ("query at once, idle", idle, query(0), idle, report),
        ("timer, idle", idle, EXPIRED, idle, None),
    ];
    for (name, before, event, after, message) in rows {
        assert_eq!(
            before.after(event, now, &TIMERS, draw),
            (after, message),
            "{name}"
        );
    }
}

#[test]
fn only_a_delaying_listener_has_a_timer() {
    assert_eq!(State::NonListener.deadline(), None);
    assert_eq!(State::Idle.deadline(), None);
    assert_eq!(delaying(5, 1).deadline(), Some(at(5)));
}

#[test]
fn the_robustness_variable_says_how_often_the_first_report_is_repeated() {
    for robustness in [0, 1, 2, 7] {
        let timers = ListenerTimers {
            robustness,
            ..TIMERS
        };
        let (mut state, first) = State::NonListener.after(START, at(0), &timers, |longest| longest);
        assert_eq!(first, Some(Message::Report));
        let mut repetitions = 0;
        while let Some(now) = state.deadline() {
            let (next, message) = state.after(EXPIRED, now, &timers, |longest| longest);
            assert_eq!(message, Some(Message::Report));
            state = next;
            repetitions += 1;
        }
        assert_eq!((state, repetitions), (State::Idle, robustness));
    }
}
