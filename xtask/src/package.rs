//! Makes the Debian package of the daemon, by cargo-deb, with a file of checksums beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    build,
    process::{self, say},
    toolchain::{self, may_install},
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

/// Builds the package and gives its path. Without `release`, the daemon in it is not optimised, for tests.
pub fn package(release: bool) -> Result<PathBuf> {
    let tool = tool()?;
    let daemon = build::build(release)?.daemon;
    let directory = crate::workspace().join("target/package");
    make(&tool, &daemon, &directory, release)
}

/// The path of cargo-deb, if it is there.
#[must_use]
pub fn find() -> Option<PathBuf> {
    let own = toolchain::tools_directory()?
        .join(TOOL)
        .join("bin")
        .join(TOOL);
    process::find(TOOL).or_else(|| own.is_file().then_some(own))
}

/// The path of cargo-deb, which is built where it is not there.
pub fn tool() -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    if !may_install() {
        bail!("{TOOL} is missing, and ANYCAST_NO_INSTALL forbids to install it");
    }
    let root = toolchain::tools_directory().context("there is no place for tools")?;
    let root = root.join(TOOL);
    say(format_args!(
        "building {TOOL} {VERSION} into {}; this takes a minute or two",
        root.display()
    ));
    let mut install = toolchain::cargo();
    // It compresses with the xz of the distribution then.
    install.args([
        "install",
        TOOL,
        "--version",
        VERSION,
        "--locked",
        "--no-default-features",
        "--root",
    ]);
    install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    process::show(install.arg(&root), "building cargo-deb")?;
    find().with_context(|| format!("{TOOL} was built and is not there"))
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
    checksums(directory, &package)?;
    Ok(package)
}

/// Man pages and completions, by the daemon itself.
fn generate(daemon: &Path, directory: &Path) -> Result<()> {
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

/// `sha256sum --check SHA256SUMS` verifies the package.
fn checksums(directory: &Path, package: &Path) -> Result<()> {
    let name = package.file_name().context("a package without a name")?;
    let parent = package.parent().context("a package without a directory")?;
    let sums = run(Command::new("sha256sum").arg(name).current_dir(parent))?;
    fs::write(directory.join("SHA256SUMS"), sums)?;
    Ok(())
}
