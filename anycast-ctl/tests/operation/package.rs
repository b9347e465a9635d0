//! The life of the Debian package under systemd: installed, started, upgraded beside a session, removed, purged.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use xtask::{
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN, Carried, MIB, SOON, Session, carried, transfer},
        stage::Lab,
        topology::S1,
    },
    net::wait,
    package::rpm,
};

use super::{
    machine::{self, Machine},
    unit::{LINKS, unharmed},
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
const LONG: Duration = Duration::from_secs(60);
const DEB: &str = "/anycast.deb";
/// What a session exchanges each way, again and again, while the package is upgraded.
const PIECE: u64 = 16 * MIB;
/// Man pages and completions of all packages are made in one place.
static MAKES: Mutex<()> = Mutex::new(());

/// Makes the Debian package of this daemon.
fn package() -> Result<PathBuf> {
    let _alone = MAKES.lock().unwrap_or_else(PoisonError::into_inner);
    debian(&xtask::workspace().join("target/package"))
}

/// Makes the Debian package and the RPM package in a directory of somebody's own.
pub(super) fn both(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    let _alone = MAKES.lock().unwrap_or_else(PoisonError::into_inner);
    let daemon = Path::new(DAEMON);
    // From there cargo-deb takes them.
    xtask::package::generate(daemon, &xtask::workspace().join("target/package"))?;
    let debian = debian(directory)?;
    Ok((debian, rpm::make(daemon, directory, false)?))
}

fn debian(directory: &Path) -> Result<PathBuf> {
    let tool = xtask::package::find().context("no cargo-deb")?;
    xtask::package::make(&tool, Path::new(DAEMON), directory, false)
}

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
    xtask::package::glibc::fits(Path::new(DAEMON))?;
    let package = package()?;
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

pub(super) fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

pub fn life() -> Result<()> {
    let package = package()?;
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
    upgraded(&lab, &machine, &mut session)?;
    whole(&lab, &session)?;
    ensure!(
        machine.property("MainPID")? != daemon,
        "the upgrade starts no daemon"
    );
    ensure!(
        machine.property("ActiveState")? == "active",
        "{}",
        machine.journal()
    );
    session.visitor.tell("finish")?;
    session.visitor.event("finished", SOON)?;

    machine.tell(&["dpkg", "--remove", "anycast"])?;
    ensure!(!is_running(&machine)?, "a removal leaves the daemon");
    machine.tell(&["test", "-f", "/etc/anycast/anycast.toml"])?;
    machine.tell(&["dpkg", "--purge", "anycast"])?;
    let left = files(&machine)?;
    let left: Vec<_> = left.lines().filter(|file| !before.contains(file)).collect();
    ensure!(left.is_empty(), "a purge leaves {left:?}");
    let pinned = machine.tell(&["find", "/sys/fs/bpf", "-path", "*anycast*"])?;
    ensure!(pinned.is_empty(), "a removal leaves {pinned}");
    Ok(())
}

/// The same package is installed once more, which stops one daemon and starts another, while the session goes on.
fn upgraded(lab: &Lab, machine: &Machine, session: &mut Session) -> Result<()> {
    thread::scope(|scope| {
        let upgrade = scope.spawn(|| machine.tell(&["dpkg", "-i", DEB]));
        loop {
            // The last one begins when the package is installed.
            let is_over = upgrade.is_finished();
            unharmed(transfer(lab, session, PIECE, LONG, LINKS)?.1)?;
            if is_over {
                break;
            }
        }
        let upgraded = upgrade.join();
        upgraded.map_err(|_| anyhow!("dpkg panicked"))?.map(drop)
    })
}

/// The gateway has sent on each packet of the session that came to it, from the first one on: one that it lost would be
/// missing behind it for good, whatever TCP sent again.
fn whole(lab: &Lab, session: &Session) -> Result<()> {
    // To the member it comes from the clients' link, to the client from the other one.
    let sums = |carried: &Carried| {
        [0, 1].map(|direction| {
            let both = [carried.by_anycast, carried.by_care_of].map(|by| by[direction]);
            both.iter()
                .fold((0, 0), |sum, it| (sum.0 + it.packets, sum.1 + it.octets))
        })
    };
    let mut seen = Default::default();
    let what = "as many packets and octets before the gateway as behind it";
    let equal = wait::poll(SOON, ASK_AGAIN, what, || {
        seen = carried(lab, session, LINKS)?.map(|carried| sums(&carried));
        let [core, edge] = seen;
        let is_some = core.iter().all(|(packets, _)| *packets > 0);
        Ok((is_some && core == edge).then_some(()))
    });
    equal.with_context(|| format!("packets and octets behind it and before it: {seen:?}"))
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
