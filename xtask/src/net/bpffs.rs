//! A BPF file system for this process and its children alone.

use std::path::Path;

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Where programs look for it.
pub const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Mounts a new one at [`MOUNT_POINT`] for the calling thread, for those that it makes from now on, and for their
/// children. To be called before there are other threads.
///
/// What daemons pin there meets nothing of other daemons on this machine, and goes with the last process that sees it.
/// The machine need not have such a file system, and does not get one. Everything outside of /sys is as before: a
/// network namespace that is made here has its name everywhere.
pub fn private() -> Result<()> {
    let of_its_own = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        // What is mounted below here from now on must not appear in the namespace that we come from.
        match receive_only("/sys") {
            // Where /sys is no mount of its own.
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
