//! The command `cargo xtask fuzz`: runs libFuzzer on every decoder and on the controller.
//!
//! The targets are in `anycast-ctl/fuzz`, a workspace of its own. rustc instruments them with LLVM's SanitizerCoverage,
//! which needs no nightly compiler. The source of libFuzzer comes from crates.io.

mod corpus;
mod target;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum as _};

use crate::{
    process::{self, say},
    toolchain,
};

pub use corpus::{inputs, seeds};
pub use target::Target;

/// Compiler options of the instrumentation by which libFuzzer sees which code an input reaches. They are those of
/// cargo-fuzz.
const INSTRUMENTATION: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// Time after which an input counts as hanging.
const HANG: Duration = Duration::from_secs(10);
/// Time to read the corpus, in addition to the time for fuzzing.
const MARGIN: Duration = Duration::from_secs(120);
/// Longest input in the corpus, in octets.
const KEPT: usize = 512;
/// Exit statuses by which libFuzzer says that the target is at fault: a crash, too much memory, or a hang.
const FOUND: [i32; 3] = [77, 71, 70];

/// Options of `cargo xtask fuzz`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Add new inputs to the corpus of the repository, as few as possible for the same coverage
    #[arg(long)]
    keep: bool,
}

/// Builds the targets, and runs one or each of them in turn. Fails at the first input that breaks a target.
pub fn fuzz(target: Option<Target>, options: &Options) -> Result<()> {
    toolchain::cxx_compiler()?;
    let programs = build()?;
    let all = Target::value_variants();
    for target in all.iter().filter(|it| target.is_none_or(|one| one == **it)) {
        let run = Run::new(*target, &programs)?;
        run.fuzz(options.seconds)?;
        if options.keep {
            run.keep()?;
        }
    }
    Ok(())
}

/// Builds every target with instrumentation. Gives the directory of the programs.
fn build() -> Result<PathBuf> {
    let host = toolchain::host()?;
    let output = crate::workspace().join("target/fuzz");
    say("building the fuzz targets, with libFuzzer at first");
    let mut cargo = toolchain::cargo();
    cargo
        .args([
            "build",
            "--release",
            "--bins",
            "--locked",
            "--manifest-path",
        ])
        .arg(format!("{}/Cargo.toml", corpus::CRATE))
        // When a target triple is given, build scripts and macros are not instrumented.
        .args(["--target", &host])
        .arg("--target-dir")
        .arg(&output)
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\x1f"));
    process::show(&mut cargo, "building the fuzz targets")
        .context("they need the crate libfuzzer-sys, from crates.io, and a C++ compiler")?;
    Ok(output.join(host).join("release"))
}

/// A target, with the directories of its run.
struct Run {
    target: Target,
    program: PathBuf,
    /// The recorded packets, written as files.
    seeds: PathBuf,
    /// Inputs that were found on this machine so far.
    found: PathBuf,
    crashes: PathBuf,
}

