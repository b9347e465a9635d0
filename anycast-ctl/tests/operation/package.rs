//! The life of the Debian package under systemd: installed, started, upgraded beside a session, removed, purged.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::{
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN, MIB, SOON, transfer},
        stage::Lab,
        topology::S1,
    },
    net::{Site, wait},
    package::{rpm, sbom},
    toolchain::crate_tool,
};

use super::{
    machine::{self, Machine},
    unit::{LINKS, unharmed},
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
const LONG: Duration = Duration::from_secs(60);
const DEB: &str = "/anycast.deb";

/// Why no package can be made and installed here, if so.
pub fn obstacle() -> Option<&'static str> {
    if xtask::package::find().is_none() {
        Some("cargo-deb is not installed: cargo xtask package does that")
    } else if xtask::process::find("dpkg").is_none() {
        Some("dpkg is not installed")
    } else if xtask::process::find("pgrep").is_none() {
        Some("procps is not installed")
    } else {
        machine::obstacle()
    }
}

/// Why the package cannot be tried on each Debian here, if so.
pub fn debians_obstacle() -> Option<&'static str> {
    if std::env::var_os("ANYCAST_LONG").is_none() {
        Some("ANYCAST_LONG is not set: it downloads two Debian systems")
    } else if xtask::package::find().is_none() {
        Some("cargo-deb is not installed: cargo xtask package does that")
    } else if xtask::process::find("mmdebstrap").is_none() {
        Some("mmdebstrap is not installed")
    } else {
        None
    }
}

/// On a new Debian 12 and 13 the package is installed with nothing beside it, runs, and is purged.
pub fn debians() -> Result<()> {
    let tool = xtask::package::find().context("no cargo-deb")?;
    xtask::package::glibc::fits(Path::new(DAEMON))?;
    let directory = xtask::workspace().join("target/package");
    let package = xtask::package::make(&tool, Path::new(DAEMON), &directory, false)?;
    // On a disk: a system has 200 MB.
    let scratch = xtask::workspace().join("target/debians");
    let result = (|| {
        for suite in ["bookworm", "trixie"] {
            std::fs::create_dir_all(&scratch)?;
            let root = scratch.join(suite);
            let mut command = Command::new("mmdebstrap");
            command.args(["--quiet", "--variant=minbase", "--mode=root", suite]);
            run(command.arg(&root))?;
            if suite == "bookworm" && xtask::process::find("buildah").is_some() {
                image(&scratch, &root, &package).context("the container")?;
            }
            installed(&root, &package).context(suite)?;
            std::fs::remove_dir_all(&scratch)?;
        }
        Ok(())
    })();
    let _ = std::fs::remove_dir_all(&scratch);
    result
}

fn installed(root: &Path, package: &Path) -> Result<()> {
    std::fs::copy(package, root.join("anycast.deb"))?;
    let inside = |words: &[&str]| run(Command::new("chroot").arg(root).args(words));
    inside(&["dpkg", "-i", DEB])?;
    let version = inside(&["anycast-ctl", "--version"])?;
    ensure!(version.starts_with("anycast-ctl "), "{version}");
    let example = "/usr/share/doc/anycast/examples/router.toml";
    inside(&["anycast-ctl", "check", example])?;
    inside(&["dpkg", "--purge", "anycast"])?;
    for left in ["usr/sbin/anycast-ctl", "etc/anycast", "etc/default/anycast"] {
        ensure!(!root.join(left).exists(), "a purge leaves {left}");
    }
    Ok(())
}

/// An image by the Containerfile, with this system as its base.
fn image(scratch: &Path, root: &Path, package: &Path) -> Result<()> {
    let context = scratch.join("context");
    std::fs::create_dir_all(&context)?;
    std::fs::copy(package, context.join("anycast.deb"))?;
    let file = xtask::workspace().join("contrib/container/Containerfile");
    std::fs::copy(file, context.join("Containerfile"))?;
    let buildah = |words: &[&str], path: Option<&Path>| {
        let mut command = Command::new("buildah");
        command
            .env("STORAGE_DRIVER", "vfs")
            .env("BUILDAH_ISOLATION", "chroot");
        command.arg("--root").arg(scratch.join("store"));
        command.arg("--runroot").arg(scratch.join("run"));
        let said = run(command.args(words).args(path))?;
        Ok::<_, anyhow::Error>(said.trim().to_owned())
    };
    let base = buildah(&["from", "scratch"], None)?;
    buildah(&["add", "--quiet", &base], Some(root))?;
    buildah(&["commit", "--quiet", &base, "localhost/base"], None)?;
    let build = [
        "build",
        "--quiet",
        "--build-arg",
        "BASE=localhost/base",
        "--tag",
        "anycast",
    ];
    buildah(&build, Some(&context))?;
    let container = buildah(&["from", "localhost/anycast"], None)?;
    let version = buildah(&["run", &container, "--", "anycast-ctl", "--version"], None)?;
    ensure!(version.starts_with("anycast-ctl "), "{version}");
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Why no RPM package can be made and read here, if so.
pub fn rpm_obstacle() -> Option<&'static str> {
    if crate_tool::find(rpm::TOOL).is_none() {
        Some(
            "cargo-generate-rpm is not installed: cargo xtask package does that, or ANYCAST_LONG=1",
        )
    } else if xtask::process::find("rpm").is_none() {
        Some("rpm is not installed")
    } else {
        None
    }
}

