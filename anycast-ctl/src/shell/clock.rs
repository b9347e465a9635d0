//! The clock of the daemon, which is the one of `bpf_ktime_get_ns`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::core::Time;

/// The present time of `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> Time {
    // Linux has this clock and the pointer is valid, so that the call cannot fail.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    Time::ZERO + now.unwrap_or_default()
}

/// The time of day, since 1970. A clock that is set to before that counts as set to that.
#[must_use]
pub fn unix() -> Duration {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    unix.unwrap_or_default()
}
