//! Finds what the BPF build needs: the compiler, the source of `core`, and bpf-linker.
//!
//! `anycast-ctl/build.rs` includes this file too, so that "setup says ready" and "the build finds
//! it" can never disagree. That is why it uses nothing but `std`, and installs nothing.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The bpf-linker that is built when the machine has no suitable one.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";

/// The triple of the kernel's virtual machine, which has the byte order of the real one.
pub(crate) fn bpf_target(big_endian: bool) -> &'static str {
    if big_endian {
        "bpfeb-unknown-none"
    } else {
        "bpfel-unknown-none"
    }
}

/// How the kernel side is compiled for a machine of this architecture, for
/// `CARGO_ENCODED_RUSTFLAGS`. Everything that compiles it uses the same, and so shares its `core`.
pub(crate) fn bpf_rustflags(arch: &str, linker: &Path) -> String {
    [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(), // BTF is made from it
        "-Clink-arg=--btf".to_owned(),
        // Else every `memset`, of three octets or sixty, is a call and a loop.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        format!("-Clinker={}", linker.display()),
    ]
    .join("\x1f")
}

/// What is not there, in words for a person.
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
    /// `1.95.0`
    pub(crate) release: String,
    /// Major version of the LLVM that writes its bitcode.
    pub(crate) llvm: u32,
    /// Where its libraries are.
    pub(crate) sysroot: PathBuf,
}

impl Rustc {
    /// Asks `program`, run in `directory` because rustup chooses a toolchain by directory.
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

    /// Where `-Z build-std` looks for the source of `core`.
    pub(crate) fn library(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust/library")
    }
}

/// The source of the standard library, or why it cannot be used.
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

/// Where the tools of this project are kept: outside `target/`, so that a new clone finds them.
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

/// Where our own bpf-linker is. It is tied to the compiler whose LLVM it borrows.
pub(crate) fn own_linker_root(tools: &Path, rustc: &Rustc) -> PathBuf {
    tools.join(format!(
        "bpf-linker-{BPF_LINKER_VERSION}-rust-{}",
        rustc.release
    ))
}

/// A bpf-linker that can read the bitcode of `rustc`: on `PATH`, else our own.
pub(crate) fn bpf_linker(rustc: &Rustc, tools: &Path) -> Result<PathBuf, Missing> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|directory| directory.join("bpf-linker"));
    let own = own_linker_root(tools, rustc).join("bin/bpf-linker");
    let mut refused = String::new();
    for linker in on_path.chain([own]).filter(|linker| linker.is_file()) {
        match linker_llvm(&linker) {
            // LLVM reads the bitcode of older versions, not of newer ones.
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

/// The LLVM of a bpf-linker, which `bpf-linker --version` keeps to itself.
pub(crate) fn linker_llvm(linker: &Path) -> Option<u32> {
    // LLVM answers its own `--version` and exits before it looks at the files.
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
