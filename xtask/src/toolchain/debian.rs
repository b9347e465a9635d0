//! Gets Debian's `rust-src` package, for machines that can reach a Debian mirror but not rustup's server.
//!
//! apt itself downloads and verifies the package, with lists and caches of its own, so that neither the package sources
//! nor the installed packages of the machine change. The package cannot be installed beside rustup, and only its files
//! are needed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::suite::{Suite, Verified, mirrors};
use crate::process::{self, say};

/// Debian suites with current compilers, the most likely one first.
const SUITES: [&str; 4] = ["trixie-backports", "forky", "forky-backports", "sid"];

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
            let apt = Suite::new(work, mirror, suite, Verified::Signature)?;
            say(format_args!("looking for rust-src {release} in {suite}"));
            if let Err(error) = apt.update() {
                say(format_args!("{error:#}"));
                continue;
            }
            let versions = apt.versions("rust-src")?;
            if let Some(version) = versions.iter().find(|it| upstream(it) == release) {
                say(format_args!(
                    "downloading Debian's rust-src {version}, 45 MB"
                ));
                return apt.download("rust-src", version);
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