impl Run {
    fn new(target: Target, programs: &Path) -> Result<Self> {
        let work = crate::workspace()
            .join("target/fuzz/work")
            .join(target.name());
        let run = Self {
            target,
            program: programs.join(target.name()),
            seeds: work.join("seeds"),
            found: work.join("found"),
            crashes: work.join("crashes"),
        };
        let corpus = [corpus::corpus(target), corpus::regressions(target)];
        for directory in [&run.seeds, &run.found, &run.crashes]
            .into_iter()
            .chain(&corpus)
        {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        for (name, octets) in seeds(target)? {
            fs::write(run.seeds.join(name), octets)?;
        }
        Ok(run)
    }

    /// Fuzzes the target for this time, and prints the result in one line.
    fn fuzz(&self, seconds: u32) -> Result<()> {
        let name = self.target.name();
        let time = Duration::from_secs(seconds.into());
        let crash = self.crashes.join(format!("{name}-{}", std::process::id()));
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={}", self.target.longest()))
            .arg(format!("-timeout={}", HANG.as_secs()))
            .args(["-print_final_stats=1", "-len_control=10"])
            .arg(format!("-exact_artifact_path={}", crash.display()))
            // libFuzzer writes new inputs to the first directory.
            .args([&self.found, &self.seeds])
            .arg(corpus::corpus(self.target))
            .arg(corpus::regressions(self.target));
        let output = process::capture(&mut command, name, time + HANG + MARGIN)?;
        judge(self.target, &output, &crash)?;
        println!("{name:10}  {}", summary(&words(&output)));
        Ok(())
    }

    /// Makes the corpus of the repository as small as possible without losing coverage.
    fn keep(&self) -> Result<()> {
        let name = self.target.name();
        let corpus = corpus::corpus(self.target);
        let merged = self.crashes.with_file_name("merged");
        let _ = fs::remove_dir_all(&merged);
        fs::create_dir_all(&merged)?;
        let mut command = Command::new(&self.program);
        command
            // Only coverage counts. Counting how often code is reached would make the corpus several times as large.
            .args(["-set_cover_merge=1", "-use_counters=0"])
            .arg(format!("-max_len={KEPT}"))
            .arg(&merged)
            .args([&self.seeds, &corpus, &self.found]);
        process::capture_ok(&mut command, name, MARGIN)?;
        corpus::replace(self.target, &merged)
    }
}

/// Fails when libFuzzer failed, with its output and the path of the input.
fn judge(target: Target, output: &Output, crash: &Path) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let name = target.name();
    let words = words(output);
    let found = output
        .status
        .code()
        .is_some_and(|code| FOUND.contains(&code));
    ensure!(
        found && crash.is_file(),
        "{name}: libFuzzer: {}\n{words}",
        process::describe(output.status)
    );
    eprintln!("{}", report(&words));
    bail!(
        "{name}: an input breaks it: {}\n  To keep it as a test, copy it to {}",
        crash.display(),
        corpus::regressions(target).display()
    );
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The output from the panic on, or from libFuzzer's own verdict.
fn report(words: &str) -> &str {
    let starts = ["\nthread '", "\n==", "ERROR: libFuzzer"];
    let start = starts.iter().filter_map(|start| words.find(start)).min();
    words[start.unwrap_or_default()..].trim()
}

/// Makes a summary such as `1234 inputs, 56 edges reached, corpus 7/890b`.
fn summary(words: &str) -> String {
    let after = |name: &str| {
        let found = words.rfind(name).map(|at| &words[at + name.len()..]);
        found
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap_or("?")
    };
    format!(
        "{} inputs, {} edges reached, corpus {}",
        after("stat::number_of_executed_units:"),
        after(" cov: "),
        after(" corp: ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let manifest = crate::workspace().join(corpus::CRATE).join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).expect("the fuzz crate");
        for target in Target::value_variants() {
            let name = target.name();
            assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
            assert!(seeds(*target).expect("fixtures").len() > 50, "{name}");
            // The name that a person types is the name of the program.
            let typed = target.to_possible_value().expect("not hidden");
            assert_eq!(typed.get_name(), name);
        }
        let programs = manifest.matches("[[bin]]").count();
        assert_eq!(programs, Target::value_variants().len());
    }

    #[test]
    fn a_summary_shows_the_last_figures() {
        let words = "#2\tINITED cov: 10 ft: 11 corp: 1/2b exec/s: 0 rss: 38Mb\n\
                     #99\tDONE   cov: 245 ft: 300 corp: 33/911b lim: 4 exec/s: 9 rss: 40Mb\n\
                     stat::number_of_executed_units: 99\n";
        let expected = "99 inputs, 245 edges reached, corpus 33/911b";
        assert_eq!(summary(words), expected);
    }

    #[test]
    fn a_report_begins_with_the_panic() {
        let words = "INFO: Seed: 1\n#2 NEW cov: 3\n\nthread 'main' panicked at x.rs:1\n==7== ERROR";
        assert_eq!(
            report(words),
            "thread 'main' panicked at x.rs:1\n==7== ERROR"
        );
        assert_eq!(report("no such corpus"), "no such corpus");
    }
}
