//! The command `run`: sets up logging and the runtime, and runs the daemon.

use std::path::Path;

use anyhow::{Context, Result};

use super::log::{self, LogFormat};
use crate::{config::running::Running, shell};

pub(super) fn run(
    file: &Path,
    socket: Option<&Path>,
    format: LogFormat,
    verbose: bool,
) -> Result<()> {
    shell::descriptors::provide()?;
    let (config, running) = Running::load(file)?;
    log::start(format, verbose)?;
    let paths = shell::Paths {
        config: file.to_owned(),
        socket: socket.map(Path::to_owned),
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(shell::run(
            config,
            running,
            &paths,
            shell::dataplane::OBJECT,
        ))?;
    Ok(())
}
