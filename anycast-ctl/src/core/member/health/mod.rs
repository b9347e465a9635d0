//! Whether the service behind an anycast address is healthy.
//!
//! The shell makes the checks; when one is due, when it has taken too long and what its results
//! amount to is decided here.

mod machine;
mod settings;

pub use machine::{Event, Phase, State, Step, Verdict};
pub use settings::HealthSettings;

use super::view::{Health, HealthView};
use crate::core::Time;

/// What the shell found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check, as [`CheckAction::Start`](crate::core::CheckAction::Start) numbered it.
    pub run: u64,
    /// Whether the service is well.
    pub passed: bool,
    /// What it said, or what was wrong, in one line.
    pub text: String,
}

/// The last check of a kind.
#[derive(Clone, Debug)]
struct Last {
    at: Time,
    text: String,
}

/// The checks of one group.
#[derive(Debug)]
pub(super) struct Checks {
    settings: HealthSettings,
    state: State,
    since: Time,
    last: Option<Last>,
    last_error: Option<Last>,
    /// How many failed after the last one that passed.
    failed: u32,
}

impl Checks {
    /// The first check is due at once.
    pub(super) const fn new(settings: HealthSettings, now: Time) -> Self {
        Self {
            settings,
            state: State::new(settings.presumed, now),
            since: now,
            last: None,
            last_error: None,
            failed: 0,
        }
    }

    /// Other times, from the next check on.
    pub(super) const fn set(&mut self, settings: HealthSettings) {
        self.settings = settings;
    }

    /// Whether the group may be joined.
    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state.verdict, Verdict::Up { .. })
    }

    /// Whether so many checks in a row have failed that nothing serves the address. What was presumed at the start is
    /// no finding.
    pub(super) const fn is_ill(&self) -> bool {
        !self.is_up() && self.failed >= self.settings.fall
    }

    /// When [`Checks::poll`] has something to do.
    pub(super) const fn deadline(&self) -> Time {
        match self.state.phase {
            Phase::Resting { until } | Phase::Checking { until, .. } => until,
        }
    }

    /// Starts a check, or gives up on one, when it is time.
    pub(super) fn poll(&mut self, now: Time) -> Option<Step> {
        if self.deadline() > now {
            return None;
        }
        if let Phase::Checking { .. } = self.state.phase {
            let limit = self.settings.timeout.as_secs_f64();
            self.note(now, false, format!("no result within {limit} s"));
        }
        self.step(now, Event::Due)
    }

    /// A check has ended. False: it was given up before.
    pub(super) fn found(&mut self, now: Time, finding: Finding) -> bool {
        let Finding { run, passed, text } = finding;
        let awaited = matches!(self.state.phase, Phase::Checking { .. }) && run == self.state.run;
        if awaited {
            self.note(now, passed, text);
            let event = if passed { Event::Passed } else { Event::Failed };
            self.step(now, event);
        }
        awaited
    }

    /// The check that is under way, for the shell to give up.
    pub(super) const fn under_way(&self) -> bool {
        matches!(self.state.phase, Phase::Checking { .. })
    }

    /// Number of the last check that was started.
    pub(super) const fn run(&self) -> u64 {
        self.state.run
    }

    /// For people.
    pub(super) fn view(&self, now: Time) -> HealthView {
        let error = self.last_error.as_ref();
        HealthView {
            health: match (self.is_up(), &self.last) {
                (_, None) => Health::Unknown,
                (true, Some(_)) => Health::Healthy,
                (false, Some(_)) => Health::Unhealthy,
            },
            since: now.since(self.since),
            said: self.last.as_ref().map(|last| last.text.clone()),
            last_error: error.map(|error| error.text.clone()),
            last_error_age: error.map(|error| now.since(error.at)),
        }
    }

    fn note(&mut self, at: Time, passed: bool, text: String) {
        let last = Last { at, text };
        self.failed = match passed {
            true => 0,
            false => self.failed.saturating_add(1),
        };
        if !passed {
            self.last_error = Some(last.clone());
        }
        if self.last.is_none() {
            // What was presumed is known from now on.
            self.since = at;
        }
        self.last = Some(last);
    }

    fn step(&mut self, now: Time, event: Event) -> Option<Step> {
        let before = self.is_up();
        let (state, step) = self.state.after(event, now, &self.settings);
        self.state = state;
        if self.is_up() != before {
            self.since = now;
        }
        step
    }
}
