//! What health checks look at.

use std::net::SocketAddr;

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP connection can be made.
    Tcp(SocketAddr),
    /// A page has the right status.
    Http(Web),
    /// A program, with its arguments, ends with status 0.
    Command(Vec<String>),
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where the server listens.
    pub address: SocketAddr,
    /// What to get, from its slash on.
    pub path: String,
    /// The one status that is good; none: 200 to 299.
    pub status: Option<u16>,
}
