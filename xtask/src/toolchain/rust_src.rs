//! The source of the standard library, from which `core` is built for BPF.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::{debian, locate, locate::Rustc};
use crate::process::{self, say};

/// Time limit for rustup. The component is only 3 MB, but a proxy may take long before it refuses a connection.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Installs rust-src into the sysroot of `rustc`: with rustup, or else from Debian's package.
pub(super) fn install(rustc: &Rustc, tools: &Path) -> Result<()> {
    let by_rustup = rustup(rustc);
    let Err(first) = by_rustup else { return Ok(()) };
    say(format_args!("{first:#}"));
    let Err(second) = from_debian(rustc, tools) else {
        return Ok(());
    };
    bail!(
        "rust-src of Rust {} is missing and could not be installed.\n  \
         by rustup: {first:#}\n  \
         from Debian: {second:#}\n  \
         Put its `library` folder at {}",
        rustc.release,
        rustc.library().display()
    )
}

fn rustup(rustc: &Rustc) -> Result<()> {
    if process::find("rustup").is_none() {
        bail!("there is no rustup on PATH");
    }
    say("rustup component add rust-src");
    let mut command = Command::new("rustup");
    command
        .args(["component", "add", "rust-src"])
        .env("RUST_BACKTRACE", "0")
        .current_dir(crate::workspace());
    process::capture_ok(&mut command, "rustup component add rust-src", RUSTUP_LIMIT)?;
    locate::rust_src(rustc).context("rustup says that it is done, but")?;
    Ok(())
}

fn from_debian(rustc: &Rustc, tools: &Path) -> Result<()> {
    let library = rustc.library();
    let parent = library.parent().context("the sysroot has no parent")?;
    fs::create_dir_all(parent)
        .with_context(|| format!("{} cannot be written to", parent.display()))?;

    // The files are extracted beside their final path and then renamed, so that no other process sees half of them.
    let partial = parent.join("library.partial");
    let work = tools.join("debian");
    let result = debian::fetch_rust_src(&rustc.release, &work)
        .and_then(|package| debian::extract_library(&package, &rustc.release, &partial));
    // These are 45 MB that nobody needs again.
    let _ = fs::remove_dir_all(&work);
    result?;
    if library.exists() {
        fs::remove_dir_all(&library).context("an incomplete library is in the way")?;
    }
    fs::rename(&partial, &library)?;
    locate::rust_src(rustc).context("Debian's package is not complete:")?;
    Ok(())
}
