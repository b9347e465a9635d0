//! A rate at which a test sends. How often packets come, or how long a carrier is away, is what such a test is about:
//! there is no event to wait for.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

/// Beats by the kernel's monotonic clock.
pub struct Pace(Option<TimerFd>);

impl Pace {
    /// The first beat comes after `interval`. Of none there is no rate: beats come at once.
    pub fn every(interval: Duration) -> Result<Self> {
        if interval.is_zero() {
            return Ok(Self(None));
        }
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)
            .context("a timer for a rate")?;
        timer.set(
            Expiration::Interval(TimeSpec::from_duration(interval)),
            TimerSetTimeFlags::empty(),
        )?;
        Ok(Self(Some(timer)))
    }

    /// Waits for the next beat. Those that were missed are one: who is late does not become a crowd.
    pub fn beat(&self) -> Result<()> {
        match &self.0 {
            Some(timer) => timer.wait().context("a timer for a rate"),
            None => Ok(()),
        }
    }
}
