//! The command `cargo xtask run`: runs the lab, or the daemon on this machine.

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{build, lab, privilege::Root, probe};

/// Builds the daemon and runs the lab with it.
pub fn lab(options: lab::Options) -> Result<ExitCode> {
    // This is checked before the build, so that the user does not wait for a build that turns out to be useless.
    let root = Root::find();
    if let Some(refusal) = root.refusal() {
        bail!("{refusal}: the lab makes network namespaces and loads BPF programs");
    }
    let built = build::build(options.release)?;
    if root == Root::Here {
        return lab_as_root(options, built.daemon);
    }
    // The build runs as the user and the lab as root, so the rest runs in a second xtask process.
    let mut again = root.command(std::env::current_exe()?)?;
    again.arg("lab-as-root").arg(built.daemon);
    let flags: [(&str, Option<PathBuf>); 2] = [("--json", options.json), ("--pcap", options.pcap)];
    for (flag, path) in flags {
        if let Some(path) = path {
            again.arg(flag).arg(path);
        }
    }
    if options.keep {
        again.arg("--keep");
    }
    Err(again.exec()).context("cannot run sudo")
}

/// Runs the part of [`lab`] that needs root.
pub fn lab_as_root(options: lab::Options, daemon: PathBuf) -> Result<ExitCode> {
    if let Err(reason) = probe::kernel() {
        bail!("{reason}");
    }
    lab::run(options, &daemon)
}

/// Builds the daemon, and replaces this process by it, with these arguments.
pub fn daemon(arguments: Vec<OsString>, release: bool) -> Result<ExitCode> {
    let root = Root::find();
    if let Some(refusal) = root.refusal() {
        bail!("{refusal}: the daemon loads BPF programs and sends raw packets");
    }
    let built = build::build(release)?;
    let mut command = root.command(built.daemon)?;
    Err(command.args(arguments).exec()).context("cannot run anycast-ctl")
}
