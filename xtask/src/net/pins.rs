//! Finds and removes what daemons have left in the BPF file system for a network namespace.

use std::{
    fs, io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use nix::{errno::Errno, libc};
use socket2::{Domain, Socket, Type};

const DIRECTORY: &str = "/sys/fs/bpf/anycast";

/// Removes what is pinned for the network namespace of this thread. Programs that no process holds are thereby
/// detached.
pub(super) fn remove() -> Result<()> {
    match fs::remove_dir_all(directory()?) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Names of what is pinned for the network namespace of this thread, in order.
pub(super) fn list() -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory()?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

/// Directory of the network namespace of this thread.
pub fn directory() -> Result<PathBuf> {
    Ok(Path::new(DIRECTORY).join(cookie()?.to_string()))
}

/// The cookie of the network namespace, a number that the kernel gives to one namespace only.
fn cookie() -> Result<u64> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of_val(&cookie))?;
    // SAFETY: the kernel writes no more octets than the length that it is given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(cookie)
}
