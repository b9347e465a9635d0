//! What `check` and `doctor` found. They ask for no more than `status`, if a daemon at all.

use std::path::PathBuf;

use serde::Serialize;

use super::problem::Problem;
use crate::{config, shell::finding::Finding};

/// What was found about a configuration file, and with `--host` about this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Checked {
    /// Path of the file, as it was given.
    pub file: PathBuf,
    /// Whether a daemon would take the file.
    pub ok: bool,
    /// Why it would not.
    pub problems: Vec<config::Problem>,
    /// What is legal, and surely not what was meant.
    pub warnings: Vec<config::Problem>,
    /// What is in the way on this machine. `None` without `--host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Vec<Finding>>,
}

/// What was found about the daemon that runs, its configuration file and this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Doctor {
    /// What is wrong with the daemon, as in `status --check`; `no_daemon` when it does not answer.
    pub daemon: Vec<Problem>,
    /// What `check --host` says.
    #[serde(flatten)]
    pub checked: Checked,
}
