//! Health checks in virtual time, and what they do to a membership.

use super::*;
use crate::core::member::health::{Event, Phase, State, Step, Verdict};

const CHECKS: HealthSettings = HealthSettings {
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(2),
    rise: 2,
    fall: 3,
    presumed: false,
};

const fn down(successes: u32) -> Verdict {
    Verdict::Down { successes }
}

const fn up(failures: u32) -> Verdict {
    Verdict::Up { failures }
}

#[test]
fn every_transition() {
    let now = at(100_000);
    let resting = |milliseconds| Phase::Resting {
        until: at(milliseconds),
    };
    // It started a second ago.
    let checking = Phase::Checking {
        since: at(99_000),
        until: at(101_000),
    };
    let begun = Phase::Checking {
        since: now,
        until: at(102_000),
    };
    let late = Phase::Checking {
        since: at(10_000),
        until: at(12_000),
    };
    let next = resting(104_000);
    let (due, passed, failed) = (Event::Due, Event::Passed, Event::Failed);
    let (start, abort) = (Some(Step::Start), Some(Step::Abort));
    #[rustfmt::skip]
    let rows = [
        ("a check is due",       down(1), resting(100_000), due,    down(1), begun, start),
        ("it is, healthy",       up(2),   resting(100_000), due,    up(2),   begun, start),
        ("passed, none awaited", down(1), resting(101_000), passed, down(1), resting(101_000), None),
        ("failed, none awaited", up(2),   resting(101_000), failed, up(2),   resting(101_000), None),
        ("the first success",    down(0), checking, passed, down(1), next, None),
        ("enough successes",     down(1), checking, passed, up(0),   next, None),
        ("one more success",     up(0),   checking, passed, up(0),   next, None),
        ("success in between",   up(2),   checking, passed, up(0),   next, None),
        ("the first failure",    up(0),   checking, failed, up(1),   next, None),
        ("the second failure",   up(1),   checking, failed, up(2),   next, None),
        ("enough failures",      up(2),   checking, failed, down(0), next, None),
        ("one more failure",     down(0), checking, failed, down(0), next, None),
        ("failure in between",   down(1), checking, failed, down(0), next, None),
        ("too long, healthy",    up(0),   checking, due,    up(1),   next, abort),
        ("too long, the last",   up(2),   checking, due,    down(0), next, abort),
        ("too long, unhealthy",  down(1), checking, due,    down(0), next, abort),
        ("the machine slept",    up(0),   late,     due,    up(1),   resting(100_000), abort),
    ];
    for (name, verdict, phase, event, then, next, step) in rows {
        let run = 7;
        let state = State {
            verdict,
            phase,
            run,
        };
        let expected = State {
            verdict: then,
            phase: next,
            run: if step == start { 8 } else { 7 },
        };
        assert_eq!(state.after(event, now, &CHECKS), (expected, step), "{name}");
    }
}

#[test]
fn a_rise_or_fall_of_one_needs_one() {
    let one = HealthSettings {
        rise: 1,
        fall: 1,
        ..CHECKS
    };
    let checking = |verdict| State {
        verdict,
        phase: Phase::Checking {
            since: at(0),
            until: at(2000),
        },
        run: 1,
    };
    let verdict = |before, event| checking(before).after(event, at(1), &one).0.verdict;
    assert_eq!(verdict(down(0), Event::Passed), up(0));
    assert_eq!(verdict(up(0), Event::Failed), down(0));
}

/// A member of [`ANYCAST`] whose membership depends on checks, with a link.
fn checked(presumed: bool) -> Bench {
    let mut settings = settings();
    settings.groups[0].health = Some(HealthSettings { presumed, ..CHECKS });
    let mut bench = Bench::new(settings);
    bench.run(|member, actions| member.link(at(0), &link(2, "eth0"), actions));
    bench
}

impl Bench {
    fn try_join(&mut self, now: Time) -> (bool, Output) {
        let mut joined = false;
        let output = self.run(|member, actions| {
            joined = member.join(now, ANYCAST, actions).unwrap();
        });
        (joined, output)
    }

