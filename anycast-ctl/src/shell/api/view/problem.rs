//! What somebody should look at.

use serde::{Deserialize, Serialize};

/// Something that somebody should look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem {
    /// Kind of the problem, for programs, such as `interface_missing`.
    pub code: String,
    /// What is wrong, in a sentence.
    pub message: String,
}
