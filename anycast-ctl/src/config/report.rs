//! Problems of a configuration, as they are shown to the operator.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "FileProblem"))]
pub struct Problem {
    /// Line of the file, counted from 1.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// All problems of a file. They are shown one per line, as `file:line: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// Name of the file.
    pub file: String,
    /// The problems in the order of the lines. There is at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match problem.line {
                Some(line) => write!(f, "{}:{line}: {}", self.file, problem.reason)?,
                None => write!(f, "{}: {}", self.file, problem.reason)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The line on which the octet at `offset` stands.
pub(super) fn line(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|octet| **octet == b'\n').count()
}
