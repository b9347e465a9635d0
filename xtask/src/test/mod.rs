//! The command `cargo xtask test`: runs every test, including those that need a kernel.

mod tally;

use std::{
    ffi::OsString,
    io::{self, PipeReader, Read as _, Write as _},
    path::PathBuf,
    process::{Command, ExitCode, ExitStatus, Stdio},
    thread,
};

use anyhow::Result;

use self::tally::Tally;
use crate::{
    package,
    privilege::Root,
    probe,
    process::{self, say},
    toolchain,
};

/// Options of `cargo xtask test`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Append what is printed at the end to this file: failures, ignored tests with their reasons, and counts
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Arguments of `cargo test`
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// Runs `cargo test --workspace` with these arguments. All suites run, even if some of them fail.
pub fn test(options: &Options) -> Result<ExitCode> {
    toolchain::setup()?;
    toolchain::install_helpers();
    package_tools();

    let root = Root::find();
    let obstacle = probe::kernel_by(root).err();
    if let Some(reason) = &obstacle {
        say(format_args!("kernel tests will be ignored: {reason}"));
    }
    say("building the tests");
    let mut build = cargo_test("--no-run", &options.arguments);
    // Cargo has already printed what is wrong.
    if !process::show_status(&mut build, "cargo test")?.success() {
        say("the tests cannot be built");
        return Ok(ExitCode::FAILURE);
    }
    say("running the tests");
    let mut cargo = cargo_test("--no-fail-fast", &options.arguments);
    run_as(root, &mut cargo)?;
    let (status, tally) = run(&mut cargo)?;

    println!("\n{tally}");
    if let Some(path) = &options.summary {
        process::append(path, &tally)?;
    }
    match (&obstacle, status.success()) {
        (Some(reason), true) => say(format_args!(
            "passed, WITHOUT the kernel tests, which were ignored: {reason}"
        )),
        (None, true) => say("passed; nothing kept the kernel tests from running"),
        (_, false) => say("some tests failed"),
    }
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds what makes packages. Where that fails, the tests of packages say why they are ignored.
fn package_tools() {
    let mut tools = Vec::new();
    tools.extend(process::find("dpkg").map(|_| package::tool()));
    if std::env::var_os("ANYCAST_LONG").is_some() {
        tools.push(package::sbom_tool());
    }
    for error in tools.into_iter().filter_map(Result::err) {
        say(format_args!("{error:#}"));
    }
}

fn cargo_test(how: &str, arguments: &[OsString]) -> Command {
    let mut cargo = toolchain::cargo();
    cargo.args(["test", "--workspace", how]).args(arguments);
    cargo
}

/// Shows the output of cargo, with both of its streams in one order, and reads it.
fn run(cargo: &mut Command) -> Result<(ExitStatus, Tally)> {
    let (reader, writer) = io::pipe()?;
    cargo
        .stdin(Stdio::null())
        .stderr(writer.try_clone()?)
        .stdout(writer);
    let mut child = process::spawn(cargo, "cargo test")?;
    // The command keeps the writing ends of the pipe, which would not end while they are open.
    cargo.stdout(Stdio::null()).stderr(Stdio::null());
    let reader = thread::spawn(|| follow(reader));
    let status = process::wait(&mut child, "cargo test", None)?;
    let tally = reader
        .join()
        .map_err(|_| anyhow::anyhow!("the reader of the tests' words panicked"))??;
    Ok((status, tally))
}

fn follow(mut reader: PipeReader) -> Result<Tally> {
    let mut tally = Tally::default();
    let (mut chunk, mut line) = ([0; 4096], Vec::new());
    loop {
        let octets = match reader.read(&mut chunk) {
            Ok(0) => return Ok(tally),
            Ok(length) => &chunk[..length],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        // A running test has printed its name without a newline. The line ends when the test has ended.
        let mut shown = io::stdout();
        shown.write_all(octets)?;
        shown.flush()?;
        for octet in octets {
            match octet {
                b'\n' => {
                    tally.read(&String::from_utf8_lossy(&line));
                    line.clear();
                }
                octet => line.push(*octet),
            }
        }
    }
}

/// Cargo builds as the user. Only the programs that it runs are run as root.
pub(crate) fn run_as(root: Root, cargo: &mut Command) -> Result<()> {
    if root == Root::Sudo {
        say("what cargo builds runs as root, by sudo");
        cargo.env(runner_variable(&toolchain::host()?), "sudo --preserve-env");
    }
    Ok(())
}

/// Name of the environment variable that tells cargo how to run the programs that it builds.
fn runner_variable(host: &str) -> String {
    let triple = host.to_uppercase().replace(['-', '.'], "_");
    format!("CARGO_TARGET_{triple}_RUNNER")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_variable_is_the_one_that_cargo_reads() {
        assert_eq!(
            super::runner_variable("x86_64-unknown-linux-gnu"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
        );
    }
}
