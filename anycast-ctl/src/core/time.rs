//! Points in time, which the core gets as an argument.

use std::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// A point of `CLOCK_MONOTONIC`, in nanoseconds. `bpf_ktime_get_ns` uses the same clock, so that a time from the core
/// can be stored in a map and compared there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// The time `nanoseconds` after the start of the clock.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the start of the clock.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that is `duration` earlier, or the start of the clock.
    #[must_use]
    pub const fn before(self, duration: Duration) -> Self {
        match Duration::from_nanos(self.0).checked_sub(duration) {
            // What is left of 64 bits fits into 64.
            Some(left) => Self(left.as_secs() * 1_000_000_000 + left.subsec_nanos() as u64),
            None => Self::ZERO,
        }
    }

    /// The time from `earlier` to `self`, or zero when `self` is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// The earlier of two optional deadlines.
#[must_use]
pub fn earliest(left: Option<Time>, right: Option<Time>) -> Option<Time> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}
