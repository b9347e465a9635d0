//! The one clock: that of `bpf_ktime_get_ns`.

use nix::time::{ClockId, clock_gettime};

use crate::core::Time;

/// `CLOCK_MONOTONIC` now.
#[must_use]
pub fn now() -> Time {
    // Linux has this clock and the pointer is ours, so the call has no way to fail.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    Time::ZERO + now.unwrap_or_default()
}
