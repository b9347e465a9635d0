//! The command `fleet`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;

use super::ask::print;
use crate::shell::secret;

/// What about the fleet.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a secret for a fleet: a new file that root alone can read. All gateways get the same
    Secret {
        /// The file, which must not exist yet
        file: PathBuf,
    },
}

pub(super) fn run(command: Command) -> Result<()> {
    match command {
        Command::Secret { file } => make_secret(&file),
    }
}

fn make_secret(file: &Path) -> Result<()> {
    let secret = secret::create(file)?;
    let fingerprint = secret::fingerprint(&secret);
    print(&format!("{}: fingerprint {fingerprint}\n", file.display()))
}