    fn found(&mut self, now: Time, run: u64, passed: bool) -> Output {
        let finding = Finding {
            run,
            passed,
            text: if passed { "fine" } else { "disk full" }.into(),
        };
        self.run(|member, actions| member.checked(now, ANYCAST, finding, actions))
    }

    /// The check that is due ends a moment later.
    fn check(&mut self, passed: bool) -> Output {
        let now = self.0.groups[&ANYCAST].checks.as_ref().unwrap().deadline();
        let run = self.poll(now).started().expect("a check is due");
        self.found(now + Duration::from_millis(1), run, passed)
    }

    fn view(&self) -> GroupView {
        self.0.groups(at(0)).remove(0)
    }
}

impl Output {
    fn started(&self) -> Option<u64> {
        self.0.iter().find_map(|action| match action {
            Action::Check(CheckAction::Start {
                anycast: ANYCAST,
                run,
            }) => Some(*run),
            _ => None,
        })
    }

    fn messages(&self) -> Vec<mld::Message> {
        self.mld()
            .into_iter()
            .map(|(.., message)| message)
            .collect()
    }
}

const REPORT: mld::Message = mld::Message::Report { address: ANYCAST };
const DONE: mld::Message = mld::Message::Done { address: ANYCAST };

#[test]
fn a_member_joins_after_rise_and_leaves_after_fall() {
    let mut bench = checked(false);
    let (joined, output) = bench.try_join(at(0));
    assert!(!joined && output.messages().is_empty(), "{output:?}");
    assert_eq!(bench.view().health.unwrap().health, Health::Unknown);
    assert!(bench.check(true).messages().is_empty());
    assert_eq!(bench.view().health.unwrap().health, Health::Unhealthy);
    assert_eq!(bench.check(true).messages(), [REPORT]);
    assert!(bench.view().joined);
    assert!(bench.check(false).messages().is_empty());
    assert!(bench.check(false).messages().is_empty());
    let output = bench.check(false);
    assert_eq!(output.messages(), [DONE]);
    let said = Action::Notice(Notice::Health {
        anycast: ANYCAST,
        healthy: false,
        said: "disk full".into(),
    });
    assert!(output.0.contains(&said), "{output:?}");
    let health = bench.view().health.unwrap();
    assert_eq!(health.health, Health::Unhealthy);
    assert_eq!(health.last_error.as_deref(), Some("disk full"));
    bench.check(true);
    assert_eq!(bench.check(true).messages(), [REPORT]);
    assert_eq!(bench.count(Counter::HealthCheckFailed), 3);
    assert_eq!(bench.count(Counter::HealthCheckPassed), 4);
}

/// What nobody has found yet is no reason to send clients elsewhere.
#[test]
fn a_service_is_ill_when_checks_have_said_so() {
    let mut bench = checked(false);
    let why = |bench: &Bench| {
        let mut unserved = bench.0.unserved();
        unserved.find_map(|(anycast, why)| (anycast == ANYCAST).then_some(why))
    };
    assert_eq!(why(&bench), Some(Unserved::Left));
    bench.try_join(at(0));
    assert_eq!(why(&bench), Some(Unserved::Unknown));
    bench.check(true);
    assert_eq!(why(&bench), Some(Unserved::Unknown), "one more has to pass");
    for expected in [Unserved::Unknown, Unserved::Unknown, Unserved::Ill] {
        bench.check(false);
        assert_eq!(why(&bench), Some(expected));
    }
    bench.check(true);
    bench.check(true);
    assert_eq!(why(&bench), None, "a member");
    for expected in [None, None, Some(Unserved::Ill)] {
        bench.check(false);
        assert_eq!(why(&bench), expected);
    }
    bench.run(|member, actions| assert!(!member.drain(at(90_000), ANYCAST, actions).unwrap()));
    bench.check(true);
    bench.check(true);
    assert_eq!(why(&bench), Some(Unserved::Left), "it is well, and drains");
}

