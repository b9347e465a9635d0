//! Programs in C that ours are measured against.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

/// The BPF object of a source, which is left at `object`.
pub fn compile(source: &str, object: &str, options: &[&str]) -> Result<Vec<u8>> {
    let status = Command::new("clang")
        .args([
            "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror",
        ])
        .args(options)
        .args(["-c", source, "-o", object])
        .status()
        .context("cannot run clang, which compiles what is measured against: install it")?;
    ensure!(status.success(), "clang does not compile {source}");
    Ok(fs::read(object)?)
}
