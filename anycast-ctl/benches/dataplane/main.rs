//! What XDP takes for a packet, beside programs in C that do the same and nothing else.
//!
//! `cargo xtask bench dataplane`, with `-- --json FILE` and `-- --svg FILE` to keep what came of it.
//! Needs root and clang. How to read it is in `docs/performance.md`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

mod anchors;
#[path = "../common/c.rs"]
mod c;
mod cases;
mod chart;
mod report;
mod run;

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared with other measurements")]
mod common;

#[path = "../../tests/verdicts/packets.rs"]
#[allow(dead_code, reason = "shared with the verdict tables")]
mod packets;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Measures the programs of the data plane.
#[derive(Parser)]
struct Options {
    /// Every case is run so many times, in turn with the others.
    #[arg(long, default_value_t = 31)]
    rounds: usize,
    /// Measures the cases whose name holds this, and those that they are compared with.
    #[arg(long)]
    only: Option<String>,
    /// Writes the figures there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes a chart there.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// cargo adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let gateway = cases::Gateway::new()?;
    let figures = gateway.run(|| {
        // The programs' log is read by a task of it.
        let _guard = runtime.enter();
        let mut cases = cases::all(&gateway)?;
        if let Some(word) = &options.only {
            cases.retain(|case| case.is_anchor() || case.name.contains(word));
        }
        run::measure(&mut cases, options.rounds)
    })?;
    let rows = report::rows(&figures)?;
    report::print(&rows);
    if let Some(path) = &options.json {
        report::write(path, &rows)?;
    }
    if let Some(path) = &options.svg {
        chart::write(path, &rows)?;
    }
    Ok(())
}
