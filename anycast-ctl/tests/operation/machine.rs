//! A machine whose process 1 is the systemd of this distribution, in a network namespace.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use xtask::net::{Namespace, Process, wait};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operation/machine.sh");
const BOOT: Duration = Duration::from_secs(60);
/// systemd tells nobody outside of its machine.
const AGAIN: Duration = Duration::from_millis(50);

/// Why no such machine can be booted here, if so.
pub fn obstacle() -> Option<&'static str> {
    let there = Path::new("/usr/lib/systemd/systemd").exists();
    let nsenter = ["nsenter", "setpriv", "unshare"].map(xtask::process::find);
    if !there {
        Some("systemd is not installed")
    } else if nsenter.contains(&None) {
        Some("util-linux is not installed")
    } else {
        None
    }
}

/// A running machine. Dropping it ends all of its processes.
pub struct Machine {
    init: String,
    _process: Process,
}

impl Machine {
    /// Boots a machine with the network of `namespace` and these files, in a new directory of this name.
    pub fn boot(namespace: &Namespace, directory: &Path, files: &[(&Path, &str)]) -> Result<Self> {
        let tree = directory.join("tree");
        for (from, to) in files {
            let to = tree.join(to);
            fs::create_dir_all(to.parent().context("no directory")?)?;
            fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        let root: PathBuf = directory.join("machine");
        fs::create_dir_all(&root)?;
        let mut command = namespace.command("unshare");
        command.args(["--mount", SCRIPT]).arg(&root).arg(&tree);
        let process = Process::start("systemd", command, &directory.join("systemd.log"))?;
        let (init, _) = process.wait_line(BOOT, "systemd starts", 0, |line| {
            line.strip_prefix("process 1 is ").map(str::to_owned)
        })?;
        let machine = Self {
            init,
            _process: process,
        };
        wait::poll(BOOT, AGAIN, "systemd has started", || {
            let said = machine.run(&["systemctl", "is-system-running"])?;
            let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            Ok(["running", "degraded"]
                .contains(&said.as_str())
                .then_some(()))
        })?;
        Ok(machine)
    }

    /// Runs a command on the machine, whatever its result.
    pub fn run(&self, command: &[&str]) -> Result<Output> {
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &self.init, "--mount", "--pid", "--net"]);
        enter.args(["--wd=/", "--"]).args(command).env_clear();
        enter.env("PATH", "/usr/sbin:/usr/bin");
        enter.output().context("cannot run nsenter")
    }

    /// Runs a command on the machine, which must succeed, and gives what it prints.
    pub fn tell(&self, command: &[&str]) -> Result<String> {
        let output = self.run(command)?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(
            output.status.success(),
            "{}: {said} {}\n{}",
            command.join(" "),
            String::from_utf8_lossy(&output.stderr).trim(),
            self.journal()
        );
        Ok(said)
    }

    /// The value of a property of the unit.
    pub fn property(&self, name: &str) -> Result<String> {
        self.tell(&[
            "systemctl",
            "show",
            "--value",
            "--property",
            name,
            "anycast",
        ])
    }

    /// The last lines of the unit's journal.
    pub fn journal(&self) -> String {
        let _ = self.run(&["journalctl", "--sync"]);
        let arguments = ["journalctl", "--no-pager", "-u", "anycast", "-n", "30"];
        match self.run(&arguments) {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("no journal: {error:#}"),
        }
    }
}
