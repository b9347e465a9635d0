//! The clock of the daemon, which is the one of `bpf_ktime_get_ns`.

use nix::time::{ClockId, clock_gettime};

use crate::core::Time;

/// The present time of `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> Time {
    // Linux has this clock and the pointer is valid, so that the call cannot fail.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    Time::ZERO + now.unwrap_or_default()
}
