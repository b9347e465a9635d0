//! The command `cargo xtask bench`: runs measurements. No test depends on them.

mod picture;
mod targets;

use std::{ffi::OsString, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::{
    privilege::Root,
    process::{self, describe, say},
    test, toolchain, workspace,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// A router with 100,000 members: its core (`core`), and the path from the wire to its routes (`path`)
    Scale,
    /// Binding handshakes: the state machines of both ends (`core`), and between two daemons (`path`)
    Handshakes,
    /// Time of XDP for packets of every kind, compared with C programs that clang compiles
    Dataplane,
    /// Time and memory to find one of a million bindings or four million flows
    Lookups,
    /// Packets per second from one veth to another, compared with nftables and a C program
    Forwarding,
    /// TCP through a gateway by TCX and by XDP, compared with the kernel's forwarding, with iperf3
    Tcx,
    /// Time of XDP to refuse a Report
    Refused,
    /// Time of XDP for packets that meet the limits on floods
    Floods,
}

impl Benchmark {
    fn name(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Handshakes => "handshakes",
            Self::Dataplane => "dataplane",
            Self::Lookups => "lookups",
            Self::Forwarding => "forwarding",
            Self::Tcx => "tcx",
            Self::Refused => "refused",
            Self::Floods => "floods",
        }
    }

    /// Programs that a benchmark runs, and the packages that contain them.
    fn needs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Dataplane | Self::Lookups => &[("clang", "clang")],
            Self::Forwarding => &[("clang", "clang"), ("nft", "nftables")],
            Self::Tcx => &[("iperf3", "iperf3")],
            _ => &[],
        }
    }
}

/// Builds a benchmark with optimisation, and runs it as root.
pub fn bench(benchmark: Benchmark, arguments: &[OsString]) -> Result<()> {
    toolchain::setup()?;
    run(benchmark, arguments)
}

fn run(benchmark: Benchmark, arguments: &[OsString]) -> Result<()> {
    for (program, package) in benchmark.needs() {
        toolchain::require(program, package)?;
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

/// Benchmarks that measure the targets of the data plane.
const OF_TARGETS: [Benchmark; 4] = [
    Benchmark::Dataplane,
    Benchmark::Lookups,
    Benchmark::Forwarding,
    Benchmark::Tcx,
];

/// Runs the benchmarks of the data plane's targets, and prints the targets as one table. The results are kept in
/// `target/bench`, as JSON and as a picture.
pub fn all() -> Result<()> {
    toolchain::setup()?;
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for benchmark in OF_TARGETS {
        run(
            benchmark,
            &["--json".into(), file(benchmark).into_os_string()],
        )?;
    }
    let outcomes = targets::outcomes(file)?;
    println!("\n{:38} {:>18} {:>7}", "", "wanted", "is");
    for outcome in &outcomes {
        println!("{outcome}");
    }
    let (json, svg) = (
        directory.join("targets.json"),
        directory.join("targets.svg"),
    );
    fs::write(&json, serde_json::to_string_pretty(&outcomes)? + "\n")?;
    fs::write(&svg, picture::svg(&outcomes))?;
    println!("\n{}\n{}", json.display(), svg.display());
    Ok(())
}

fn directory() -> PathBuf {
    workspace().join("target/bench")
}

fn file(benchmark: Benchmark) -> PathBuf {
    directory().join(benchmark.name()).with_extension("json")
}
