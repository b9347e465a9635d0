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
mod path;

#[path = "../common/mod.rs"]
mod common;

use std::net::Ipv6Addr;

/// The anycast address.
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
/// The member's own.
const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
/// The clients.
const CLIENTS: &str = "2001:db8:1::/64";

fn main() -> anyhow::Result<()> {
    common::parts(&[("core", &core::run), ("path", &path::run)])
}

/// A client, A.
fn client(number: usize) -> Ipv6Addr {
    let base = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 1, 0, 0);
    Ipv6Addr::from_bits(base.to_bits() | number as u128)
}
