//! The bus of a fleet.

use std::path::PathBuf;

use async_nats::ServerAddr;

/// Where the bus is.
#[derive(Clone, Debug)]
pub struct Bus {
    /// Its servers, of which one is used at a time.
    pub servers: Vec<ServerAddr>,
    /// What the subjects of this fleet begin with.
    pub subject: String,
    /// The name of this gateway.
    pub name: String,
    /// A file with a token and key, as `nsc` makes it.
    pub credentials: Option<PathBuf>,
    /// Certificates of authorities that sign those of the servers, beside those of the system.
    pub authorities: Option<PathBuf>,
    /// Our own certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}
