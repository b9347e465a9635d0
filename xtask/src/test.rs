//! `cargo xtask test`: every test, those that need a kernel included.

use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::{
    privilege::Root,
    probe,
    process::{self, say},
    toolchain,
};

/// Runs `cargo test --workspace` with these arguments.
pub fn test(arguments: &[OsString]) -> Result<ExitCode> {
    toolchain::setup()?;
    toolchain::install_helpers();

    let mut cargo = toolchain::cargo();
    cargo.args(["test", "--workspace"]).args(arguments);
    let root = Root::find();
    let obstacle = probe::kernel_by(root).err();
    run_as(root, &mut cargo)?;
    if let Some(reason) = &obstacle {
        say(format_args!("kernel tests will be ignored: {reason}"));
    }

    say("building and running the tests");
    let status = process::show_status(&mut cargo, "cargo test")?;
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

/// Cargo builds as the user; only what it runs is root.
pub(crate) fn run_as(root: Root, cargo: &mut Command) -> Result<()> {
    if root == Root::Sudo {
        say("what cargo builds runs as root, by sudo");
        cargo.env(runner_variable(&toolchain::host()?), "sudo --preserve-env");
    }
    Ok(())
}

/// The variable by which cargo learns what to run what it built with.
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
