//! The command `cargo xtask`: all tasks for working on this repository, on a machine that has only Rust.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{
    bench::{self, Benchmark},
    build, cross, deny, doctor, fuzz, kernels, lab, lint, nics, package, run, test, toolchain,
};

/// Builds, tests and runs anycast, installing what this machine lacks
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the build lacks: rust-src and bpf-linker
    Setup,
    /// Build the daemon with its BPF programs
    Build {
        /// Optimise the daemon
        #[arg(long)]
        release: bool,
    },
    /// Show what this machine has, what it lacks, and what to do about it
    Doctor {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Make the Debian package, the RPM package, the list of what is in them, and a file of checksums
    Package,
    /// Check licenses and sources of all dependencies, by cargo-deny
    Deny,
    /// Run all tests, those that need root and a kernel included
    Test {
        #[command(flatten)]
        options: test::Options,
    },
    /// Run benchmarks
    Bench {
        /// Which benchmark; without one, all that measure the targets of the data plane
        benchmark: Option<Benchmark>,
        /// Arguments of the benchmark
        #[arg(last = true, value_name = "ARGS", requires = "benchmark")]
        arguments: Vec<OsString>,
    },
    /// Fuzz the decoders and the controller
    Fuzz {
        /// Which target; without one, all of them in turn
        target: Option<fuzz::Target>,
        #[command(flatten)]
        options: fuzz::Options,
    },
    /// Run clippy on the kernel side, which `cargo clippy` does not see
    ClippyBpf {
        /// Arguments after the `--` of clippy, such as `-D warnings`
        #[arg(last = true, value_name = "ARGS")]
        arguments: Vec<OsString>,
    },
    /// Run the programs through the verifiers of other kernels, and a session on each
    Kernels {
        #[command(flatten)]
        options: kernels::Options,
    },
    /// Build for other processors, and run the tests of what is pure there, in qemu
    Cross {
        #[command(flatten)]
        options: cross::Options,
    },
    /// Run a session through all roles over drivers of network cards, and over what stands on cards
    Nics {
        #[command(flatten)]
        options: nics::Options,
    },
    /// The part of `nics` that runs in a guest
    #[command(hide = true)]
    NicsInGuest {
        #[command(flatten)]
        guest: nics::Guest,
    },
    /// Run the lab; or, with arguments after `--`, the daemon on this machine
    Run {
        #[command(flatten)]
        options: lab::Options,
        /// Arguments of anycast-ctl, which then runs on this machine
        #[arg(last = true, value_name = "ARGS")]
        arguments: Vec<OsString>,
    },
    /// The part of `run` that needs root
    #[command(hide = true)]
    LabAsRoot {
        daemon: PathBuf,
        #[command(flatten)]
        options: lab::Options,
    },
    /// The part of `doctor` that needs root
    #[command(hide = true)]
    Probe,
}

fn main() -> ExitCode {
    // In a guest it is the first process.
    kernels::intercept();
    // The lab also runs this program as its applications.
    if let Some(code) = lab::app::intercept() {
        return code;
    }
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        // The error is not printed with `{:?}`: the user gets sentences, not a backtrace.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => {
            let tools = toolchain::setup()?;
            println!("Rust        {}", tools.release);
            println!("rust-src    {}", tools.library.display());
            println!("bpf-linker  {}", tools.linker.display());
        }
        Command::Build { release } => println!("{}", build::build(release)?),
        Command::Package => {
            for made in package::package(true)? {
                println!("{}", made.display());
            }
        }
        Command::Deny => deny::deny()?,
        Command::Doctor { json } => return doctor::doctor(json),
        Command::Test { options } => return test::test(&options),
        Command::Bench {
            benchmark,
            arguments,
        } => match benchmark {
            Some(benchmark) => bench::bench(benchmark, &arguments)?,
            None => bench::all()?,
        },
        Command::Fuzz { target, options } => fuzz::fuzz(target, &options)?,
        Command::ClippyBpf { arguments } => lint::clippy_bpf(&arguments)?,
        Command::Kernels { options } => return kernels::kernels(&options),
        Command::Nics { options } => return nics::nics(&options),
        Command::NicsInGuest { guest } => nics::course(&guest)?,
        Command::Cross { options } => cross::cross(&options)?,
        Command::Run { options, arguments } if arguments.is_empty() => return run::lab(options),
        Command::Run { options, arguments } => return run::daemon(arguments, options.release),
        Command::LabAsRoot { daemon, options } => return run::lab_as_root(options, daemon),
        Command::Probe => return Ok(doctor::probe_for_parent()),
    }
    Ok(ExitCode::SUCCESS)
}
