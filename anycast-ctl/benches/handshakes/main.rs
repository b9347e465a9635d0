//! Binding handshakes: how many the machines of both ends do alone, and how many between two
//! daemons.
//!
//! `cargo xtask bench handshakes`, with `-- core`, `-- answers` or `-- path` for one part. The last two need root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

mod answers;
mod core;
mod ends;
mod path;
mod report;

#[path = "../common/c.rs"]
mod c;
#[path = "../common/mod.rs"]
mod common;
#[path = "../dataplane/constants.rs"]
#[allow(dead_code, reason = "shared with the times of the data plane")]
mod constants;
#[path = "../dataplane/gateway.rs"]
mod gateway;
#[path = "../../tests/verdicts/packets.rs"]
#[allow(dead_code, reason = "shared with the verdict tables")]
mod packets;

fn main() -> anyhow::Result<()> {
    common::parts(&[
        ("core", &core::run),
        ("answers", &answers::run),
        ("path", &path::run),
    ])?;
    report::write()
}
