//! Writes durations as a number of seconds in JSON.

use std::time::Duration;

use serde::{Serialize as _, Serializer};

/// Writes a duration in seconds, with a fraction.
pub(super) fn seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Writes an optional duration in seconds, with a fraction, or null.
pub(super) fn maybe_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration
        .map(|duration| duration.as_secs_f64())
        .serialize(serializer)
}
