//! The life of the Debian package under systemd: installed, started, upgraded beside a session, removed, purged.

use std::{
    path::{Path, PathBuf},
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
    net::wait,
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