#[test]
fn a_presumed_service_is_joined_until_it_fails() {
    let mut bench = checked(true);
    let (joined, output) = bench.try_join(at(0));
    assert!(joined);
    assert_eq!(output.messages(), [REPORT]);
    assert_eq!(bench.view().health.unwrap().health, Health::Unknown);
    bench.check(false);
    bench.check(false);
    assert_eq!(bench.check(false).messages(), [DONE]);
}

#[test]
fn a_check_that_takes_too_long_has_failed_and_its_result_is_late() {
    let mut bench = checked(true);
    bench.try_join(at(0));
    assert_eq!(bench.poll(at(0)).started(), Some(1));
    assert_eq!(bench.poll(at(1999)).started(), None);
    let output = bench.poll(at(2000));
    let abort = Action::Check(CheckAction::Abort { anycast: ANYCAST });
    assert!(output.0.contains(&abort), "{output:?}");
    assert_eq!(bench.count(Counter::HealthCheckTimeout), 1);
    let error = bench.view().health.unwrap().last_error;
    assert_eq!(error.as_deref(), Some("no result within 2 s"));
    bench.found(at(2001), 1, true);
    assert_eq!(bench.count(Counter::HealthCheckLate), 1);
    assert_eq!(bench.poll(at(5000)).started(), Some(2));
    // Of the check before.
    bench.found(at(5001), 1, true);
    assert_eq!(bench.count(Counter::HealthCheckLate), 2);
    assert_eq!(bench.count(Counter::HealthCheckPassed), 0);
}

#[test]
fn what_is_not_wanted_is_not_joined_however_healthy() {
    let mut bench = checked(false);
    bench.check(true);
    assert!(bench.check(true).messages().is_empty());
    let (joined, output) = bench.try_join(at(20_000));
    assert!(joined);
    assert_eq!(output.messages(), [REPORT]);
}

#[test]
fn a_drain_goes_before_health_and_ends_with_undrain_or_join() {
    let mut bench = checked(false);
    bench.try_join(at(0));
    bench.check(true);
    assert_eq!(bench.check(true).messages(), [REPORT]);
    let drain = |member: &mut Member, actions: &mut Actions| {
        assert!(!member.drain(at(30_000), ANYCAST, actions).unwrap());
    };
    let output = bench.run(drain);
    assert_eq!(output.messages(), [DONE]);
    let refused = Action::Map(MapAction::SetLocalAnycast {
        anycast: ANYCAST,
        report_clients: false,
    });
    assert!(output.0.contains(&refused), "new clients: {output:?}");
    assert!(bench.packet_of(at(30_001), CLIENT).mobility().is_empty());
    assert!(bench.view().draining.is_some() && bench.view().wanted);
    assert!(bench.run(drain).0.is_empty(), "idempotent");
    // Down and up again.
    for passed in [false, false, false, true, true] {
        assert!(bench.check(passed).messages().is_empty());
    }
    let output = bench.run(|member, actions| {
        assert!(member.undrain(at(90_000), ANYCAST, actions).unwrap());
    });
    assert_eq!(output.messages(), [REPORT]);
    bench.run(drain);
    assert!(bench.try_join(at(91_000)).0);
    assert!(bench.view().draining.is_none());
    // Undrain does not join what was left before.
    bench.run(|member, actions| assert!(!member.leave(at(92_000), ANYCAST, actions).unwrap()));
    bench.run(drain);
    let output = bench.run(|member, actions| {
        assert!(!member.undrain(at(93_000), ANYCAST, actions).unwrap());
    });
    assert!(output.messages().is_empty());
}

#[test]
fn no_check_survives_a_shutdown() {
    let mut bench = checked(true);
    bench.try_join(at(0));
    bench.poll(at(0));
    let output = bench.run(|member, actions| member.shutdown(at(10), actions));
    assert_eq!(output.messages(), [DONE]);
    let abort = Action::Check(CheckAction::Abort { anycast: ANYCAST });
    assert!(output.0.contains(&abort), "{output:?}");
    assert!(bench.found(at(20), 1, true).0.is_empty());
    assert_eq!(bench.poll(at(60_000)).started(), None);
}
