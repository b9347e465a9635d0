//! The list of everything that the daemon is made of (SBOM), in the format of CycloneDX, by cargo-cyclonedx.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::process;

/// The tool.
pub const TOOL: &str = "cargo-cyclonedx";
/// The version that is built where there is none.
pub const VERSION: &str = "0.5.9";
/// What it calls its file beside each `Cargo.toml`, without the `.json` at the end.
const NAME: &str = "anycast.cdx";

/// Makes the list in `directory`.
pub fn make(tool: &Path, directory: &Path) -> Result<PathBuf> {
    let crates = crate::workspace();
    let mut sbom = Command::new(tool);
    sbom.current_dir(&crates);
    sbom.args(["cyclonedx", "--format", "json"]);
    sbom.args([
        "--manifest-path",
        "anycast-ctl/Cargo.toml",
        "--override-filename",
        NAME,
    ]);
    process::capture_ok(&mut sbom, TOOL, Duration::from_secs(120))?;
    let made = format!("{NAME}.json");
    let path = directory.join(&made);
    // It writes one for each crate of the workspace.
    for name in ["anycast-common", "anycast-ctl", "anycast-ebpf", "xtask"] {
        let file = crates.join(name).join(&made);
        if name == "anycast-ctl" {
            let list = fs::read_to_string(&file).context("cargo-cyclonedx made no list")?;
            // Where the sources were is nobody's business, and differs from machine to machine.
            let here = crates.display().to_string();
            fs::write(&path, list.replace(&here, ""))?;
        }
        let _ = fs::remove_file(file);
    }
    Ok(path)
}
