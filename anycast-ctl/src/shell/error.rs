//! Why the daemon does not run.

use std::io;

use super::{api::server::ServerError, dataplane::DataplaneError, netlink, privilege};

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
    Server(#[from] ServerError),
    /// The kernel does not take the programs or maps.
    #[error("{what}: {error}")]
    Dataplane {
        /// What was being done.
        what: String,
        /// Why it failed.
        error: Box<DataplaneError>,
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
