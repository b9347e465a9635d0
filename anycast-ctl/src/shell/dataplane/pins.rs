//! State that stays in the kernel when the daemon ends: the links of its programs and the maps that sessions need. They
//! are pinned by name in the BPF file system.
//!
//! Each network namespace has a directory, which is named by the namespace's cookie. The kernel gives a cookie to one
//! namespace only while it runs. A lock on the directory shows that a daemon uses it.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use anycast_common::abi::{
    pins::{DIRECTORY, LAYOUT},
    roles,
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc,
    unistd::geteuid,
};
use socket2::{Domain, Socket, Type};

use super::{
    bpffs::{self, BpffsError},
    link::{AttachPoint, Link},
    needed,
};

/// Roles that have sessions.
pub(super) const ROLES: u8 = roles::MEMBER | roles::CORRESPONDENT;

/// Why nothing can be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// There is no BPF file system.
    #[error(transparent)]
    FileSystem(#[from] BpffsError),
    /// Another daemon runs in this network namespace.
    #[error("{0} belongs to an anycast-ctl that runs in this network namespace")]
    Taken(PathBuf),
    /// Another user owns the directory. `/sys/fs/bpf` is writable for all users on many machines.
    #[error("{0} is not a directory that root alone can change: remove it")]
    NotOurs(PathBuf),
    /// The kernel refused an operation.
    #[error("{path}: {error}")]
    Io {
        /// Path of the operation.
        path: PathBuf,
        /// Error of the kernel.
        error: io::Error,
    },
}

