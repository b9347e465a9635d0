//! A router with 100,000 (group, member) pairs: what its core takes, and what the whole way from
//! the wire to the kernel's routes takes.
//!
//! `cargo xtask bench scale`, with `-- core` or `-- path` for one part. The second needs root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

mod core;
mod hosts;
mod memory;
mod path;

use std::{env, time::Duration};

/// Pairs of a group and a member.
const PAIRS: usize = 100_000;
/// How they are spread: groups, members of each.
const SHAPES: [(usize, usize); 3] = [(PAIRS, 1), (1000, 100), (10, PAIRS / 10)];

fn main() -> anyhow::Result<()> {
    // cargo adds `--bench`.
    let wanted: Vec<_> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    if wants("core") {
        core::run();
    }
    if wants("path") {
        path::run()?;
    }
    Ok(())
}

/// So many a second, in thousands.
fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64() / 1e3
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}
