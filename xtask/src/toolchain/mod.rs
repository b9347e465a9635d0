//! What the BPF build needs beyond a stable Rust, found or installed.

mod apt;
mod bpf_linker;
mod debian;
// Shared with anycast-ctl/build.rs.
pub(crate) mod locate;
mod rust_src;

use std::{ffi::OsString, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

pub use apt::{cxx_compiler, install_helpers, require};
use locate::Rustc;

use crate::process::{self, say};

/// rustup may have to fetch the toolchain first.
const RUSTC_LIMIT: Duration = Duration::from_secs(300);

/// The compiler and the tools, all present.
#[derive(Debug)]
pub struct Toolchain {
    /// Version of rustc.
    pub release: String,
    /// Source of the standard library.
    pub library: PathBuf,
    /// The linker.
    pub linker: PathBuf,
}

/// Finds the toolchain and installs what it lacks, saying so. Takes milliseconds when all is there.
pub fn setup() -> Result<Toolchain> {
    let rustc = rustc()?;
    if let Some(pinned) = pinned_release()
        && pinned != rustc.release
    {
        say(format_args!(
            "Rust {} is in use, but rust-toolchain.toml pins {pinned}",
            rustc.release
        ));
    }
    let tools = locate::tools_dir()?;
    if let Some(ready) = find(&rustc) {
        return Ok(ready);
    }
    if !may_install() {
        let forbidden = "ANYCAST_NO_INSTALL forbids to install what is missing";
        locate::rust_src(&rustc).context(forbidden)?;
        locate::bpf_linker(&rustc, &tools).context(forbidden)?;
    }

    fs::create_dir_all(&tools).with_context(|| format!("cannot create {}", tools.display()))?;
    // Two clones may be set up at once.
    let lock = fs::File::create(tools.join("setup.lock"))?;
    if lock.try_lock().is_err() {
        say("another setup is at work; waiting for it");
        lock.lock()?;
    }
    if let Err(missing) = locate::rust_src(&rustc) {
        say(missing);
        rust_src::install(&rustc, &tools)?;
    }
    if let Err(missing) = locate::bpf_linker(&rustc, &tools) {
        say(missing);
        bpf_linker::install(&rustc, &tools)?;
    }
    match find(&rustc) {
        Some(ready) => {
            say(format_args!("rust-src is in {}", ready.library.display()));
            say(format_args!("bpf-linker is {}", ready.linker.display()));
            Ok(ready)
        }
        None => {
            bail!("the tools were installed but cannot be found; `cargo xtask doctor` says more")
        }
    }
}

fn find(rustc: &Rustc) -> Option<Toolchain> {
    Some(Toolchain {
        release: rustc.release.clone(),
        library: locate::rust_src(rustc).ok()?,
        linker: locate::bpf_linker(rustc, &locate::tools_dir().ok()?).ok()?,
    })
}

/// The compiler that cargo uses in this workspace.
pub(crate) fn rustc() -> Result<Rustc> {
    Ok(Rustc::query(&rustc_program(), &crate::workspace())?)
}

/// The triple of this machine, as rustc calls it.
pub(crate) fn host() -> Result<String> {
    let mut command = Command::new(rustc_program());
    command
        .args(["--print", "host-tuple"])
        .current_dir(crate::workspace());
    let host = process::capture_ok(&mut command, "rustc", RUSTC_LIMIT)?;
    Ok(host.trim().to_owned())
}

fn rustc_program() -> OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"))
}

/// The version that rust-toolchain.toml asks for.
pub(crate) fn pinned_release() -> Option<String> {
    let file = fs::read_to_string(crate::workspace().join("rust-toolchain.toml")).ok()?;
    let line = file.lines().find(|line| line.starts_with("channel"))?;
    line.split('"').nth(1).map(str::to_owned)
}

/// `cargo`, the same one that runs this program, at the root of the workspace.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut cargo = Command::new(program);
    cargo.current_dir(crate::workspace());
    // `cargo xtask` is a `cargo run`, which sets these for us and not for a nested cargo.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Whether the user lets us install things.
pub(crate) fn may_install() -> bool {
    std::env::var_os("ANYCAST_NO_INSTALL").is_none_or(|value| value.is_empty() || value == "0")
}
