//! How a service is checked.

use std::time::Duration;

/// When checks are made and how many make a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// From the start of one check to that of the next.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// Successes in a row that make a service healthy.
    pub rise: u32,
    /// Failures in a row that make it unhealthy.
    pub fall: u32,
    /// Whether the service counts as healthy until checks say otherwise.
    pub presumed: bool,
}
