//! The command `cargo xtask clippy-bpf`: runs clippy on the kernel side.
//!
//! `cargo clippy --workspace` sees only an empty `main` there, since the programs exist only on the BPF target.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    process,
    toolchain::{self, locate},
};

/// Runs clippy on `anycast-ebpf` for the BPF target. The arguments follow after its `--`.
pub fn clippy_bpf(arguments: &[OsString]) -> Result<()> {
    let tools = toolchain::setup()?;
    let target = locate::bpf_target(cfg!(target_endian = "big"));
    let flags = locate::bpf_rustflags(std::env::consts::ARCH, &tools.linker);
    let mut cargo = toolchain::cargo();
    cargo
        .args(["clippy", "--package", "anycast-ebpf"])
        .args(["-Zbuild-std=core", "--profile", "bpf", "--target", target])
        // The directory is separate from that of anycast-ctl/build.rs, although much of its content is the same.
        .args(["--target-dir", "target/bpf"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    if !arguments.is_empty() {
        cargo.arg("--").args(arguments);
    }
    process::show(&mut cargo, "clippy for BPF")
}
