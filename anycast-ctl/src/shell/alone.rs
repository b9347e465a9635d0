//! One daemon in a network namespace: two would attach, route and assign against each other.
//!
//! A Unix socket with an abstract name belongs to its network namespace, and goes with the process that holds it.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::geteuid,
};

const NAME: &[u8] = b"anycast-ctl/daemon";

/// Another daemon runs here.
#[derive(Debug, thiserror::Error)]
#[error("another anycast daemon runs in this network namespace (process {0}): end it first")]
pub struct NotAlone(i32);

/// What says that a daemon runs here, while somebody holds it.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "it is there to be held")] Option<UnixListener>);

/// Says that this process is the daemon of the network namespace.
///
/// # Errors
///
/// When another process of root, or of this user, is. Somebody else who has taken the name must not keep the daemon
/// from running.
pub fn claim() -> Result<Alone, NotAlone> {
    let name = SocketAddr::from_abstract_name(NAME);
    let held = name.and_then(|name| match UnixListener::bind_addr(&name) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => holder(&name).map(Err),
        held => held.map(Ok),
    });
    match held {
        Ok(Ok(held)) => Ok(Alone(Some(held))),
        Ok(Err((uid, pid))) if uid == 0 || uid == geteuid().as_raw() => Err(NotAlone(pid)),
        Ok(Err((uid, pid))) => {
            tracing::warn!(
                uid,
                pid,
                "somebody else holds the name by which daemons know of each other"
            );
            Ok(Alone(None))
        }
        Err(error) => {
            tracing::warn!(%error, "whether another daemon runs in this network namespace is not known");
            Ok(Alone(None))
        }
    }
}

/// User and process that hold the name.
fn holder(name: &SocketAddr) -> io::Result<(u32, i32)> {
    let stream = UnixStream::connect_addr(name)?;
    let holder = getsockopt(&stream, PeerCredentials)?;
    Ok((holder.uid(), holder.pid()))
}
