//! What the environment says of the tools.

use std::{ffi::OsString, process::Command};

/// The `cargo` that runs this program, at the root of the workspace.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut cargo = Command::new(program);
    cargo.current_dir(crate::workspace());
    // `cargo xtask` is a `cargo run`. It sets these variables for this program, and a nested cargo must not get them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Whether the user allows this program to install things.
pub(crate) fn may_install() -> bool {
    std::env::var_os("ANYCAST_NO_INSTALL").is_none_or(|value| value.is_empty() || value == "0")
}
