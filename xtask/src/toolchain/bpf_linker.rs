//! Builds bpf-linker with the LLVM that rustc contains.
//!
//! The documented `cargo install bpf-linker` needs an LLVM with its development files, in a version that most
//! distributions do not have. rustc comes with exactly the LLVM whose bitcode is to be read, as a shared library, and
//! bpf-linker needs nothing else. The build takes about a minute and downloads only crates.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    environment::cargo,
    locate::{self, BPF_LINKER_VERSION, Rustc},
};
use crate::process::{self, say};

/// Builds bpf-linker into our tools directory.
pub(super) fn install(rustc: &Rustc, tools: &Path) -> Result<()> {
    let root = locate::own_linker_root(tools, rustc);
    let linker = root.join("bin/bpf-linker");
    prefix(rustc, &root)?;
    if locate::linker_llvm(&linker).is_some() {
        // The toolchain had moved, and only the links of the prefix were wrong.
        say(format_args!("repaired {}", linker.display()));
        return Ok(());
    }
    say(format_args!(
        "building bpf-linker {BPF_LINKER_VERSION} with LLVM {} into {}; this takes a minute or two",
        rustc.llvm,
        root.display()
    ));

    let build = tools.join("bpf-linker-build");
    let what = "building bpf-linker";
    let locked = process::show_status(cargo_install(rustc, &root, &build).arg("--locked"), what)?;
    if !locked.success() {
        // A mirror of the registry may lack some of the exact versions.
        say("that failed; trying again with the newest versions of its dependencies");
        process::show(&mut cargo_install(rustc, &root, &build), what)?;
    }
    fs::remove_dir_all(&build).context("cannot tidy up after the build of bpf-linker")?;

    ensure!(
        locate::linker_llvm(&linker).is_some(),
        "{} was built but does not run",
        linker.display()
    );
    Ok(())
}

/// Makes `root` look like an installation of LLVM: its `lib` contains rustc's shared library under the names that
/// bpf-linker and the dynamic linker look for.
fn prefix(rustc: &Rustc, root: &Path) -> Result<()> {
    let library = llvm_library(rustc)?;
    let lib = root.join("lib");
    fs::create_dir_all(&lib)?;
    let own_name = library.file_name().context("a library without a name")?;
    let names = [
        own_name.to_owned(),
        "libLLVM.so".into(),
        format!("libLLVM-{}.so", rustc.llvm).into(),
    ];
    for name in names {
        let link = lib.join(name);
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link)?;
        }
        symlink(&library, &link)?;
    }
    Ok(())
}

/// Path of rustc's LLVM: `libLLVM.so.22.1-rust-1.95.0-stable`, or `libLLVM-17-rust-...so` in older versions.
fn llvm_library(rustc: &Rustc) -> Result<PathBuf> {
    let lib = rustc.sysroot.join("lib");
    fs::read_dir(&lib)
        .with_context(|| format!("cannot look into {}", lib.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // In the same directory is a linker script of a similar name, which is a few octets long.
            name.starts_with("libLLVM") && path.metadata().is_ok_and(|m| m.len() > 1 << 20)
        })
        .max()
        .with_context(|| {
            format!(
                "this Rust has no LLVM of its own in {}: put a bpf-linker for LLVM {} on PATH, or \
                 use the Rust of rustup",
                lib.display(),
                rustc.llvm
            )
        })
}

fn cargo_install(rustc: &Rustc, root: &Path, build: &Path) -> Command {
    let mut install = cargo();
    install
        .args(["install", "bpf-linker", "--force", "--version"])
        .args([BPF_LINKER_VERSION, "--no-default-features", "--features"])
        .arg(format!("llvm-{}", rustc.llvm))
        .arg("--root")
        .arg(root)
        .arg("--target-dir")
        .arg(build)
        .env("LLVM_PREFIX", root)
        // The library is found relative to the binary, also when the tools directory is moved.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-Clink-arg=-Wl,-rpath,$ORIGIN/../lib",
        )
        // LLVM does the work of linking, so that an unoptimised build is as fast as an optimised one.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTFLAGS");
    install
}
