//! A fleet, in virtual time (`core`): what a Binding Update of another gateway costs, what a triple takes, a snapshot,
//! and a reading of flows. And over a real bus, between daemons: Binding Updates (`updates`) and a snapshot
//! (`snapshot`).
//!
//! `cargo xtask bench fleet`, with `-- core` and so on for one part. The bus needs root and nats-server.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may abort, and shares parts with others"
)]

mod bed;
mod gateways;
mod parts;
mod snapshot;
mod updates;
mod virtual_time;

#[path = "../common/mod.rs"]
mod common;
#[path = "../handshakes/ends.rs"]
mod ends;
#[path = "../handshakes/core.rs"]
mod machines;
#[path = "../scale/memory.rs"]
mod memory;
#[path = "../handshakes/report.rs"]
#[allow(dead_code, reason = "shared with the measurement of handshakes")]
mod report;

fn main() -> anyhow::Result<()> {
    common::parts(&[
        ("core", &virtual_time::run),
        ("updates", &updates::run),
        ("snapshot", &snapshot::run),
    ])
}
