//! Builds the kernel side and leaves it in `OUT_DIR/anycast.bpf.o`, for `include_bytes`.
//!
//! This is the one place that builds it, so that `cargo build`, `cargo test` and `cargo xtask` all
//! embed the same object. Without the tools the file is empty: the crate still compiles, and the
//! daemon says that it has no BPF programs.

#[path = "../xtask/src/toolchain/locate.rs"]
mod locate;

use std::{
    env,
    error::Error,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// What cargo sets for this script, or the user for the host, and the nested build must not see.
const FOREIGN: &[&str] = &[
    "AYA_BPF_TARGET_ARCH",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_INCREMENTAL",
    "HOST",
    "RUSTC_WORKSPACE_WRAPPER", // clippy
    "RUSTFLAGS",
    "TARGET",
];
const FOREIGN_PREFIXES: &[&str] = &["CARGO_CFG_", "CARGO_PROFILE_"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    for name in ["ANYCAST_BPF_OBJECT", "ANYCAST_TOOLS_DIR"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let object = PathBuf::from(var("OUT_DIR")?).join("anycast.bpf.o");

    // A distribution builds the object on its own terms.
    if let Some(given) = env::var_os("ANYCAST_BPF_OBJECT").filter(|path| !path.is_empty()) {
        let given = PathBuf::from(given);
        rerun_if_changed(&given);
        fs::copy(&given, &object)
            .map_err(|error| format!("ANYCAST_BPF_OBJECT={}: {error}", given.display()))?;
        return Ok(());
    }

    let root = PathBuf::from(var("CARGO_MANIFEST_DIR")?).join("..");
    let root = root.canonicalize()?;
    for source in [
        "anycast-ebpf/src",
        "anycast-ebpf/Cargo.toml",
        "anycast-common/src",
        "anycast-common/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        // Relative to this package, so that a target directory that was copied looks at the files beside it.
        rerun_if_changed(&Path::new("..").join(source));
    }

    match find_tools(&root) {
        Ok(linker) => {
            let elf = build(&root, &linker)?;
            fs::copy(&elf, &object)
                .map_err(|error| format!("{} was not built: {error}", elf.display()))?;
        }
        Err(missing) => {
            println!("cargo:warning={missing}");
            println!(
                "cargo:warning=anycast-ctl is built WITHOUT its BPF programs; \
                 `cargo xtask setup` installs what is missing"
            );
            fs::write(&object, [])?;
        }
    }
    Ok(())
}

/// The linker, when everything that the build needs is there.
fn find_tools(root: &Path) -> Result<PathBuf, locate::Missing> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let rustc = locate::Rustc::query(&rustc, root)?;
    let tools = locate::tools_dir()?;
    // Both are watched even when they are missing: cargo runs this script again until they appear.
    rerun_if_changed(&rustc.library().join("Cargo.lock"));
    let linker = locate::bpf_linker(&rustc, &tools);
    match &linker {
        Ok(linker) => rerun_if_changed(linker),
        Err(_) => rerun_if_changed(&locate::own_linker_root(&tools, &rustc).join("bin/bpf-linker")),
    }
    locate::rust_src(&rustc)?;
    linker
}

/// Runs the nested cargo and gives the path of the ELF file.
fn build(root: &Path, linker: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = locate::bpf_target(var("CARGO_CFG_TARGET_ENDIAN")? == "big");
    let arch = var("CARGO_CFG_TARGET_ARCH")?;
    let flags = locate::bpf_rustflags(&arch.to_string_lossy(), linker);
    let target_dir = target_dir()?;

    let mut cargo = Command::new(var("CARGO")?);
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--package", "anycast-ebpf"])
        .args(["-Zbuild-std=core", "--profile", "bpf", "--target", target])
        .arg("--target-dir")
        .arg(&target_dir)
        .stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if FOREIGN.contains(&&*text) || FOREIGN_PREFIXES.iter().any(|p| text.starts_with(p)) {
            cargo.env_remove(&name);
        }
    }
    cargo
        .env("RUSTC_BOOTSTRAP", "1") // -Z build-std on a stable compiler
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_TERM_COLOR", "never");

    let output = cargo.output()?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("the BPF programs do not compile\n{messages}").into());
    }
    for line in messages.lines().filter(|line| !line.trim().is_empty()) {
        println!("cargo:warning={line}");
    }
    Ok(target_dir.join(target).join("bpf/anycast-ebpf"))
}

/// One directory for all profiles of the outer build, since the object is the same in all of them.
/// Not the outer target directory itself: its lock is held by the cargo that runs this script.
fn target_dir() -> Result<PathBuf, Box<dyn Error>> {
    let out = PathBuf::from(var("OUT_DIR")?);
    // Cargo marks the root of a target directory with this file.
    let outer = out.ancestors().find(|d| d.join("CACHEDIR.TAG").is_file());
    Ok(outer.unwrap_or(&out).join("bpf"))
}

fn var(name: &str) -> Result<OsString, Box<dyn Error>> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}").into())
}

fn rerun_if_changed(path: &Path) {
    println!("cargo:rerun-if-changed={}", path.display());
}