/// The directory of this network namespace, which this process has locked.
#[derive(Debug)]
pub struct Pins {
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Pins {
    /// Locks the directory. Mounts a BPF file system if there is none, and removes what namespaces and interfaces left
    /// that no longer exist.
    ///
    /// # Errors
    ///
    /// [`PinsError::FileSystem`], [`PinsError::Taken`], or an error of the kernel.
    pub fn claim() -> Result<Self, PinsError> {
        Self::claim_in(&bpffs::find_or_mount()?)
    }

    /// As [`Pins::claim`], but mounts nothing. `None` where there is no BPF file system, since nothing can be pinned
    /// then.
    ///
    /// # Errors
    ///
    /// [`PinsError::Taken`], or an error of the kernel.
    pub fn left() -> Result<Option<Self>, PinsError> {
        bpffs::find()
            .map(|mount| Self::claim_in(&mount))
            .transpose()
    }

    fn claim_in(mount: &Path) -> Result<Self, PinsError> {
        let root = &mount.join(Path::new(DIRECTORY).file_name().unwrap_or_default());
        // This lock keeps one daemon from removing what another one is just making.
        let _one_at_a_time = loop {
            private(root)?;
            if let Some(lock) = alone_in(root)? {
                break lock;
            }
        };
        let directory = root.join(cookie().map_err(failed(root))?.to_string());
        sweep(root, &directory)?;
        private(&directory)?;
        Ok(Self {
            _lock: lock(&directory, FlockArg::LockExclusiveNonblock)?,
            directory,
        })
    }

    /// Names and paths of the maps that these roles pin.
    pub(super) fn maps(&self, roles: u8) -> Vec<(&'static str, PathBuf)> {
        let pinned = needed::by(roles).filter(|map| map.pinned);
        let mut names: Vec<_> = pinned.map(|map| map.name).collect();
        names.sort_unstable();
        let path = |name| (name, self.directory.join(format!("{name}-{LAYOUT:08x}")));
        names.into_iter().map(path).collect()
    }

    /// Removes maps of another layout, and maps of roles that this machine no longer has.
    pub(super) fn drop_other_maps(&self, roles: u8) -> Result<(), PinsError> {
        let ours = self.maps(roles);
        for path in entries(&self.directory)? {
            let is_ours = ours.iter().any(|(_, map)| *map == path);
            if !is_ours && link_name(&path).is_none() {
                let map = path.file_name().unwrap_or_default();
                tracing::warn!(
                    map = %map.display(),
                    "what an earlier version or configuration has pinned is of no use: \
                     its sessions take the anycast route"
                );
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Path at which a link is pinned.
    pub(super) fn link(&self, ifindex: u32, point: AttachPoint) -> PathBuf {
        self.directory.join(format!("{ifindex}-{}", point.name()))
    }

    /// Removes the links of interfaces that `wanted` does not select, and of those that no longer exist.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn retain(&self, wanted: impl Fn(u32) -> bool) -> Result<(), PinsError> {
        for path in entries(&self.directory)? {
            let Some((ifindex, point)) = link_name(&path) else {
                continue;
            };
            if !wanted(ifindex) || !is_attached(&path) {
                let attached_at = point.name();
                tracing::info!(ifindex, attached_at, "an earlier run's program is detached");
                detach(&path)?;
            }
        }
        Ok(())
    }

    /// Removes everything, so that all programs are detached. Gives how many links there were.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn remove(self) -> Result<usize, PinsError> {
        let mut attached = 0;
        for path in entries(&self.directory)? {
            attached += usize::from(is_attached(&path));
            detach(&path)?;
        }
        let root = self.directory.parent().unwrap_or(&self.directory);
        let _one_at_a_time = alone_in(root)?;
        remove_all(&self.directory)?;
        // That of all network namespaces goes with the last of them, and is in nobody's way where it cannot.
        let _ = fs::remove_dir(root);
        Ok(attached)
    }
}

/// Locks the directory of all network namespaces. `None` where it was removed meanwhile: others would lock another one.
fn alone_in(root: &Path) -> Result<Option<Flock<File>>, PinsError> {
    let inode = |root: &Path| match fs::symlink_metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        about => about.map(|about| Some(about.ino())).map_err(failed(root)),
    };
    let locked = match lock(root, FlockArg::LockExclusive) {
        Err(PinsError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        locked => locked?,
    };
    let ours = locked.metadata().map_err(failed(root))?.ino();
    Ok((inode(root)? == Some(ours)).then_some(locked))
}

/// Interface index and attach point in the file name of a link.
fn link_name(path: &Path) -> Option<(u32, AttachPoint)> {
    let (ifindex, name) = path.file_name()?.to_str()?.split_once('-')?;
    let point = AttachPoint::ALL
        .into_iter()
        .find(|point| point.name() == name)?;
    Some((ifindex.parse().ok()?, point))
}

/// Whether the kernel says that the link is attached to the interface in its file name.
pub(super) fn is_attached(path: &Path) -> bool {
    let Some((ifindex, _)) = link_name(path) else {
        return false;
    };
    let found = Link::from_pin(path).and_then(|link| link.ifindex());
    matches!(found, Ok(Some(found)) if found == ifindex)
}

/// Removes the directories of daemons that no longer run and whose interfaces no longer exist. That of this network
/// namespace stays: its interfaces may have been made anew while no daemon ran, and its sessions go on.
fn sweep(root: &Path, own: &Path) -> Result<(), PinsError> {
    for directory in entries(root)? {
        if directory == own {
            continue;
        }
        let Ok(_dead) = lock(&directory, FlockArg::LockExclusiveNonblock) else {
            continue;
        };
        if !entries(&directory)?.iter().any(|path| is_attached(path)) {
            remove_all(&directory)?;
        }
    }
    Ok(())
}

/// Detaches the program of a pinned link, and removes the pin. It is no error if the pin does not exist.
pub(super) fn detach(path: &Path) -> Result<(), PinsError> {
    if link_name(path).is_some()
        && let Ok(link) = Link::from_pin(path)
    {
        // The interface of the link may not exist any more.
        let _ = link.detach();
    }
    remove(path)
}

fn remove(path: &Path) -> Result<(), PinsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

fn remove_all(directory: &Path) -> Result<(), PinsError> {
    fs::remove_dir_all(directory).map_err(failed(directory))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, PinsError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(failed(directory))
}

/// Makes a directory that only root can use, or uses one that exists already.
fn private(directory: &Path) -> Result<(), PinsError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed(directory)(error));
        }
        _ => {}
    }
    let about = fs::symlink_metadata(directory).map_err(failed(directory))?;
    let ours = about.uid() == geteuid().as_raw() && about.mode() & 0o022 == 0;
    match about.is_dir() && ours {
        true => Ok(()),
        false => Err(PinsError::NotOurs(directory.to_owned())),
    }
}

fn lock(directory: &Path, how: FlockArg) -> Result<Flock<File>, PinsError> {
    let file = File::open(directory).map_err(failed(directory))?;
    Flock::lock(file, how).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => PinsError::Taken(directory.to_owned()),
        errno => failed(directory)(errno.into()),
    })
}

fn failed(path: &Path) -> impl Fn(io::Error) -> PinsError {
    move |error| PinsError::Io {
        path: path.to_owned(),
        error,
    }
}

/// The cookie of the network namespace of this process.
fn cookie() -> io::Result<u64> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of_val(&cookie)).map_err(io::Error::other)?;
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
