//! Mounts a BPF file system for this process and its children alone.

use std::path::Path;

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Path at which programs look for the BPF file system.
pub const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Mounts a new BPF file system at [`MOUNT_POINT`] for the calling thread, for threads that it makes from now on, and
/// for their children. To be called before there are other threads.
///
/// What daemons pin there is separate from the pins of other daemons on this machine, and is gone when the last process
/// that sees it has ended. The machine does not need such a file system, and does not get one. Everything outside of
/// /sys stays as it is: a network namespace that is made here has its name everywhere.
pub fn private() -> Result<()> {
    let of_its_own = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        // What is mounted below this path from now on must not appear in the original mount namespace.
        match receive_only("/sys") {
            // /sys is not a mount of its own here.
            Err(Errno::EINVAL) => receive_only("/"),
            done => done,
        }
    };
    of_its_own().context("cannot make a mount namespace, which needs root (CAP_SYS_ADMIN)")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(
        Some("bpf"),
        MOUNT_POINT,
        Some("bpf"),
        flags,
        Some("mode=700"),
    )
    .with_context(|| format!("cannot mount a BPF file system at {MOUNT_POINT}"))
}

fn receive_only(path: &str) -> nix::Result<()> {
    let flags = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    mount(
        None::<&str>,
        Path::new(path),
        None::<&str>,
        flags,
        None::<&str>,
    )
}
