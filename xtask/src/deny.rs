//! The command `cargo xtask deny`: cargo-deny, by `deny.toml`.

use std::process::Command;

use anyhow::Result;

use crate::{
    process::{self, say},
    toolchain::crate_tool,
};

const TOOL: &str = "cargo-deny";
/// The version that is built where there is none.
const VERSION: &str = "0.20.2";

/// Checks licenses, sources and bans of all dependencies. Known vulnerabilities are looked for as well where the
/// database of advisories can be fetched, which is a repository on GitHub.
pub fn deny() -> Result<()> {
    // It runs for a moment, so that the time to optimise it would be lost.
    let tool = crate_tool::require(TOOL, VERSION, &["--debug"])?;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&tool);
        command.current_dir(crate::workspace()).args(arguments);
        command
    };
    let checks = ["check", "licenses", "bans", "sources"];
    process::show(&mut run(&checks), "cargo deny check licenses bans sources")?;
    let fetched = process::show_status(&mut run(&["fetch", "db"]), "cargo deny fetch db")?;
    if !fetched.success() {
        say(
            "the database of advisories cannot be fetched: known vulnerabilities were not looked for",
        );
        return Ok(());
    }
    let check = ["check", "--disable-fetch", "advisories"];
    process::show(&mut run(&check), "cargo deny check advisories")
}
