//! What is told of a fleet.

use serde::Serialize;

/// What happened to another gateway of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FleetChange {
    /// It is there.
    Joined,
    /// It is no longer heard.
    Lost,
}

/// By what a gateway is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FleetReady {
    /// It has a snapshot of what another one knows.
    Snapshot,
    /// No other is there that is ready.
    Alone,
    /// It waited long enough.
    TimedOut,
}

impl FleetReady {
    /// The name that `fleet` shows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Alone => "alone",
            Self::TimedOut => "timed_out",
        }
    }
}
