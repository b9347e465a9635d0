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

#[path = "../common/mod.rs"]
mod common;

/// Pairs of a group and a member.
const PAIRS: usize = 100_000;
/// How they are spread: groups, members of each.
const SHAPES: [(usize, usize); 3] = [(PAIRS, 1), (1000, 100), (10, PAIRS / 10)];

fn main() -> anyhow::Result<()> {
    common::parts(&[("core", &core::run), ("path", &path::run)])
}
