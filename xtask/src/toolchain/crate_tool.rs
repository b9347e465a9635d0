//! Tools that are programs on crates.io, found or built into the directory of this project's tools.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::{cargo, may_install, tools_directory};
use crate::process::{self, say};

/// The path of a tool, if it is there.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let own = tools_directory()?.join(name).join("bin").join(name);
    process::find(name).or_else(|| own.is_file().then_some(own))
}

/// The path of a tool, of which this version is built where it is not there. `arguments` are more arguments of `cargo
/// install`.
pub fn require(name: &str, version: &str, arguments: &[&str]) -> Result<PathBuf> {
    if let Some(found) = find(name) {
        return Ok(found);
    }
    if !may_install() {
        bail!("{name} is missing, and ANYCAST_NO_INSTALL forbids to install it");
    }
    let root = tools_directory()
        .context("there is no place for tools")?
        .join(name);
    say(format_args!(
        "building {name} {version} into {}; this takes some minutes",
        root.display()
    ));
    let mut install = cargo();
    install.args(["install", name, "--version", version, "--locked"]);
    install.args(arguments);
    // They run for moments: what is not optimised is there sooner.
    install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    process::show(
        install.arg("--root").arg(&root),
        &format!("building {name}"),
    )?;
    find(name).with_context(|| format!("{name} was built and is not there"))
}
