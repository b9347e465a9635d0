//! Why the daemon does not run.

use std::io;

use super::{
    alone, api::server::ServerError, dataplane::DataplaneError, netlink, privilege, secret,
};

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The programs were not built, because their tools were missing.
    #[error(
        "this anycast-ctl was built without its eBPF programs: build it with `cargo xtask build`"
    )]
    NoPrograms,
    /// The process does not have the privileges that it needs.
    #[error(transparent)]
    NotPrivileged(#[from] privilege::NotPrivileged),
    /// A daemon runs in this network namespace already.
    #[error(transparent)]
    NotAlone(#[from] alone::NotAlone),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The kernel refused the programs or their maps.
    #[error("{what}: {error}")]
    Dataplane {
        /// What the daemon was doing.
        what: String,
        /// Why it failed.
        error: Box<DataplaneError>,
    },
    /// A socket or signal handler could not be made.
    #[error("{what}: {error}")]
    Io {
        /// What the daemon was doing.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// A secret of the fleet cannot be used.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// The kernel did not list its interfaces.
    #[error("cannot read the interfaces: {0}")]
    Links(netlink::NetlinkError),
}

impl ShellError {
    pub(super) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { what, error }
    }

    pub(super) fn dataplane(what: impl Into<String>) -> impl FnOnce(DataplaneError) -> Self {
        let what = what.into();
        move |error| Self::Dataplane {
            what,
            error: Box::new(error),
        }
    }
}
