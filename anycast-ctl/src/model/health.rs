//! The targets of health checks: what a member looks at to learn whether its service works.

use std::net::SocketAddr;

/// The target of a health check, and so the kind of the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The check passes when a TCP connection to this address can be made.
    Tcp(SocketAddr),
    /// The check passes when an HTTP server answers with the right status.
    Http(Web),
    /// The check passes when this program, which is followed by its arguments, ends with exit status 0.
    Command(Vec<String>),
}

/// An HTTP resource that a health check requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Address and port on which the server listens.
    pub address: SocketAddr,
    /// Path to request, from its first slash on.
    pub path: String,
    /// The one HTTP status that passes the check. With `None`, any status from 200 to 299 does.
    pub status: Option<u16>,
}
