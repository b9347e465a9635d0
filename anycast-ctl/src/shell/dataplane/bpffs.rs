//! Finds or mounts a BPF file system that outlives the daemon.
//!
//! Pins last as long as their file system, which lasts as long as it is mounted somewhere. `ip netns exec` gives the
//! program that it starts a mount namespace of its own, with a new /sys. The machine's BPF file system is hidden there,
//! and one that is mounted there would end with the daemon, together with all pins. In that case the daemon uses the
//! file system of process 1, through `/proc/1/root`. Where process 1 has none, the daemon mounts one in the mount
//! namespace of process 1. In a container, process 1 is the container's.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
};

use anycast_common::abi::pins::DIRECTORY;
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

/// The root directory of process 1.
const ROOT_OF_INIT: &str = "/proc/1/root";
const NAMESPACE_OF_INIT: &str = "/proc/1/ns/mnt";

/// Why there is no BPF file system. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BpffsError {
    /// The kernel refused to mount one.
    #[error(
        "there is no BPF file system at {0}, and this process cannot mount one ({error}): \
         run `mount -t bpf bpf {0}` as root",
        mount_point().display()
    )]
    Refused {
        /// Error of the kernel.
        error: io::Error,
    },
    /// This process sees another /sys than process 1, as under `ip netns exec`.
    #[error(
        "there is no BPF file system at {0} in this mount namespace, where it would end with the daemon, and this \
         process can neither find nor mount one in that of process 1 ({error}): run `mount -t bpf bpf {0}` there, \
         as root and outside of `ip netns exec`",
        mount_point().display()
    )]
    Hidden {
        /// Error of the kernel.
        error: io::Error,
    },
    /// The daemon runs in a container, in which nothing would outlive it.
    #[error(
        "there is no BPF file system at {0}, and one that is mounted by process 1 of a container ends with it: \
         give the container that of the machine, as a volume at {0}",
        mount_point().display()
    )]
    Container,
}

/// The BPF file system that exists already, if any.
pub(super) fn find() -> Option<PathBuf> {
    let here = mount_point().to_owned();
    [here, of_init()].into_iter().find(|path| is_bpffs(path))
}

/// The BPF file system that exists already, or a new one.
///
/// # Errors
///
/// [`BpffsError`]
pub(super) fn find_or_mount() -> Result<PathBuf, BpffsError> {
    if let Some(found) = find() {
        return Ok(found);
    }
    if std::process::id() == 1 {
        return Err(BpffsError::Container);
    }
    let (path, mounted) = match is_that_of_init() {
        Ok(true) => {
            let path = mount_point().to_owned();
            let mounted = once(&path, mount_here);
            (path, mounted.map_err(|error| BpffsError::Refused { error }))
        }
        Ok(false) => {
            let path = of_init();
            let mounted = once(&path, mount_for_init);
            (path, mounted.map_err(|error| BpffsError::Hidden { error }))
        }
        // Where the mount namespaces cannot be compared, a file system that we mount might end with this process.
        Err(error) => return Err(BpffsError::Hidden { error }),
    };
    mounted?;
    tracing::info!(path = %path.display(), "a BPF file system is mounted");
    Ok(path)
}

/// Whether this process is in the mount namespace of process 1.
fn is_that_of_init() -> io::Result<bool> {
    let about = |path| fs::metadata(path).map(|about| (about.dev(), about.ino()));
    Ok(about("/proc/self/ns/mnt")? == about(NAMESPACE_OF_INIT)?)
}

/// Mounts the file system only if that has not been done yet. Of two daemons that start at the same time, only one may
/// mount: a second mount would hide the first one and what is pinned there.
fn once(path: &Path, mount: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let directory = File::open(path)?;
    let _one_at_a_time =
        Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    match is_bpffs(path) {
        true => Ok(()),
        false => mount(),
    }
}

/// Mounts a BPF file system that only root can use, as systemd does.
fn mount_here() -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let (what, options) = (Some("bpf"), Some("mode=700"));
    mount(what, mount_point(), what, flags, options).map_err(io::Error::from)
}

/// Mounts a BPF file system in the mount namespace of process 1. A thread does it, since only that thread enters the
/// other namespace.
fn mount_for_init() -> io::Result<()> {
    let in_its_namespace = || {
        let namespace = File::open(NAMESPACE_OF_INIT)?;
        // The kernel refuses to move a thread that shares its root and working directory with other threads.
        unshare(CloneFlags::CLONE_FS)?;
        setns(namespace, CloneFlags::CLONE_NEWNS)?;
        mount_here()
    };
    let thread = thread::Builder::new().spawn(in_its_namespace)?;
    let panicked = |_| Err(io::Error::other("the thread that mounts it panicked"));
    thread.join().unwrap_or_else(panicked)
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|system| system.filesystem_type() == BPF_FS_MAGIC)
}

fn mount_point() -> &'static Path {
    let directory = Path::new(DIRECTORY);
    directory.parent().unwrap_or(directory)
}

/// The mount point below the root directory of process 1.
fn of_init() -> PathBuf {
    let mount_point = mount_point();
    Path::new(ROOT_OF_INIT).join(mount_point.strip_prefix("/").unwrap_or(mount_point))
}
