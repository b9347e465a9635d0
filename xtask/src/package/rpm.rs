//! The RPM package, by cargo-generate-rpm, with the same files as the Debian package.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::process;

/// The tool.
pub const TOOL: &str = "cargo-generate-rpm";
/// The version that is built where there is none.
pub const VERSION: &str = "0.21.1";

/// Makes the package in `directory`, where man pages and completions are already. `profile` is that of the daemon.
pub fn make(tool: &Path, directory: &Path, profile: &str) -> Result<PathBuf> {
    let mut rpm = Command::new(tool);
    rpm.current_dir(crate::workspace());
    rpm.args([
        "generate-rpm",
        "--package",
        "anycast-ctl",
        "--profile",
        profile,
        "--output",
    ]);
    rpm.arg(directory);
    if profile == "dev" {
        // Compressing what is not optimised is most of the work.
        rpm.args(["--payload-compress", "none"]);
    }
    process::capture_ok(&mut rpm, TOOL, Duration::from_secs(300))?;
    let made = std::fs::read_dir(directory)?
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    made.filter(|path| path.extension().is_some_and(|end| end == "rpm"))
        .max_by_key(|path| path.metadata().and_then(|file| file.modified()).ok())
        .context("cargo-generate-rpm made no package")
}
