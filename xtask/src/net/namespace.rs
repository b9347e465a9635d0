//! Network namespaces, which are removed when the value that made them is dropped.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use super::pins;

/// Directory in which `ip netns` looks for namespaces.
pub const DIRECTORY: &str = "/run/netns";

/// A network namespace with a name that `ip netns exec` knows. Dropping it removes the name; the
/// kernel removes the namespace when the last process in it has gone.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes a namespace. The calling thread stays in its own.
    pub fn create(name: &str) -> Result<Self> {
        prepare_directory()?;
        let path = Path::new(DIRECTORY).join(name);
        File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let made = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET)
                    .context("cannot make a network namespace, which needs root (CAP_SYS_ADMIN)")?;
                mount(
                    Some("/proc/thread-self/ns/net"),
                    &path,
                    None::<&str>,
                    MsFlags::MS_BIND,
                    None::<&str>,
                )
                .with_context(|| format!("cannot mount {}", path.display()))?;
                File::open(&path).context("cannot open the namespace")
            });
            join(thread)?
        });
        match made {
            Ok(file) => Ok(Self {
                name: name.to_owned(),
                file,
            }),
            Err(error) => {
                remove(&path);
                Err(error)
            }
        }
    }

    /// Name of the namespace in [`DIRECTORY`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `body` in a thread that lives in the namespace.
    pub fn run<R: Send>(&self, body: impl FnOnce() -> Result<R> + Send) -> Result<R> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                body()
            });
            join(thread)?
        })
        .with_context(|| format!("in namespace {}", self.name))
    }

    /// Moves the calling thread into the namespace permanently.
    pub fn enter(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter namespace {}", self.name))
    }

    /// Directory in which daemons in this namespace pin what is to outlive them.
    pub fn pins(&self) -> Result<PathBuf> {
        self.run(pins::directory)
    }

    /// Names of what daemons have pinned for the namespace in the BPF file system.
    pub fn pinned(&self) -> Result<Vec<String>> {
        self.run(pins::list)
    }

    /// A command that will run in the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let namespace = self.file.as_raw_fd();
        let enter = move || {
            // SAFETY: the system call reads no memory of ours. The `Namespace` that owns the descriptor outlives the
            // start of the command; otherwise the call fails with EBADF.
            let result = unsafe { nix::libc::setns(namespace, nix::libc::CLONE_NEWNET) };
            Errno::result(result).map(drop).map_err(io::Error::from)
        };
        // SAFETY: the hook makes one system call and allocates nothing.
        unsafe { command.pre_exec(enter) };
        command
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&Path::new(DIRECTORY).join(&self.name));
    }
}

/// Removes the name of a namespace, and what daemons have pinned for it. Such pins would keep interfaces busy and maps
/// in memory. It is no error if something does not exist any more.
pub(super) fn remove(path: &Path) {
    if let Ok(file) = File::open(path) {
        let unpinned = thread::scope(|scope| {
            let thread = scope.spawn(|| match setns(&file, CloneFlags::CLONE_NEWNET) {
                Ok(()) => pins::remove(),
                // The namespace of this name was never mounted.
                Err(_) => Ok(()),
            });
            join(thread)?
        });
        if let Err(error) = unpinned {
            eprintln!("{}: pins may be left: {error:#}", path.display());
        }
    }
    let _ = umount2(path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(path);
}

/// Does what `ip netns add` does: it makes the directory a shared mount, so that a name which is made here can be
/// removed from another mount namespace.
fn prepare_directory() -> Result<()> {
    let directory = PathBuf::from(DIRECTORY);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {DIRECTORY}, which needs root"))?;
    let share = || {
        let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(None::<&str>, &directory, None::<&str>, flags, None::<&str>)
    };
    if share() == Err(Errno::EINVAL) {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(
            Some(&directory),
            &directory,
            None::<&str>,
            flags,
            None::<&str>,
        )
        .with_context(|| format!("cannot mount {DIRECTORY}"))?;
        share().with_context(|| format!("cannot share {DIRECTORY}"))?;
    }
    Ok(())
}

fn join<R>(thread: thread::ScopedJoinHandle<'_, R>) -> Result<R> {
    thread.join().map_err(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        anyhow!("a thread panicked: {}", message.unwrap_or_default())
    })
}
