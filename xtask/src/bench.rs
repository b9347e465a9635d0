//! `cargo xtask bench`: measurements, of which no test depends.

use std::ffi::OsString;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::{
    privilege::Root,
    process::{self, describe, say},
    test, toolchain,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// A router with 100,000 members: its core (`core`), and the way from the wire to its routes
    /// (`path`)
    Scale,
    /// Binding handshakes: the machines of both ends (`core`), and between two daemons (`path`)
    Handshakes,
    /// What XDP takes for packets of every kind, beside programs in C, which clang compiles
    Dataplane,
    /// What XDP takes to refuse a Report
    Refused,
    /// What XDP takes for packets that meet the limits on floods
    Floods,
    /// TCP through a gateway by TCX and by XDP, beside the kernel's forwarding, by iperf3
    Tcx,
}

impl Benchmark {
    fn name(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Handshakes => "handshakes",
            Self::Dataplane => "dataplane",
            Self::Refused => "refused",
            Self::Floods => "floods",
            Self::Tcx => "tcx",
        }
    }
}

/// Builds one with optimisation and runs it, as root.
pub fn bench(benchmark: Benchmark, arguments: &[OsString]) -> Result<()> {
    toolchain::setup()?;
    if benchmark == Benchmark::Dataplane {
        toolchain::require("clang", "clang")?;
    }
    if benchmark == Benchmark::Tcx {
        toolchain::require("iperf3", "iperf3")?;
    }
    let name = benchmark.name();
    let mut cargo = toolchain::cargo();
    cargo.args(["bench", "--package", "anycast-ctl", "--bench", name, "--"]);
    cargo.args(arguments);
    test::run_as(Root::find(), &mut cargo)?;
    say(format_args!("building and running the benchmark {name}"));
    let status = process::show_status(&mut cargo, name)?;
    ensure!(status.success(), "{name}: {}", describe(status));
    Ok(())
}
