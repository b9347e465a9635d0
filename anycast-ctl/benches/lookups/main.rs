//! What it takes to find one of a million bindings or four million flows, beside plain hash maps of
//! the same size; and the memory of an entry.
//!
//! `cargo xtask bench lookups`, with `-- --json FILE` to keep what came of it. Needs root and clang.
//! How to read it is in `docs/performance.md`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

#[path = "../common/c.rs"]
mod c;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared with other measurements")]
mod common;
mod tables;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde::Serialize;
use xtask::net::bpffs;

use tables::{Kind, Sources, Table, Walk};

/// Measures lookups in large maps.
#[derive(Parser)]
struct Options {
    /// Every map is measured so many times, in turn with the others.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Powers of two: so many bindings, and so many flows.
    #[arg(long, default_values_t = [20, 22], num_args = 2)]
    sizes: Vec<u32>,
    /// Writes the figures there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// cargo adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    entries: u64,
    /// Nanoseconds of a lookup: median, and quartiles; without what makes the key.
    median: f64,
    quartiles: [f64; 2],
    /// To a plain hash map of the same size, median of the rounds.
    to_hash: f64,
    /// Octets of memory for each entry that it can have.
    memory: f64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    // What is pinned is for bpftool to fill, and for nobody else.
    bpffs::private()?;
    let sources = Sources::new()?;
    let mut rows = Vec::new();
    for (kind, size) in [Kind::Binding, Kind::Flow].into_iter().zip(&options.sizes) {
        rows.extend(measure(&sources, kind, 1 << size, options.rounds)?);
    }
    println!(
        "{:18} {:>9} {:>8} {:>13} {:>7} {:>13}",
        "", "entries", "ns", "quartiles", "x hash", "octets each"
    );
    for row in &rows {
        let [low, high] = row.quartiles;
        println!(
            "{:18} {:>9} {:8.0} {:>13} {:7.2} {:13.0}",
            row.name,
            row.entries,
            row.median,
            format!("{low:.0}..{high:.0}"),
            row.to_hash,
            row.memory,
        );
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A plain map and ours, of so many entries.
fn measure(sources: &Sources, kind: Kind, entries: u64, rounds: usize) -> Result<Vec<Row>> {
    let plain = Table::plain(sources, kind, entries)?;
    let ours = Table::ours(sources, kind, entries)?;
    let mut keys = Walk::keys(sources, kind, entries)?;
    let mut walks = [
        (kind.plain(), plain.walk(sources)?, plain.memory()?),
        (kind.ours(), ours.walk(sources)?, ours.memory()?),
    ];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let key = keys.run()?;
        for ((_, walk, _), times) in walks.iter_mut().zip(&mut times) {
            times.push(walk.run()? - key);
        }
    }
    let ratios = times[1]
        .iter()
        .zip(&times[0])
        .map(|(own, plain)| own / plain);
    let ratio = common::median(ratios.collect());
    let mut rows = Vec::new();
    for (((name, walk, memory), mut times), to_hash) in
        walks.into_iter().zip(times).zip([1.0, ratio])
    {
        // An LRU map may have evicted a few although there was room.
        let missed = walk.missed()?;
        ensure!(
            missed < 0.001,
            "{name}: {missed:.4} of the keys are missing"
        );
        times.sort_by(f64::total_cmp);
        rows.push(Row {
            name,
            entries,
            median: times[times.len() / 2],
            quartiles: [times[times.len() / 4], times[times.len() * 3 / 4]],
            to_hash,
            memory,
        });
    }
    Ok(rows)
}
