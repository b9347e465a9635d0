//! The daemon around the core: everything that has an effect or a cause outside.
//!
//! One loop (`daemon`) turns what happens into inputs of the core and performs the actions that
//! come out, each in the file that is named after its kind.

pub mod addresses;
mod advice;
mod answer;
mod answer_flows;
mod answer_policy;
pub mod api;
pub mod clock;
mod daemon;
pub mod dataplane;
mod flows;
pub mod health;
pub mod interfaces;
mod memory;
pub mod neighbors;
mod netdev;
pub mod netlink;
mod notices;
mod perform;
mod policy;
mod privilege;
mod reachability;
pub mod reconcile;
pub mod routes;
pub mod sockets;
mod start;
mod sysctl;
mod systemd;
#[cfg(test)]
mod tests;
mod throttle;

use std::{io, path::PathBuf};

use crate::config::{Config, file};

/// Where things are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The configuration, which is read again on SIGHUP.
    pub config: PathBuf,
    /// The control socket, where the command line names one.
    pub socket: Option<PathBuf>,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The build found no tools for the eBPF programs.
    #[error(
        "this anycast-ctl was built without its eBPF programs: build it with `cargo xtask build`"
    )]
    NoPrograms,
    /// Not root.
    #[error(transparent)]
    NotPrivileged(#[from] privilege::NotPrivileged),
    /// No control socket.
    #[error(transparent)]
    Server(#[from] api::server::ServerError),
    /// The kernel does not take the programs or maps.
    #[error("{what}: {error}")]
    Dataplane {
        /// What was being done.
        what: String,
        /// Why it failed.
        error: Box<dataplane::DataplaneError>,
    },
    /// A socket or signal handler could not be made.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// The kernel does not say what interfaces there are.
    #[error("cannot read the interfaces: {0}")]
    Links(netlink::NetlinkError),
}

impl ShellError {
    fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { what, error }
    }

    fn dataplane(what: impl Into<String>) -> impl FnOnce(dataplane::DataplaneError) -> Self {
        let what = what.into();
        move |error| Self::Dataplane {
            what,
            error: Box::new(error),
        }
    }
}

/// Runs the daemon until SIGINT or SIGTERM. `object` is the compiled eBPF programs.
pub async fn run(config: Config, paths: &Paths, object: &[u8]) -> Result<(), ShellError> {
    if object.is_empty() {
        return Err(ShellError::NoPrograms);
    }
    privilege::check()?;
    let configured = config.control.socket.as_ref().map(|path| path.get_ref());
    let socket = paths
        .socket
        .as_ref()
        .or(configured)
        .cloned()
        .unwrap_or_else(|| file::DEFAULT_SOCKET.into());
    // Before anything is attached: a second daemon must leave the first one alone.
    let server = api::server::Server::bind(&socket)?;
    let mut daemon = daemon::Daemon::start(&config, paths, server, object).await?;
    let result = daemon.run().await;
    daemon.stop().await;
    result
}
