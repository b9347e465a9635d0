//! `cargo xtask cross`: the workspace built for other processors, and the tests of what is pure run there, in qemu's
//! user mode. One of them has the other byte order.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Result, bail};

use crate::{
    process::{self, say},
    toolchain,
};

/// Tests that say nothing where threads take turns and every instruction is interpreted: they look for writers who
/// meet in the middle of a word, or measure time.
const NOT_EMULATED: [&str; 1] = ["writers_at_once_mix_nothing_up"];

/// A processor that is built for.
struct Processor {
    /// As on the command line.
    name: &'static str,
    /// As rustc names it.
    target: &'static str,
    /// Debian's package of a C compiler, by which Rust links.
    compiler_package: &'static str,
    compiler: &'static str,
    /// That of the C library's headers, for the C that crates bring.
    headers_package: &'static str,
    emulator: &'static str,
    /// Where these packages have the C library.
    libraries: &'static str,
}

const PROCESSORS: [Processor; 2] = [
    Processor {
        name: "aarch64",
        target: "aarch64-unknown-linux-gnu",
        compiler_package: "gcc-aarch64-linux-gnu",
        compiler: "aarch64-linux-gnu-gcc",
        headers_package: "libc6-dev-arm64-cross",
        emulator: "qemu-aarch64",
        libraries: "/usr/aarch64-linux-gnu",
    },
    Processor {
        name: "s390x",
        target: "s390x-unknown-linux-gnu",
        compiler_package: "gcc-s390x-linux-gnu",
        compiler: "s390x-linux-gnu-gcc",
        headers_package: "libc6-dev-s390x-cross",
        emulator: "qemu-s390x",
        libraries: "/usr/s390x-linux-gnu",
    },
];

/// Which processors
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// aarch64 or s390x; both when none is named
    names: Vec<String>,
}

/// Builds the workspace with its BPF programs for each processor, and runs the tests of the pure parts.
pub fn cross(options: &Options) -> Result<()> {
    let known = PROCESSORS.map(|processor| processor.name);
    for name in &options.names {
        if !known.contains(&name.as_str()) {
            bail!("no processor {name}; there are {}", known.join(", "));
        }
    }
    toolchain::setup()?;
    for processor in &PROCESSORS {
        if options.names.is_empty() || options.names.iter().any(|name| name == processor.name) {
            one(processor)?;
        }
    }
    Ok(())
}

fn one(processor: &Processor) -> Result<()> {
    let name = processor.name;
    toolchain::require(processor.compiler, processor.compiler_package)?;
    let headers = Path::new(processor.libraries).join("include/stdio.h");
    toolchain::require_file(&headers, processor.headers_package)?;
    toolchain::require(processor.emulator, "qemu-user")?;
    let start = Instant::now();
    say(format_args!("building the workspace for {name}"));
    let mut build = processor.cargo("build")?;
    build.args(["--package", "anycast-ctl", "--package", "xtask"]);
    process::show(&mut build, &format!("the build for {name}"))?;
    say(format_args!("its tests of wire, abi and core, in qemu"));
    let mut tests = processor.cargo("test")?;
    tests.args(["--package", "anycast-common", "--no-fail-fast", "--"]);
    tests.args(NOT_EMULATED.iter().flat_map(|name| ["--skip", name]));
    process::show(&mut tests, &format!("anycast-common on {name}"))?;
    let mut tests = processor.cargo("test")?;
    tests.args(["--package", "anycast-ctl", "--lib", "--no-fail-fast", "--"]);
    tests.arg("core::");
    process::show(&mut tests, &format!("the core on {name}"))?;
    let seconds = start.elapsed().as_secs();
    println!("{name}: builds, and its tests pass, in {seconds} s");
    Ok(())
}

impl Processor {
    /// cargo, for this processor. Where rustup has no standard library for it, that is built, too.
    fn cargo(&self, command: &str) -> Result<Command> {
        let mut cargo = toolchain::cargo();
        cargo
            .arg(command)
            .args(["--target", self.target, "--target-dir", "target/cross"])
            .stdin(Stdio::null())
            .env(self.variable("LINKER"), self.compiler)
            .env(
                self.variable("RUNNER"),
                format!("{} -L {}", self.emulator, self.libraries),
            )
            // What is interpreted is to be short, and nobody looks at it by a debugger.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        if !toolchain::has_library_for(self.target)? {
            cargo.arg("-Zbuild-std").env("RUSTC_BOOTSTRAP", "1");
        }
        Ok(cargo)
    }

    fn variable(&self, what: &str) -> String {
        let target = self.target.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{target}_{what}")
    }
}
