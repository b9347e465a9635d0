//! A thread that reads a large table lets others have the processor, unless somebody waits for what it finds.
//!
//! Where a processor has to do all that a daemon does, a thread that reads a million flows for half a second has half
//! of it. If the loop needs more than the other half, messages wait for as long as they come faster than they are
//! answered. A lower priority would help, but where other processes keep the processor busy, the thread might never
//! come to its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

/// Work between two looks at whether the processor is wanted.
const PIECE: Duration = Duration::from_millis(1);
/// How many times as long as it has worked the thread then rests.
const REST: u32 = 3;
/// The longest rest at once, and the longest of all rests of a reading.
const LONGEST: Duration = Duration::from_millis(20);
const ALL: Duration = Duration::from_secs(2);

/// Whether somebody waits for what a thread finds.
#[derive(Clone, Debug, Default)]
pub struct Hurry(Arc<AtomicBool>);

impl Hurry {
    /// From now on.
    pub fn set(&self, is: bool) {
        self.0.store(is, Ordering::Relaxed);
    }

    /// Whether somebody does now.
    #[must_use]
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The pace of a thread.
#[derive(Debug)]
pub struct Pace {
    /// `None`: it never rests.
    hurry: Option<Hurry>,
    /// When the piece began, and how long the thread had worked by then.
    since: Instant,
    worked: Duration,
    rested: Duration,
}

impl Pace {
    /// Of a thread that never rests.
    #[must_use]
    pub fn quick() -> Self {
        Self::new(None)
    }

    /// Of this thread, which rests where the processor is wanted, as long as nobody is in a hurry.
    #[must_use]
    pub fn patient(hurry: Hurry) -> Self {
        Self::new(Some(hurry))
    }

    fn new(hurry: Option<Hurry>) -> Self {
        Self {
            hurry,
            since: Instant::now(),
            worked: worked(),
            rested: Duration::ZERO,
        }
    }

    /// To be called between small pieces of work, of much less than a millisecond each.
    pub fn step(&mut self) {
        let Some(hurry) = &self.hurry else {
            return;
        };
        let worked = worked();
        let piece = worked.saturating_sub(self.worked);
        if piece < PIECE {
            return;
        }
        // A thread that has not worked all the time had to wait, since nothing of what it does blocks.
        let waited = self.since.elapsed().saturating_sub(piece);
        let left = ALL.saturating_sub(self.rested);
        if waited > piece / 2 && !left.is_zero() && !hurry.is() {
            let rest = (piece * REST).min(LONGEST).min(left);
            thread::sleep(rest);
            self.rested += rest;
        }
        (self.since, self.worked) = (Instant::now(), worked);
    }
}

/// How long this thread has had a processor.
fn worked() -> Duration {
    // Linux has this clock and the pointer is valid, so that the call cannot fail.
    let worked = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    worked.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::hint::spin_loop;

    use nix::{
        sched::{CpuSet, sched_getaffinity, sched_setaffinity},
        unistd::Pid,
    };

    use super::*;

    /// Puts this thread on the last of its processors.
    fn pin() {
        let this = Pid::from_raw(0);
        let all = sched_getaffinity(this).expect("its processors");
        let number = (0..CpuSet::count()).rfind(|cpu| all.is_set(*cpu).expect("a processor"));
        let mut one = CpuSet::new();
        one.set(number.expect("at least one")).expect("a processor");
        sched_setaffinity(this, &one).expect("one of its own");
    }

    /// How long a thread rests that works until it has, or for half a second, beside one that never stops.
    fn rests(hurry: &Hurry) -> Duration {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                pin();
                while !is_over.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
            let reading = scope.spawn(|| {
                pin();
                let mut pace = Pace::patient(hurry.clone());
                let begun = worked();
                while pace.rested.is_zero() && worked() - begun < Duration::from_millis(500) {
                    pace.step();
                }
                pace.rested
            });
            let rested = reading.join().expect("it ends");
            is_over.store(true, Ordering::Relaxed);
            rested
        })
    }

    #[test]
    fn who_has_to_wait_for_the_processor_rests_unless_somebody_is_in_a_hurry() {
        let hurry = Hurry::default();
        let rested = rests(&hurry);
        assert!(rested >= PIECE && rested <= LONGEST, "{rested:?}");
        hurry.set(true);
        assert_eq!(rests(&hurry), Duration::ZERO);
    }

    #[test]
    fn all_rests_of_a_reading_are_not_long() {
        let mut pace = Pace {
            rested: ALL,
            ..Pace::patient(Hurry::default())
        };
        // The piece seems to have begun long ago, and the thread seems to have had to wait.
        pace.since -= ALL;
        let begun = worked();
        while worked() - begun < PIECE * 2 {
            pace.step();
        }
        assert_eq!(pace.rested, ALL);
    }
}
