//! Gets Debian's `rust-src` package, for machines that can reach a Debian mirror but not rustup's server.
//!
//! apt itself downloads and verifies the package, with lists and caches of its own, so that neither the package sources
//! nor the installed packages of the machine change. The package cannot be installed beside rustup, and only its files
//! are needed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::{self, say};

/// Debian suites with current compilers, the most likely one first.
const SUITES: [&str; 4] = ["trixie-backports", "forky", "forky-backports", "sid"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LIMIT: Duration = Duration::from_secs(300);

/// Downloads the package for this version of Rust into the directory `work`, and gives its path.
pub(super) fn fetch_rust_src(release: &str, work: &Path) -> Result<PathBuf> {
    ensure!(
        process::find("apt-get").is_some() && process::find("dpkg-deb").is_some(),
        "this is not a Debian system"
    );
    let mirrors = mirrors()?;
    ensure!(
        !mirrors.is_empty(),
        "no Debian mirror among the sources of apt"
    );
    for mirror in &mirrors {
        for suite in SUITES {
            let apt = Apt::new(work, mirror, suite)?;
            say(format_args!("looking for rust-src {release} in {suite}"));
            if let Err(error) = apt.update() {
                say(format_args!("{error:#}"));
                continue;
            }
            if let Some(version) = apt.version(release)? {
                return apt.download(&version);
            }
        }
    }
    bail!("no suite has rust-src {release}")
}

/// Extracts the directory `library` from the package, without installing the package.
pub(super) fn extract_library(package: &Path, release: &str, into: &Path) -> Result<()> {
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    fs::create_dir_all(into)?;
    say(format_args!("extracting its library folder"));
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run dpkg-deb")?;
    let tar = unpack.stdout.take().context("dpkg-deb has no output")?;
    let root = format!("./usr/src/rustc-{release}/library");
    let status = Command::new("tar")
        .args(["--extract", "--no-same-owner", "--strip-components=5"])
        .arg("--directory")
        .arg(into)
        .arg(&root)
        .stdin(tar)
        .status()
        .context("cannot run tar")?;
    let unpacked = unpack.wait()?;
    ensure!(
        status.success() && unpacked.success(),
        "{} has no {root}",
        package.display()
    );
    Ok(())
}

/// The Debian mirrors that this machine uses already.
fn mirrors() -> Result<Vec<String>> {
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

/// One suite of one mirror, in an apt configuration that knows nothing else.
struct Apt {
    work: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(work: &Path, mirror: &str, suite: &str) -> Result<Self> {
        let lists = work.join(suite);
        fs::create_dir_all(lists.join("partial"))?;
        fs::create_dir_all(work.join("cache/archives/partial"))?;
        let source = work.join("source.list");
        let signed = if Path::new(KEYRING).is_file() {
            format!("signed-by={KEYRING} ")
        } else {
            String::new()
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
            // The directories belong to the user, and apt needs no root privileges for them.
            "APT::Sandbox::User=".to_owned(),
            "Debug::NoLocking=1".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=2".to_owned(),
        ];
        Ok(Self {
            work: work.to_path_buf(),
            options: options.iter().map(|o| format!("-o{o}")).collect(),
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).current_dir(&self.work);
        command
    }

    fn update(&self) -> Result<()> {
        let mut update = self.command("apt-get");
        update.arg("--error-on=any").arg("update");
        process::capture_ok(&mut update, "apt-get update", LIMIT).map(drop)
    }

    /// The newest Debian version of this Rust release.
    fn version(&self, release: &str) -> Result<Option<String>> {
        let mut madison = self.command("apt-cache");
        madison.args(["madison", "rust-src"]);
        let text = process::capture_ok(&mut madison, "apt-cache madison", LIMIT)?;
        Ok(text
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(str::trim)
            .find(|version| upstream(version) == release)
            .map(str::to_owned))
    }

    fn download(&self, version: &str) -> Result<PathBuf> {
        say(format_args!(
            "downloading Debian's rust-src {version}, 45 MB"
        ));
        let mut download = self.command("apt-get");
        download.args(["download", &format!("rust-src={version}")]);
        process::capture_ok(&mut download, "apt-get download", LIMIT)?;
        fs::read_dir(&self.work)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|e| e == "deb"))
            .context("apt-get download left no package")
    }
}

/// The Rust release of a Debian version: `1.95.0` for `1.95.0+dfsg1-2~bpo13+1`. For a beta this gives something that is
/// no name of a release.
fn upstream(version: &str) -> &str {
    version.split(['+', '-']).next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    #[test]
    fn upstream_version_is_what_rustc_says() {
        assert_eq!(super::upstream("1.95.0+dfsg1-2~bpo13+1"), "1.95.0");
        assert_eq!(super::upstream("1.95.0-1"), "1.95.0");
        assert_ne!(super::upstream("1.95.0~beta.3+dfsg1-1"), "1.95.0");
    }
}
