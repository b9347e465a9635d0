//! Makes the Debian package of the daemon, by cargo-deb, an RPM package with the same files, by rpmbuild, the list of
//! what is in the daemon, and a file of checksums beside them.

pub mod glibc;
pub mod rpm;
pub mod sbom;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    build, process,
    toolchain::{self, crate_tool},
};

const TOOL: &str = "cargo-deb";
/// The version that is built where there is none.
const VERSION: &str = "3.8.0";
/// Where zsh, bash and fish look for the completions of a program.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "anycast-ctl.bash"),
    ("zsh", "_anycast-ctl"),
    ("fish", "anycast-ctl.fish"),
];

/// Builds the packages and what stands beside them, and gives their paths.
pub fn package(release: bool) -> Result<Vec<PathBuf>> {
    let deb = tool()?;
    let sbom = sbom_tool()?;
    let [rpmbuild, package] = rpm::TOOL;
    toolchain::require(rpmbuild, package)?;
    let daemon = build::build(release)?.daemon;
    glibc::fits(&daemon)?;
    let directory = crate::workspace().join("target/package");
    let made = vec![
        make(&deb, &daemon, &directory, release)?,
        rpm::make(&daemon, &directory, release)?,
        sbom::make(&sbom, &directory)?,
    ];
    checksums(&directory, &made)?;
    Ok(made)
}

/// The path of cargo-deb, if it is there.
#[must_use]
pub fn find() -> Option<PathBuf> {
    crate_tool::find(TOOL)
}

/// The path of cargo-deb, which is built where it is not there.
pub fn tool() -> Result<PathBuf> {
    // It compresses with the xz of the distribution then.
    crate_tool::require(TOOL, VERSION, &["--no-default-features"])
}

/// The path of cargo-cyclonedx, which is built where it is not there. That takes minutes, so that tests do without it
/// unless somebody has time.
pub fn sbom_tool() -> Result<PathBuf> {
    crate_tool::require(sbom::TOOL, sbom::VERSION, &[])
}

/// Makes the package of this daemon in `directory`.
pub fn make(tool: &Path, daemon: &Path, directory: &Path, release: bool) -> Result<PathBuf> {
    generate(daemon, directory)?;
    let mut deb = Command::new(tool);
    deb.current_dir(crate::workspace());
    deb.args(["--no-build", "--package", "anycast-ctl", "--output"])
        .arg(directory);
    if !release {
        // Compressing what is not optimised is most of the work.
        deb.args(["--profile", "dev", "--fast"]);
    }
    let said = process::capture_ok(&mut deb, "cargo-deb", std::time::Duration::from_secs(300))?;
    let path = said
        .lines()
        .map(str::trim)
        .find(|line| line.ends_with(".deb"));
    let package = PathBuf::from(path.context("cargo-deb names no package")?);
    checksums(directory, std::slice::from_ref(&package))?;
    Ok(package)
}

/// Man pages and completions, by the daemon itself.
pub fn generate(daemon: &Path, directory: &Path) -> Result<()> {
    let man = directory.join("man");
    let completions = directory.join("completions");
    for made in [&man, &completions] {
        if made.exists() {
            fs::remove_dir_all(made)?;
        }
        fs::create_dir_all(made)?;
    }
    run(Command::new(daemon).arg("man").arg(&man))?;
    for (shell, name) in COMPLETIONS {
        let script = run(Command::new(daemon).args(["completions", shell]))?;
        fs::write(completions.join(name), script)?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// `sha256sum --check SHA256SUMS` verifies these files, which are in the directory.
pub fn checksums(directory: &Path, files: &[PathBuf]) -> Result<()> {
    let names = files.iter().filter_map(|file| file.file_name());
    let sums = run(Command::new("sha256sum").args(names).current_dir(directory))?;
    fs::write(directory.join("SHA256SUMS"), sums)?;
    Ok(())
}
