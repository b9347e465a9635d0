//! Why a health check failed.

use std::io;

/// Why a health check failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwell {
    #[error("cannot connect to {address}: {error}")]
    Connect {
        address: std::net::SocketAddr,
        error: io::Error,
    },
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the answer is not HTTP: {0:?}")]
    NotHttp(String),
    #[error("HTTP status {0}")]
    Status(u16),
    #[error("cannot run {program}: {error}")]
    Start { program: String, error: io::Error },
    #[error("{status}{}{said}", if .said.is_empty() { "" } else { ": " })]
    Exit { status: String, said: String },
}
