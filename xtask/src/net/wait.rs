//! Waiting for something to happen, with a deadline and with Ctrl-C.

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

/// How soon a wait notices an interrupt.
const SLICE: Duration = Duration::from_millis(100);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_interrupt(_signal: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP end waits, so that what stands is taken down in order.
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

/// Whether a signal has asked this process to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Why a wait ended without what it waited for.
#[derive(Debug)]
pub enum Missed {
    /// It did not happen in time.
    Deadline {
        /// What was waited for.
        what: String,
        /// For how long.
        limit: Duration,
    },
    /// Who should have done it has ended.
    Ended {
        /// What was waited for.
        what: String,
        /// Who has ended, and with which words.
        who: String,
    },
    /// The person wants to stop.
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

/// A factor for time limits of lab and tests, for machines that are slower than the limits expect.
const SCALE: &str = "ANYCAST_TIME_SCALE";

/// A time limit as it is on this machine: `ANYCAST_TIME_SCALE` times as long, from 1 to 100. All waits of this module
/// do that themselves.
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
    /// With a first value.
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        // A reader that panicked under the lock has changed nothing.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and wakes who waits for it.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Looks at the value.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until `look` finds what it looks for.
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

/// Asks again and again. Only for state elsewhere that announces no change.
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
