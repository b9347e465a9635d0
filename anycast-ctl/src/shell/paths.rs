//! Which files the daemon uses.

use std::path::PathBuf;

/// Paths of the files that the daemon uses.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The configuration file, whose policy is read again on SIGHUP.
    pub config: PathBuf,
    /// The control socket, if the command line names one.
    pub socket: Option<PathBuf>,
}
