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
mod bed;
#[path = "../common/c.rs"]
mod c;
mod cases;
mod chart;
mod constants;
mod cpus;
mod flows;
mod gateway;
mod report;
mod run;

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared with other measurements")]
mod common;

#[path = "../../tests/verdicts/packets.rs"]
#[allow(dead_code, reason = "shared with the verdict tables")]
mod packets;

use std::{fs, path::PathBuf};

use anycast_ctl::shell::dataplane::OBJECT;
use anyhow::{Context as _, Result};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use bed::Build;

/// Files that are open at a time.
const FILES: u64 = 1 << 16;

/// Measures the programs of the data plane.
#[derive(Parser)]
struct Options {
    /// Every case is run so many times, in turn with the others.
    #[arg(long, default_value_t = 31)]
    rounds: usize,
    /// Measures the cases whose name holds this, and those that they are compared with.
    #[arg(long)]
    only: Option<String>,
    /// An object of programs with the same maps, of an earlier build: measured in turn with ours, which are compared
    /// with it.
    #[arg(long, value_name = "OBJECT")]
    baseline: Option<PathBuf>,
    /// Writes the figures there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Compiles the programs in C, leaves their object there, and does nothing else.
    #[arg(long, value_name = "FILE")]
    compile: Option<PathBuf>,
    /// Takes the programs in C from there, where no compiler is.
    #[arg(long, value_name = "OBJECT")]
    anchors: Option<PathBuf>,
    /// So few packets that they can be interpreted, and each row as JSON in a line that begins with this. On a machine
    /// whose clock counts instructions, times are numbers of instructions: `cargo xtask bench instructions`.
    #[arg(long, value_name = "MARK")]
    count: Option<String>,
    /// Writes a chart there.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// cargo adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(path) = &options.compile {
        return anchors::Object::build()?.write(path);
    }
    let pace = match &options.count {
        Some(_) => run::COUNTED,
        None => run::TIMED,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let baseline = options.baseline.as_ref().map(read).transpose()?;
    let mut builds = vec![(Build::Ours, OBJECT)];
    builds.extend(
        baseline
            .iter()
            .map(|object| (Build::Baseline, object.as_slice())),
    );
    // Each case has all maps and programs of its own. Not everybody may raise the limit that there is at most.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES.max(most)).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    }
    let gateway = gateway::Gateway::new()?;
    let (figures, scaling) = gateway.run(|| {
        // The programs' log is read by a task of it.
        let _guard = runtime.enter();
        let anchors = match &options.anchors {
            Some(path) => anchors::Object::read(path)?,
            None => anchors::Object::build()?,
        };
        let mut cases = cases::all(&gateway, &builds, &anchors)?;
        if let Some(word) = &options.only {
            cases.retain(|case| case.build == Build::Anchor || case.name.contains(word));
        }
        let figures = run::measure(&mut cases, options.rounds, pace)?;
        drop(cases);
        if options.count.is_some() {
            return Ok((figures, Vec::new()));
        }
        let mut pairs = cases::pairs(&gateway, &anchors)?;
        if let Some(word) = &options.only {
            pairs.retain(|pair| pair.name.contains(word));
        }
        Ok((figures, cpus::measure(&mut pairs, options.rounds)?))
    })?;
    let rows = report::rows(&figures)?;
    if let Some(mark) = &options.count {
        for row in &rows {
            println!("{mark}{}", serde_json::to_string(row)?);
        }
        return Ok(());
    }
    report::print(&rows);
    for row in &scaling {
        println!("{row}");
    }
    if let Some(path) = &options.json {
        report::write(path, &rows, &scaling)?;
    }
    if let Some(path) = &options.svg {
        chart::write(path, &rows)?;
    }
    Ok(())
}

fn read(path: &PathBuf) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
