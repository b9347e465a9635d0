//! Builds the kernel side and leaves it in `OUT_DIR`, for `include_bytes`: `anycast.bpf.o`, the data plane, and
//! `capture.bpf.o`, which looks at that.
//!
//! This is the one place that builds them, so that `cargo build`, `cargo test` and `cargo xtask` all
//! embed the same objects. Without the tools the files are empty: the crate still compiles, and the
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
/// The objects: what they are called, the program of the crate that they are, and what a distribution names one by that
/// it has built on its own terms.
const OBJECTS: [(&str, &str, &str); 2] = [
    ("anycast.bpf.o", "anycast-ebpf", "ANYCAST_BPF_OBJECT"),
    ("capture.bpf.o", "capture", "ANYCAST_CAPTURE_OBJECT"),
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
    println!("cargo:rerun-if-env-changed=ANYCAST_TOOLS_DIR");
    let out = PathBuf::from(var("OUT_DIR")?);
    let mut wanted = Vec::new();
    for (object, program, variable) in OBJECTS {
        println!("cargo:rerun-if-env-changed={variable}");
        let Some(given) = env::var_os(variable).filter(|path| !path.is_empty()) else {
            wanted.push((out.join(object), program));
            continue;
        };
        let given = PathBuf::from(given);
        rerun_if_changed(&given);
        fs::copy(&given, out.join(object))
            .map_err(|error| format!("{variable}={}: {error}", given.display()))?;
    }
    if wanted.is_empty() {
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
            let built = build(&root, &linker)?;
            for (object, program) in wanted {
                let elf = built.join(program);
                fs::copy(&elf, &object)
                    .map_err(|error| format!("{} was not built: {error}", elf.display()))?;
            }
        }
        Err(missing) => {
            println!("cargo:warning={missing}");
            println!(
                "cargo:warning=anycast-ctl is built WITHOUT its BPF programs; \
                 `cargo xtask setup` installs what is missing"
            );
            for (object, _) in wanted {
                fs::write(&object, [])?;
            }
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

/// Runs the nested cargo and gives the directory of the ELF files.
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
    Ok(target_dir.join(target).join("bpf"))
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
