//! The state of the checks of one service.

use super::HealthSettings;
use crate::core::Time;

/// Verdict and phase. No RFC has this machine; it counts as load balancers do.
///
/// ```text
///   phase    ┌─────────┐ Due: run + 1, Start        ┌──────────┐
///            │ Resting ├───────────────────────────►│ Checking │
///            └─────────┘◄───────────────────────────┴──────────┘
///                        Passed, Failed, or Due: Abort, and it counts as Failed
///
///   verdict  ┌──────┐ Passed, `rise` times in a row ┌──────┐
///            │ Down ├──────────────────────────────►│  Up  │
///            └──────┘◄──────────────────────────────┴──────┘
///                      Failed, `fall` times in a row
/// ```
///
/// Passed and Failed are not for a phase that rests: that check was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What the checks so far amount to.
    pub verdict: Verdict,
    /// Whether a check is under way.
    pub phase: Phase,
    /// Number of the last check that was started.
    pub run: u64,
}

/// What the checks so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Unhealthy, with so many successes in a row.
    Down {
        /// Less than `rise`.
        successes: u32,
    },
    /// Healthy, with so many failures in a row.
    Up {
        /// Less than `fall`.
        failures: u32,
    },
}

/// Whether a check is under way: never more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// None is.
    Resting {
        /// When the next one starts.
        until: Time,
    },
    /// One is.
    Checking {
        /// When it started.
        since: Time,
        /// When it has failed by taking too long.
        until: Time,
    },
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `until` of the phase has come.
    Due,
    /// The check under way has passed.
    Passed,
    /// It has failed.
    Failed,
}

/// What the shell has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start a check.
    Start,
    /// Give up the one under way.
    Abort,
}

impl Verdict {
    fn passed(self, rise: u32) -> Self {
        match self {
            Self::Down { successes } if successes + 1 < rise => Self::Down {
                successes: successes + 1,
            },
            Self::Down { .. } | Self::Up { .. } => Self::Up { failures: 0 },
        }
    }

    fn failed(self, fall: u32) -> Self {
        match self {
            Self::Up { failures } if failures + 1 < fall => Self::Up {
                failures: failures + 1,
            },
            Self::Up { .. } | Self::Down { .. } => Self::Down { successes: 0 },
        }
    }
}

impl State {
    /// No check was made yet, and the first is due.
    #[must_use]
    pub const fn new(presumed: bool, now: Time) -> Self {
        Self {
            verdict: if presumed {
                Verdict::Up { failures: 0 }
            } else {
                Verdict::Down { successes: 0 }
            },
            phase: Phase::Resting { until: now },
            run: 0,
        }
    }

    /// The state after `event`, and what to do.
    #[must_use]
    pub fn after(self, event: Event, now: Time, settings: &HealthSettings) -> (Self, Option<Step>) {
        let Self { verdict, run, .. } = self;
        // From start to start; never in the past, or an hour of suspend would be checked after.
        let rest = |since: Time| Phase::Resting {
            until: (since + settings.interval).max(now),
        };
        match (self.phase, event) {
            (Phase::Resting { .. }, Event::Due) => {
                let until = now + settings.timeout;
                let phase = Phase::Checking { since: now, until };
                let run = run.wrapping_add(1);
                (
                    Self {
                        verdict,
                        phase,
                        run,
                    },
                    Some(Step::Start),
                )
            }
            (Phase::Resting { .. }, Event::Passed | Event::Failed) => (self, None),
            (Phase::Checking { since, .. }, Event::Due) => {
                let verdict = verdict.failed(settings.fall);
                let phase = rest(since);
                (
                    Self {
                        verdict,
                        phase,
                        run,
                    },
                    Some(Step::Abort),
                )
            }
            (Phase::Checking { since, .. }, Event::Passed) => {
                let verdict = verdict.passed(settings.rise);
                let phase = rest(since);
                (
                    Self {
                        verdict,
                        phase,
                        run,
                    },
                    None,
                )
            }
            (Phase::Checking { since, .. }, Event::Failed) => {
                let verdict = verdict.failed(settings.fall);
                let phase = rest(since);
                (
                    Self {
                        verdict,
                        phase,
                        run,
                    },
                    None,
                )
            }
        }
    }
}
