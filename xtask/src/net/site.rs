//! The resources of one run on this machine: a prefix for the names of its namespaces, and a private directory. Both
//! are removed afterwards, also when the run was killed.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::namespace::{self, Namespace};

const DIRECTORY: &str = "/run/anycast-lab";
const MOST: u32 = 64;

/// A prefix such as `acl1`, unique on this machine, and a directory that only its owner can read.
///
/// A lock on a file of the directory shows that the owner is alive. The kernel releases the lock when the owner dies
/// for any reason, and the next run then removes what the owner left.
#[derive(Debug)]
pub struct Site {
    prefix: String,
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Site {
    /// Takes a free prefix, after it has removed what dead runs have left.
    pub fn claim(stem: &str) -> Result<Self> {
        fs::create_dir_all(DIRECTORY)
            .with_context(|| format!("cannot make {DIRECTORY}, which needs root"))?;
        let one_at_a_time = File::create(Path::new(DIRECTORY).join("lock"))?;
        let _one_at_a_time =
            Flock::lock(one_at_a_time, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        sweep()?;
        for number in 1..=MOST {
            let prefix = format!("{stem}{number}");
            let directory = Path::new(DIRECTORY).join(&prefix);
            if directory.exists() || !namespaces(&prefix)?.is_empty() {
                continue;
            }
            DirBuilder::new().mode(0o700).create(&directory)?;
            let lock = File::create(directory.join("lock"))?;
            let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
                .map_err(|(_, error)| error)
                .context("cannot lock a new directory")?;
            return Ok(Self {
                prefix,
                directory,
                _lock: lock,
            });
        }
        bail!("{MOST} labs run already: see {DIRECTORY}")
    }

    /// The prefix of the name of every namespace.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The directory for sockets and logs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes a namespace of this run.
    pub fn namespace(&self, name: &str) -> Result<Namespace> {
        Namespace::create(&format!("{}-{name}", self.prefix))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes the resources of runs whose process has ended.
fn sweep() -> Result<()> {
    for entry in fs::read_dir(DIRECTORY)? {
        let directory = entry?.path();
        let Ok(lock) = File::create(directory.join("lock")) else {
            continue; // Not a directory.
        };
        match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(_dead) => {
                let prefix = directory.file_name().unwrap_or_default().to_string_lossy();
                for path in namespaces(&prefix)? {
                    namespace::remove(&path);
                }
                fs::remove_dir_all(&directory)?;
            }
            Err((_, Errno::EWOULDBLOCK)) => {}
            Err((_, error)) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Paths of the namespaces that have this prefix.
fn namespaces(prefix: &str) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(namespace::DIRECTORY) else {
        return Ok(Vec::new()); // No namespace was ever made.
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if rest.is_some_and(|rest| rest.starts_with('-')) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
