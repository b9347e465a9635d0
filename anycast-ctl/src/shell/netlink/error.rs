//! Why a request to the kernel failed.

use std::{io, time::Duration};

/// How long to wait for an answer of the kernel. It normally answers at once, and the daemon must not hang when an
/// answer is lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Why a request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused the request.
    #[error(transparent)]
    Refused(io::Error),
    /// The kernel did not answer in time.
    #[error("the kernel did not answer")]
    Timeout,
    /// The socket has failed.
    #[error("netlink: {0}")]
    Socket(io::Error),
}

impl NetlinkError {
    /// The error number that the kernel gave, if it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(error) => error.raw_os_error(),
            Self::Timeout | Self::Socket(_) => None,
        }
    }
}
