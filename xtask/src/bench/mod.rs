//! The command `cargo xtask bench`: runs measurements. No test depends on them.

mod benchmark;
mod instructions;
mod picture;
mod targets;

use std::{ffi::OsString, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{
    privilege::Root,
    process::{self, describe, say},
    test, toolchain, workspace,
};
pub use benchmark::Benchmark;

/// Builds a benchmark with optimisation, and runs it as root.
pub fn bench(benchmark: Benchmark, arguments: &[OsString]) -> Result<()> {
    toolchain::setup()?;
    run(benchmark, arguments)
}

fn run(benchmark: Benchmark, arguments: &[OsString]) -> Result<()> {
    if benchmark == Benchmark::Table {
        return table();
    }
    if benchmark == Benchmark::Instructions {
        let words = arguments
            .iter()
            .map(|word| word.to_string_lossy().into_owned());
        fs::create_dir_all(directory())?;
        return instructions::run(&file(benchmark), &words.collect::<Vec<_>>());
    }
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

/// Benchmarks that measure what there are targets for.
const OF_TARGETS: [Benchmark; 5] = [
    Benchmark::Dataplane,
    Benchmark::Lookups,
    Benchmark::Forwarding,
    Benchmark::Tcx,
    Benchmark::Handshakes,
];

/// Runs the benchmarks of the targets, and prints the targets as one table. The results are kept in
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
    if let Err(error) = run(Benchmark::Instructions, &[]) {
        say(format_args!("no instructions are counted: {error:#}"));
        // Those of another build would be worse than none.
        let _ = fs::remove_file(file(Benchmark::Instructions));
    }
    table()
}

/// Prints the targets with the results of the last measurements, and leaves them as JSON and as a picture.
fn table() -> Result<()> {
    let directory = directory();
    let outcomes = targets::outcomes(file)?;
    println!(
        "\n{:42} {:>22} {:>7} {:>23}",
        "", "wanted", "is", "instructions"
    );
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
