//! What is made of the command line's own definitions for a package: completions of shells, and man pages.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use super::ask::print;

/// Prints the completions for a shell.
pub(super) fn completions<C: CommandFactory>(shell: Shell) -> Result<()> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&String::from_utf8(script)?)
}

/// Writes a man page for the program and for each of its commands.
pub(super) fn man<C: CommandFactory>(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(C::command(), directory))
        .with_context(|| format!("cannot write to {}", directory.display()))
}
