//! Finds or installs what the BPF build needs in addition to a stable Rust.

mod apt;
mod bpf_linker;
pub mod crate_tool;
mod debian;
mod environment;
// `anycast-ctl/build.rs` uses the same file.
pub(crate) mod locate;
mod rust_src;
pub(crate) mod suite;

use std::{ffi::OsString, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

pub use apt::{cxx_compiler, install_helpers, require, require_file};
pub(crate) use environment::{cargo, may_install};

/// Where this project keeps tools that it has built.
#[must_use]
pub(crate) fn tools_directory() -> Option<std::path::PathBuf> {
    locate::tools_dir().ok()
}
use locate::Rustc;

use crate::process::{self, say};

/// Time limit for asking rustc. rustup may have to download the toolchain first.
const RUSTC_LIMIT: Duration = Duration::from_secs(300);

/// The compiler and the tools, all of which exist.
#[derive(Debug)]
pub struct Toolchain {
    /// Version of rustc.
    pub release: String,
    /// Directory of the source of the standard library.
    pub library: PathBuf,
    /// Path of bpf-linker.
    pub linker: PathBuf,
}

/// Finds the toolchain, and installs and reports what is missing. Takes milliseconds when nothing is missing.
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
    // Two clones of the repository may run the setup at the same time.
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

/// Target triple of this machine, as rustc names it.
pub(crate) fn host() -> Result<String> {
    let mut command = Command::new(rustc_program());
    command
        .args(["--print", "host-tuple"])
        .current_dir(crate::workspace());
    let host = process::capture_ok(&mut command, "rustc", RUSTC_LIMIT)?;
    Ok(host.trim().to_owned())
}

/// Whether the compiler has a standard library for this target.
pub(crate) fn has_library_for(target: &str) -> Result<bool> {
    let mut command = Command::new(rustc_program());
    command
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(crate::workspace());
    let directory = process::capture_ok(&mut command, "rustc", RUSTC_LIMIT)?;
    Ok(PathBuf::from(directory.trim()).is_dir())
}

fn rustc_program() -> OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"))
}

/// The Rust version in rust-toolchain.toml.
pub(crate) fn pinned_release() -> Option<String> {
    let file = fs::read_to_string(crate::workspace().join("rust-toolchain.toml")).ok()?;
    let line = file.lines().find(|line| line.starts_with("channel"))?;
    line.split('"').nth(1).map(str::to_owned)
}
