//! `cargo xtask clippy-bpf`: clippy for the kernel side.
//!
//! `cargo clippy --workspace` sees an empty `main` there: the programs exist only on the BPF target.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    process,
    toolchain::{self, locate},
};

/// Runs clippy on `anycast-ebpf` for the BPF target, with these arguments after its `--`.
pub fn clippy_bpf(arguments: &[OsString]) -> Result<()> {
    let tools = toolchain::setup()?;
    let target = locate::bpf_target(cfg!(target_endian = "big"));
    let flags = locate::bpf_rustflags(std::env::consts::ARCH, &tools.linker);
    let mut cargo = toolchain::cargo();
    cargo
        .args(["clippy", "--package", "anycast-ebpf"])
        .args(["-Zbuild-std=core", "--profile", "bpf", "--target", target])
        // Beside what anycast-ctl/build.rs builds; much of it is the same.
        .args(["--target-dir", "target/bpf"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    if !arguments.is_empty() {
        cargo.arg("--").args(arguments);
    }
    process::show(&mut cargo, "clippy for BPF")
}
