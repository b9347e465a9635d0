//! Finds what the BPF build needs: the compiler, the source of `core`, and bpf-linker.
//!
//! `anycast-ctl/build.rs` includes this file as well, so that the setup and the build always agree on what is found.
//! That is why this file uses only `std` and installs nothing.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The bpf-linker that is built when the machine has no suitable one.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";

/// Target triple of the kernel's virtual machine, whose byte order is that of the machine.
pub(crate) fn bpf_target(big_endian: bool) -> &'static str {
    if big_endian {
        "bpfeb-unknown-none"
    } else {
        "bpfel-unknown-none"
    }
}

/// How the kernel side is compiled for a machine of this architecture, as the value of `CARGO_ENCODED_RUSTFLAGS`. All
/// builds of it use the same value, so that they share the compiled `core`.
pub(crate) fn bpf_rustflags(arch: &str, linker: &Path) -> String {
    [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(), // BTF is made from it
        "-Clink-arg=--btf".to_owned(),
        // Without this option every `memset`, even of three octets, becomes a call and a loop.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        format!("-Clinker={}", linker.display()),
    ]
    .join("\x1f")
}

/// What is missing, in words for a person.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// The compiler that cargo uses in this workspace.
#[derive(Debug)]
pub(crate) struct Rustc {
    /// Version of the compiler, such as `1.95.0`.
    pub(crate) release: String,
    /// Major version of the LLVM that writes the compiler's bitcode.
    pub(crate) llvm: u32,
    /// Directory of the compiler's libraries.
    pub(crate) sysroot: PathBuf,
}

impl Rustc {
    /// Asks the compiler `program` about itself. It runs in `directory`, since rustup chooses a toolchain by directory.
    pub(crate) fn query(program: &OsStr, directory: &Path) -> Result<Self, Missing> {
        let ask = |arguments: &[&str]| {
            let output = Command::new(program)
                .args(arguments)
                .current_dir(directory)
                .stdin(Stdio::null())
                .output()
                .map_err(|error| Missing(format!("cannot run {}: {error}", program.display())))?;
            if output.status.success() {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            } else {
                let reason = String::from_utf8_lossy(&output.stderr);
                Err(Missing(format!(
                    "{} does not work: {}",
                    program.display(),
                    reason.trim()
                )))
            }
        };
        let version = ask(&["-vV"])?;
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
                .ok_or_else(|| Missing(format!("`rustc -vV` does not say its `{name}`")))
        };
        let llvm = field("LLVM version:")?;
        Ok(Self {
            release: field("release:")?.to_owned(),
            llvm: major(llvm)
                .ok_or_else(|| Missing(format!("rustc has a strange LLVM version `{llvm}`")))?,
            sysroot: PathBuf::from(ask(&["--print", "sysroot"])?.trim()),
        })
    }

    /// Directory in which `-Z build-std` looks for the source of `core`.
    pub(crate) fn library(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust/library")
    }
}

/// Directory of the source of the standard library, or why it cannot be used.
pub(crate) fn rust_src(rustc: &Rustc) -> Result<PathBuf, Missing> {
    let library = rustc.library();
    // Cargo needs the lock file, the compiler needs the source.
    if library.join("Cargo.lock").is_file() && library.join("core/src/lib.rs").is_file() {
        Ok(library)
    } else {
        Err(Missing(format!(
            "rust-src of Rust {} is not in {}",
            rustc.release,
            library.display()
        )))
    }
}

/// Directory in which the tools of this project are kept. It is outside of `target/`, so that a new clone finds them.
pub(crate) fn tools_dir() -> Result<PathBuf, Missing> {
    let set = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty());
    if let Some(directory) = set("ANYCAST_TOOLS_DIR") {
        return std::path::absolute(&directory)
            .map_err(|error| Missing(format!("ANYCAST_TOOLS_DIR cannot be used: {error}")));
    }
    if let Some(cache) = set("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(cache).join("anycast"));
    }
    let home = env::home_dir().filter(|home| !home.as_os_str().is_empty());
    home.map(|home| home.join(".cache/anycast"))
        .ok_or_else(|| Missing("neither ANYCAST_TOOLS_DIR nor HOME is set".to_owned()))
}

/// Directory of our own bpf-linker. It belongs to one compiler, whose LLVM it uses.
pub(crate) fn own_linker_root(tools: &Path, rustc: &Rustc) -> PathBuf {
    tools.join(format!(
        "bpf-linker-{BPF_LINKER_VERSION}-rust-{}",
        rustc.release
    ))
}

/// Finds a bpf-linker that can read the bitcode of `rustc`: first on `PATH`, then our own.
pub(crate) fn bpf_linker(rustc: &Rustc, tools: &Path) -> Result<PathBuf, Missing> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|directory| directory.join("bpf-linker"));
    let own = own_linker_root(tools, rustc).join("bin/bpf-linker");
    let mut refused = String::new();
    for linker in on_path.chain([own]).filter(|linker| linker.is_file()) {
        match linker_llvm(&linker) {
            // LLVM reads the bitcode of older versions, but not of newer ones.
            Some(llvm) if llvm >= rustc.llvm => return Ok(linker),
            Some(llvm) => {
                refused = format!(" ({} has LLVM {llvm}, too old)", linker.display());
            }
            None => refused = format!(" ({} does not run)", linker.display()),
        }
    }
    Err(Missing(format!(
        "no bpf-linker with LLVM {} or newer on PATH or in {}{refused}",
        rustc.llvm,
        tools.display()
    )))
}

/// Major version of the LLVM in a bpf-linker, which `bpf-linker --version` does not show.
pub(crate) fn linker_llvm(linker: &Path) -> Option<u32> {
    // LLVM handles its own `--version` option and exits before it opens any file.
    let output = Command::new(linker)
        .args(["--llvm-args=--version", "--output", "/dev/null"])
        .arg("/dev/null")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split("LLVM version").nth(1)?;
    major(version.trim())
}

fn major(version: &str) -> Option<u32> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
