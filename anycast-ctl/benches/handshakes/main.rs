//! Binding handshakes: how many the machines of both ends do alone, and how many between two
//! daemons.
//!
//! `cargo xtask bench handshakes`, with `-- core`, `-- answers`, `-- path`, `-- flood` or `-- steady` for one part.
//! All but the first need root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

mod answers;
mod core;
mod ends;
mod flood;
mod path;
mod report;
mod steady;

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
        ("flood", &flood::run),
        ("steady", &steady::run),
    ])?;
    report::write()
}
