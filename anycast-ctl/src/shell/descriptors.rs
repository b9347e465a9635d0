//! How many files the process may open. Every map, program and interface takes one or two.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As many as a daemon with all roles and some tens of interfaces takes, and its clients.
const NEEDED: u64 = 256;

/// The process may open too few files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may open {0} files, and the daemon needs {NEEDED}: raise the limit \
     (LimitNOFILE= of systemd, ulimit -n)"
)]
pub struct TooFew(u64);

/// Sees to it that the daemon can open what it needs, as far as this process may raise its own limit.
///
/// # Errors
///
/// When the hard limit is below that.
pub fn provide() -> Result<(), TooFew> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Ok(());
    };
    if soft >= NEEDED {
        return Ok(());
    }
    if hard < NEEDED || setrlimit(Resource::RLIMIT_NOFILE, NEEDED, hard).is_err() {
        return Err(TooFew(soft.max(hard.min(NEEDED))));
    }
    Ok(())
}
