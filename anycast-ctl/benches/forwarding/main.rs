//! Packets a second from one veth to another: the kernel, nftables, a program in C, and ours.
//!
//! `cargo xtask bench forwarding`, with `-- --json FILE` to keep what came of it. Needs root, clang
//! and nft. How to read it is in `docs/performance.md`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

#[path = "../common/c.rs"]
mod c;
mod live;
mod road;

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared with other measurements")]
mod common;

#[path = "../../tests/verdicts/packets.rs"]
#[allow(dead_code, reason = "shared with the verdict tables")]
mod packets;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use serde::Serialize;

use road::{Mode, Road};

/// Measures forwarding between two veths.
#[derive(Parser)]
struct Options {
    /// Every way is measured so many times, in turn with the others.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    span: u64,
    /// Writes the figures there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// cargo adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One way of forwarding.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    flows: u16,
    /// Packets a second: median, and quartiles.
    median: f64,
    quartiles: [f64; 2],
    /// To nftables with as many flows, median of the rounds.
    to_nft: f64,
    /// To the program in C that knows its next hop, likewise.
    to_known: f64,
}

const FLOWS: [u16; 2] = [1, 4096];

fn main() -> Result<()> {
    let options = Options::parse();
    let road = Road::new()?;
    let span = Duration::from_millis(options.span);
    let cases: Vec<_> = FLOWS
        .iter()
        .flat_map(|flows| Mode::ALL.map(|mode| (mode, *flows)))
        .collect();
    let mut rates = vec![Vec::new(); cases.len()];
    for _ in 0..options.rounds {
        for ((mode, flows), rates) in cases.iter().zip(&mut rates) {
            let rate = road.measure(*mode, *flows, span);
            rates.push(rate.with_context(|| format!("{}, {flows} flows", mode.name()))?);
        }
    }
    let rows = rows(&cases, &rates);
    println!(
        "{:26} {:>6} {:>10} {:>17} {:>9} {:>9}",
        "", "flows", "packets/s", "quartiles", "x nft", "x C"
    );
    for row in &rows {
        let [low, high] = row.quartiles.map(|rate| rate / 1e3);
        println!(
            "{:26} {:>6} {:>9.0}k {:>17} {:>9.2} {:>9.2}",
            row.name,
            row.flows,
            row.median / 1e3,
            format!("{low:.0}k..{high:.0}k"),
            row.to_nft,
            row.to_known,
        );
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn rows(cases: &[(Mode, u16)], rates: &[Vec<f64>]) -> Vec<Row> {
    let row = |((mode, flows), own): (&(Mode, u16), &Vec<f64>)| {
        let to = |other: Mode| {
            let other = cases.iter().position(|case| *case == (other, *flows));
            let ratios = own.iter().zip(&rates[other.unwrap()]);
            common::median(ratios.map(|(own, other)| own / other).collect())
        };
        let mut sorted = own.clone();
        sorted.sort_by(f64::total_cmp);
        Row {
            name: mode.name(),
            flows: *flows,
            median: sorted[sorted.len() / 2],
            quartiles: [sorted[sorted.len() / 4], sorted[sorted.len() * 3 / 4]],
            to_nft: to(Mode::Nft),
            to_known: to(Mode::C),
        }
    };
    cases.iter().zip(rates).map(row).collect()
}
