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

fn main() -> anyhow::Result<()> {
    common::parts(&[("core", &core::run), ("path", &path::run)])
}
