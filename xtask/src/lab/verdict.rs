//! Checks of what a step must show, and the errors when it does not.

use std::fmt;

use crate::net::wait::Missed;

/// An expectation that was not met.
#[derive(Debug)]
pub struct Unmet {
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// The node whose log may show the reason.
    pub node: Option<&'static str>,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected: {}; seen: {}", self.expected, self.seen)
    }
}

impl std::error::Error for Unmet {}

/// Fails with what was expected and what was seen, unless `condition` is true.
pub fn expect(
    condition: bool,
    expected: impl fmt::Display,
    seen: impl fmt::Display,
) -> Result<(), Unmet> {
    if condition {
        return Ok(());
    }
    Err(Unmet {
        expected: expected.to_string(),
        seen: seen.to_string(),
        node: None,
    })
}

/// Turns a wait without success into an error that says what was seen instead, and which log to read.
pub trait Otherwise<R> {
    /// `seen` is called only when it is needed.
    fn otherwise<S: fmt::Display>(
        self,
        node: &'static str,
        seen: impl FnOnce() -> S,
    ) -> anyhow::Result<R>;
}

impl<R> Otherwise<R> for Result<R, Missed> {
    fn otherwise<S: fmt::Display>(
        self,
        node: &'static str,
        seen: impl FnOnce() -> S,
    ) -> anyhow::Result<R> {
        self.map_err(|missed| match missed {
            Missed::Interrupted | Missed::Ended { .. } => missed.into(),
            Missed::Deadline { what, limit } => Unmet {
                expected: format!("{what}, within {:.0} s", limit.as_secs_f64()),
                seen: seen().to_string(),
                node: Some(node),
            }
            .into(),
        })
    }
}

impl<R> Otherwise<R> for anyhow::Result<R> {
    fn otherwise<S: fmt::Display>(
        self,
        node: &'static str,
        seen: impl FnOnce() -> S,
    ) -> anyhow::Result<R> {
        self.or_else(|error| match error.downcast::<Missed>() {
            Ok(missed) => Err(missed).otherwise(node, seen),
            Err(error) => Err(error),
        })
    }
}
