//! The command `run`: sets up logging and the runtime, and runs the daemon.

use std::{io::IsTerminal, path::Path};

use anyhow::{Context, Result};
use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

use crate::{config, shell};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

pub(super) fn run(file: &Path, socket: Option<&Path>, format: LogFormat) -> Result<()> {
    let config = config::load(file)?;
    log_to_stderr(format)?;
    let paths = shell::Paths {
        config: file.to_owned(),
        socket: socket.map(Path::to_owned),
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(shell::run(config, &paths, shell::dataplane::OBJECT))?;
    Ok(())
}

fn log_to_stderr(format: LogFormat) -> Result<()> {
    let filter = EnvFilter::builder()
        .with_env_var("ANYCAST_LOG")
        .with_default_directive(tracing::Level::INFO.into())
        .from_env()
        .context("ANYCAST_LOG is not a filter such as info or anycast=debug")?;
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
