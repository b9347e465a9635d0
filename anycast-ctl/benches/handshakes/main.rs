//! Binding handshakes: how many the machines of both ends do alone, and how many between two
//! daemons.
//!
//! `cargo xtask bench handshakes`, with `-- core` or `-- path` for one part. The second needs root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

mod core;
mod ends;
mod path;

#[path = "../common/mod.rs"]
mod common;

fn main() -> anyhow::Result<()> {
    common::parts(&[("core", &core::run), ("path", &path::run)])
}
