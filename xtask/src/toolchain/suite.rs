//! One suite of an archive of Debian packages, as apt sees it when it sees nothing else: packages are downloaded and
//! verified by apt, and neither the sources nor the packages of this machine change.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::process;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LIMIT: Duration = Duration::from_secs(300);

/// The Debian mirrors that this machine uses already.
pub(crate) fn mirrors() -> Result<Vec<String>> {
    let mut command = Command::new("apt-get");
    command.args([
        "indextargets",
        "--format",
        "$(LABEL)\t$(REPO_URI)",
        "Created-By: Packages",
    ]);
    let text = process::capture_ok(&mut command, "apt-get indextargets", LIMIT)?;
    let mut mirrors: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(label, _)| *label == "Debian")
        .map(|(_, uri)| uri.to_owned())
        .collect();
    mirrors.sort();
    mirrors.dedup();
    Ok(mirrors)
}

/// By what it is known that a package is the right one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verified {
    /// apt, by Debian's signature.
    Signature,
    /// Who downloads it, by a sum, since the keys of the archive are not on this machine.
    Sum,
}

/// A suite of an archive, with lists and caches of its own in a folder.
pub(crate) struct Suite {
    work: PathBuf,
    options: Vec<String>,
    /// apt itself locks nothing here, and one that reads lists which another is writing finds no package.
    _lock: Flock<File>,
}

impl Suite {
    /// Its lists are still to be read, see [`Suite::update`]. Waits until no other process is at this folder.
    pub(crate) fn new(work: &Path, mirror: &str, suite: &str, by: Verified) -> Result<Self> {
        let lists = work.join(suite);
        fs::create_dir_all(lists.join("partial"))?;
        fs::create_dir_all(work.join("cache/archives/partial"))?;
        let lock = File::create(work.join("lock"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        let source = work.join(format!("{suite}.list"));
        let signed = match by {
            Verified::Signature if Path::new(KEYRING).is_file() => format!("signed-by={KEYRING} "),
            Verified::Signature => String::new(),
            Verified::Sum => "trusted=yes ".to_owned(),
        };
        fs::write(
            &source,
            format!("deb [{signed}target=Packages] {mirror} {suite} main\n"),
        )?;
        let options = [
            format!("Dir::Etc::SourceList={}", source.display()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}", lists.display()),
            format!("Dir::Cache={}", work.join("cache").display()),
            // The directories belong to the user, and apt need not be root for them.
            "APT::Sandbox::User=".to_owned(),
            "Debug::NoLocking=1".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=2".to_owned(),
        ];
        Ok(Self {
            work: work.to_path_buf(),
            options: options.iter().map(|o| format!("-o{o}")).collect(),
            _lock: lock,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).current_dir(&self.work);
        command
    }

    /// Reads what the suite has.
    pub(crate) fn update(&self) -> Result<()> {
        let mut update = self.command("apt-get");
        update.arg("--error-on=any").arg("update");
        process::capture_ok(&mut update, "apt-get update", LIMIT).map(drop)
    }

    /// The versions of a package, the newest first.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let mut madison = self.command("apt-cache");
        madison.args(["madison", package]);
        let text = process::capture_ok(&mut madison, "apt-cache madison", LIMIT)?;
        let versions = text.lines().filter_map(|line| line.split('|').nth(1));
        Ok(versions.map(|version| version.trim().to_owned()).collect())
    }

    /// Downloads a package and gives its path.
    pub(crate) fn download(&self, package: &str, version: &str) -> Result<PathBuf> {
        let mut download = self.command("apt-get");
        download.args(["download", &format!("{package}={version}")]);
        process::capture_ok(&mut download, "apt-get download", LIMIT)?;
        // apt escapes the colon of an epoch in the name, so the name is looked for by its start.
        let start = format!("{package}_");
        fs::read_dir(&self.work)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(&start) && name.ends_with(".deb")
            })
            .with_context(|| format!("apt-get download left no package {package}"))
    }
}