/// The RPM package is installed in an empty directory, and has the files of the Debian package.
pub fn rpm() -> Result<()> {
    let tool = crate_tool::find(rpm::TOOL).context("no cargo-generate-rpm")?;
    let site = Site::claim("acrpm")?;
    let root = site.directory().join("root");
    std::fs::create_dir(&root)?;
    let directory = xtask::workspace().join("target/package");
    xtask::package::generate(Path::new(DAEMON), &directory)?;
    let package = rpm::make(&tool, &directory, "dev")?;
    let rpm = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new("rpm");
        command
            .arg("--root")
            .arg(&root)
            .args(arguments)
            .arg(&package);
        run(&mut command)
    };
    let files = rpm(&["--query", "--list", "--package"])?;
    for file in [
        "/usr/sbin/anycast-ctl",
        "/usr/lib/systemd/system/anycast.service",
        "/usr/share/man/man1/anycast-ctl-status.1",
        "/usr/share/bash-completion/completions/anycast-ctl",
        "/usr/share/doc/anycast/examples/router.toml",
        "/etc/default/anycast",
    ] {
        ensure!(files.lines().any(|line| line == file), "no {file}: {files}");
    }
    let configured = rpm(&["--query", "--configfiles", "--package"])?;
    ensure!(configured.contains("/etc/default/anycast"), "{configured}");
    // The root has no system that it depends on, and nothing to run scripts with.
    rpm(&["--install", "--nodeps", "--noscripts"])?;
    let said = run(Command::new(root.join("usr/sbin/anycast-ctl")).arg("--version"))?;
    ensure!(said.starts_with("anycast-ctl "), "{said}");
    Ok(())
}

/// Why nobody can list what the daemon is made of here, if so.
pub fn sbom_obstacle() -> Option<&'static str> {
    let found = crate_tool::find(sbom::TOOL);
    found.is_none().then_some(
        "cargo-cyclonedx is not installed: cargo xtask package does that, or ANYCAST_LONG=1",
    )
}

/// The list has what the daemon is made of, and nothing of tests or of the machine where it was made.
pub fn sbom() -> Result<()> {
    let tool = crate_tool::find(sbom::TOOL).context("no cargo-cyclonedx")?;
    let site = Site::claim("acsbom")?;
    let list = std::fs::read_to_string(sbom::make(&tool, site.directory())?)?;
    let workspace = xtask::workspace();
    ensure!(!list.contains(&workspace.display().to_string()), "{list}");
    let list: serde_json::Value = serde_json::from_str(&list)?;
    ensure!(list["bomFormat"] == "CycloneDX", "{list}");
    let components = list["components"].as_array().cloned().unwrap_or_default();
    let has = |name: &str| components.iter().any(|it| it["name"] == name);
    for name in ["anycast-common", "aya", "tokio", "clap"] {
        ensure!(has(name), "no {name} among {} components", components.len());
    }
    ensure!(!has("proptest"), "crates of tests are in it");
    let left = workspace.join("anycast-ctl").join("anycast.cdx.json");
    ensure!(!left.exists(), "{} is left", left.display());
    Ok(())
}

