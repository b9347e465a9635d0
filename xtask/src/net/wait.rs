//! Waits for an event, until a deadline or until Ctrl-C.

use std::{
    env, fmt,
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Time after which a wait notices an interrupt at the latest.
const SLICE: Duration = Duration::from_millis(100);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_interrupt(_signal: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP end all waits, so that everything can be taken down in order.
pub fn interruptible() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(note_interrupt),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Whether a signal has asked this process to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Why a wait ended without its event.
#[derive(Debug)]
pub enum Missed {
    /// The event did not happen before the deadline.
    Deadline {
        /// The event that was waited for.
        what: String,
        /// Length of the wait.
        limit: Duration,
    },
    /// The process that should have caused the event has ended.
    Ended {
        /// The event that was waited for.
        what: String,
        /// The process that has ended, and its last output.
        who: String,
    },
    /// A person has asked this process to stop.
    Interrupted,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline { what, limit } => {
                write!(f, "{what}: not within {:.1} s", limit.as_secs_f64())
            }
            Self::Ended { what, who } => write!(f, "{what}: {who}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Missed {}

/// Environment variable with a factor for the time limits of lab and tests, for slow machines.
const SCALE: &str = "ANYCAST_TIME_SCALE";

/// Adjusts a time limit to this machine: multiplies it by `ANYCAST_TIME_SCALE`, which is from 1 to 100. All waits of
/// this module already do that.
pub fn patience(limit: Duration) -> Duration {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| {
        let Ok(text) = env::var(SCALE) else {
            return 1.0;
        };
        scale(&text).unwrap_or_else(|| {
            eprintln!("{SCALE}={text} is no number from 1 to 100, and taken for 1");
            1.0
        })
    });
    limit.mul_f64(*factor)
}

fn scale(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|factor| (1.0..=100.0).contains(factor))
}

/// A value that one thread changes and others wait on.
#[derive(Debug, Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// Makes a value that can be waited on.
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        // A reader that panicked while it held the lock has changed nothing.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and wakes all threads that wait for it.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Reads the value.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until `look` finds what it looks for in the value.
    pub fn wait<R>(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut(&T) -> Option<R>,
    ) -> Result<R, Missed> {
        let limit = patience(limit);
        let deadline = Instant::now() + limit;
        let mut guard = self.lock();
        loop {
            if let Some(found) = look(&guard) {
                return Ok(found);
            }
            let left = left(deadline, limit, what)?;
            guard = self
                .changed
                .wait_timeout(guard, left.min(SLICE))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Calls `look` again and again until it finds something. Only for state of other processes, which announce no change.
pub fn poll<R>(
    limit: Duration,
    every: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<Option<R>>,
) -> Result<R> {
    let limit = patience(limit);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        thread::sleep(left(deadline, limit, what)?.min(every));
    }
}

fn left(deadline: Instant, limit: Duration, what: &str) -> Result<Duration, Missed> {
    if interrupted() {
        return Err(Missed::Interrupted);
    }
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        let what = what.to_owned();
        return Err(Missed::Deadline { what, limit });
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::scale;

    #[test]
    fn limits_become_longer_and_never_shorter() {
        assert_eq!(scale("2.5"), Some(2.5));
        for wrong in ["0.5", "101", "-2", "NaN", "inf", "two", ""] {
            assert_eq!(scale(wrong), None, "{wrong}");
        }
    }
}
