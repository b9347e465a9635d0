//! The RPM package, by rpmbuild, with the same files as the Debian package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::process;

/// The tool, and the package of Debian that has it.
pub const TOOL: [&str; 2] = ["rpmbuild", "rpm"];

/// Makes the package of this daemon in `directory`, where man pages and completions are already.
pub fn make(daemon: &Path, directory: &Path, release: bool) -> Result<PathBuf> {
    let sources = crate::workspace();
    let work = directory.join("rpmbuild");
    let mut rpm = Command::new(TOOL[0]);
    rpm.args(["-bb", "--quiet"])
        .arg(sources.join("contrib/rpm/anycast.spec"));
    let mut define = |name: &str, value: &dyn std::fmt::Display| {
        rpm.arg("--define").arg(format!("{name} {value}"));
    };
    define("_topdir", &work.display());
    define("of_version", &version(env!("CARGO_PKG_VERSION")));
    define("sources", &sources.display());
    define("daemon", &daemon.display());
    define("made", &directory.display());
    if !release {
        // Compressing what is not optimised is most of the work.
        define("_binary_payload", &"w0.ufdio");
    }
    let made = process::capture_ok(&mut rpm, TOOL[0], Duration::from_secs(300)).and_then(|_| {
        let made = built(&work.join("RPMS"))?.context("rpmbuild made no package")?;
        let to = directory.join(made.file_name().context("a package without a name")?);
        fs::rename(made, &to)?;
        Ok(to)
    });
    let _ = fs::remove_dir_all(work);
    made
}

/// A version as rpm writes it: no `-` is in one, and what is behind `~` comes before the version without it.
fn version(of_cargo: &str) -> String {
    of_cargo.replace('-', "~")
}

/// The package, which is in a directory by the name of the processor.
fn built(packages: &Path) -> Result<Option<PathBuf>> {
    for directory in fs::read_dir(packages)? {
        if let Some(package) = fs::read_dir(directory?.path())?.next() {
            return Ok(Some(package?.path()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_comes_before_its_version() {
        for (of_cargo, of_rpm) in [("0.2.0", "0.2.0"), ("0.2.0-rc.1", "0.2.0~rc.1")] {
            assert_eq!(version(of_cargo), of_rpm);
        }
    }
}
