//! The lab: a network of namespaces on this machine, with the daemon at work in it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What `cargo xtask run` takes when it runs the lab.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Write what happened to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the packets to this file
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Leave the lab standing at the end, to look around in it
    #[arg(long)]
    pub keep: bool,
    /// Use an optimised daemon
    #[arg(long)]
    pub release: bool,
}

/// Runs the lab with this daemon, as root.
pub fn run(_options: Options, daemon: &Path) -> anyhow::Result<ExitCode> {
    anyhow::bail!(
        "the lab is not there yet; the daemon is {}",
        daemon.display()
    )
}