/// `SHA256SUMS` verifies what it stands beside, and that alone.
pub fn sums() -> Result<()> {
    let tools = [rpm::TOOL, sbom::TOOL].map(crate_tool::find);
    let [Some(rpm_tool), Some(sbom_tool)] = tools else {
        bail!("no tools");
    };
    let site = Site::claim("acsums")?;
    let directory = site.directory();
    // Its man pages are taken from there.
    xtask::package::generate(
        Path::new(DAEMON),
        &xtask::workspace().join("target/package"),
    )?;
    let made = [
        rpm::make(&rpm_tool, directory, "dev")?,
        sbom::make(&sbom_tool, directory)?,
    ];
    xtask::package::checksums(directory, &made)?;
    let check = || {
        let mut command = Command::new("sha256sum");
        command.args(["--check", "--strict", "SHA256SUMS"]);
        run(command.current_dir(directory))
    };
    let said = check()?;
    ensure!(said.lines().count() == made.len(), "{said}");
    for file in &made {
        let right = std::fs::read(file)?;
        let mut wrong = right.clone();
        *wrong.last_mut().context("an empty file")? ^= 1;
        std::fs::write(file, wrong)?;
        ensure!(check().is_err(), "{} may be another", file.display());
        std::fs::write(file, right)?;
    }
    check().map(drop)
}

pub fn life() -> Result<()> {
    let tool = xtask::package::find().context("no cargo-deb")?;
    let directory = xtask::workspace().join("target/package");
    let package: PathBuf = xtask::package::make(&tool, Path::new(DAEMON), &directory, false)?;
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    lab.start(&["router", "gateway"])?;
    // The packages of this machine, on which ours depends; its own part of the file system is the machine's as well.
    let status = Path::new("/var/lib/dpkg/status");
    let machine = Machine::boot(
        lab.network.server(S1),
        lab.network.site().directory(),
        &[(&package, &DEB[1..]), (status, "var/lib/dpkg/status")],
    )?;
    machine.tell(&[
        "mkdir",
        "-p",
        "/var/lib/dpkg/info",
        "/var/lib/dpkg/updates",
        "/var/log",
    ])?;
    let before = files(&machine)?;
    machine.tell(&["dpkg", "-i", DEB])?;
    for (shell, path) in [
        ("bash", "/usr/share/bash-completion/completions/anycast-ctl"),
        ("man", "/usr/share/man/man1/anycast-ctl-status.1.gz"),
        ("unit", "/usr/lib/systemd/system/anycast.service"),
        ("example", "/usr/share/doc/anycast/examples/router.toml"),
    ] {
        machine.tell(&["test", "-f", path]).context(shell)?;
    }
    ensure!(
        machine.property("ActiveState")? == "inactive",
        "it started unasked"
    );
    let example = "/usr/share/doc/anycast/examples/member-s1.toml";
    machine.tell(&["cp", example, "/etc/anycast/anycast.toml"])?;
    machine.tell(&["systemctl", "enable", "--now", "anycast"])?;
    wait::poll(LONG, ASK_AGAIN, "the router knows the member", || {
        let members = lab.daemon("router")?.list("members")?;
        Ok((members.len() == 1).then_some(()))
    })?;
    let mut report = Report::begin(true);
    let mut session = report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;

    ensure!(is_running(&machine)?, "pgrep does not see the daemon");
    let daemon = machine.property("MainPID")?;
    machine.tell(&["dpkg", "-i", DEB])?;
    ensure!(
        machine.property("MainPID")? != daemon,
        "the upgrade starts no daemon"
    );
    ensure!(
        machine.property("ActiveState")? == "active",
        "{}",
        machine.journal()
    );
    unharmed(transfer(&lab, &mut session, MIB, SOON, LINKS)?.1)?;
    session.visitor.tell("finish")?;
    session.visitor.event("finished", SOON)?;

    machine.tell(&["dpkg", "--remove", "anycast"])?;
    ensure!(!is_running(&machine)?, "a removal leaves the daemon");
    machine.tell(&["test", "-f", "/etc/anycast/anycast.toml"])?;
    machine.tell(&["dpkg", "--purge", "anycast"])?;
    let left = files(&machine)?;
    let left: Vec<_> = left.lines().filter(|file| !before.contains(file)).collect();
    ensure!(left.is_empty(), "a purge leaves {left:?}");
    let pinned = machine.tell(&["find", "/sys/fs/bpf", "-path", "*anycast/*/*"])?;
    ensure!(pinned.is_empty(), "a removal leaves {pinned}");
    Ok(())
}

/// Whether a daemon runs. pgrep ends with 0 where it finds one, with 1 where it finds none, and else in an error.
fn is_running(machine: &Machine) -> Result<bool> {
    let output = machine.run(&["pgrep", "-x", "anycast-ctl"])?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => bail!("pgrep: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// What there is of ours.
fn files(machine: &Machine) -> Result<String> {
    machine.tell(&[
        "find",
        "/etc",
        "/usr",
        "/var",
        "-name",
        "*anycast*",
        "-not",
        "-path",
        "/usr/share/doc/*",
    ])
}
