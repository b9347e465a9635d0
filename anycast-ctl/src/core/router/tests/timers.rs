//! The values of RFC 2710 section 7.

use super::*;
use crate::core::router::{Timers, TimersError, schedule::Schedule};

#[test]
fn defaults() {
    let timers = Timers::default();
    assert_eq!(timers.robustness, 2);
    assert_eq!(timers.query_interval, QUERY);
    assert_eq!(timers.query_response_interval, seconds(10));
    assert_eq!(timers.startup_query_interval, Duration::from_millis(31_250));
    assert_eq!(timers.startup_query_count, 2);
    assert_eq!(timers.last_listener_query_interval, SECOND);
    assert_eq!(timers.last_listener_query_count, 2);
    assert_eq!(timers.multicast_listener_interval(), LISTENER);
    assert_eq!(timers.other_querier_present_interval(), OTHER_QUERIER);
    assert_eq!(timers.validate(), Ok(()));
    let derived = Timers::derived(3, seconds(60), seconds(5));
    assert_eq!(derived.multicast_listener_interval(), seconds(185));
    assert_eq!(
        derived.other_querier_present_interval(),
        Duration::from_millis(182_500)
    );
    assert_eq!(derived.startup_query_count, 3);
    assert_eq!(derived.validate(), Ok(()));
}

#[test]
fn contradictions_have_names() {
    type Change = fn(&mut Timers);
    let rows: [(Change, TimersError); 11] = [
        (|t| t.robustness = 0, TimersError::Robustness),
        (
            |t| t.query_response_interval = Duration::from_micros(999),
            TimersError::NoResponseInterval,
        ),
        (
            |t| t.query_response_interval = Duration::from_millis(65_536),
            TimersError::ResponseIntervalTooLong(Duration::from_millis(65_536)),
        ),
        (
            |t| t.query_interval = seconds(10),
            TimersError::ResponseInterval {
                response: seconds(10),
                query: seconds(10),
            },
        ),
        (
            |t| t.startup_query_interval = Duration::ZERO,
            TimersError::StartupInterval,
        ),
        (
            |t| t.startup_query_interval = seconds(126),
            TimersError::StartupIntervalTooLong {
                startup: seconds(126),
                query: QUERY,
            },
        ),
        (|t| t.startup_query_count = 0, TimersError::StartupCount),
        (
            |t| t.last_listener_query_interval = Duration::ZERO,
            TimersError::LastListenerInterval,
        ),
        (
            |t| t.last_listener_query_count = 0,
            TimersError::LastListenerCount,
        ),
        (
            |t| t.last_listener_query_interval = seconds(131),
            TimersError::CheckTooLong {
                check: seconds(262),
                listener: LISTENER,
            },
        ),
        (
            |t| t.query_interval = Duration::ZERO,
            TimersError::ResponseInterval {
                response: seconds(10),
                query: Duration::ZERO,
            },
        ),
    ];
    for (change, error) in rows {
        let mut timers = Timers::default();
        change(&mut timers);
        assert_eq!(timers.validate(), Err(error));
        assert!(error.to_string().contains("RFC 2710"), "{error}");
    }
}

#[test]
fn other_values_are_obeyed() {
    let mut settings = settings();
    let mut timers = Timers::derived(1, seconds(20), seconds(10));
    timers.last_listener_query_count = 3;
    timers.last_listener_query_interval = SECOND / 2;
    settings.links[0].timers = timers;
    let mut world = World::new(settings);
    world.link(&link(LAN));
    world.take();
    world.report(M1, B1);
    assert_eq!(world.left(B1, M1), Some(seconds(30)));
    world.done(M1, B1);
    assert_eq!(world.left(B1, M1), Some(SECOND * 3 / 2));
    world.advance(seconds(5));
    let checks = [0, 500, 1000].map(|time| (time, Sent::Specific(LAN, B1)));
    // Listening takes four of these intervals; the only startup Query comes then.
    let all = [checks.as_slice(), &[(2000, Sent::General(LAN))]].concat();
    let all: Vec<_> = all
        .into_iter()
        .map(|(time, sent)| (Duration::from_millis(time), sent))
        .collect();
    assert_eq!(world.take_sent(Time::ZERO), all);
}

/// Settings that `validate` refuses must not make `poll` run for ever.
#[test]
fn even_nonsense_comes_to_an_end() {
    let mut settings = with(GeneralQueries::Never);
    settings.links[0].timers = Timers::derived(0, Duration::ZERO, Duration::ZERO);
    settings.links[0].timers.last_listener_query_interval = Duration::ZERO;
    let mut world = World::new(settings);
    world.link(&link(LAN));
    world.report(M1, B1);
    world.query(LOWER);
    world.done(M1, B1);
    world.advance(Duration::from_millis(50));
}

/// Else `poll` would go on for ever where a setting makes an interval zero.
#[test]
fn a_timer_does_not_expire_in_the_step_that_sets_it() {
    let now = Time::ZERO + seconds(1);
    for set in [Schedule::start, Schedule::lower, Schedule::raise] {
        let mut schedule = Schedule::new();
        set(&mut schedule, 'a', now, Duration::ZERO);
        assert_eq!(schedule.expired(now), None);
        assert_eq!(schedule.expired(now + TICK), Some('a'));
    }
}
