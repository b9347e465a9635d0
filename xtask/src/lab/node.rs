//! The daemon on a machine of the lab, asked only by its own command line.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::net::{Namespace, Process, bpf};

/// The verifier may be at work for several daemons at once, on a machine that is busy with other things.
const START: Duration = Duration::from_secs(60);

/// A running `anycast-ctl run`.
#[derive(Debug)]
pub struct Daemon {
    node: &'static str,
    program: PathBuf,
    socket: PathBuf,
    process: Process,
}

impl Daemon {
    /// Starts one. Its socket and its log lie in `directory`.
    pub fn start(
        program: &Path,
        node: &'static str,
        namespace: &Namespace,
        config: &Path,
        directory: &Path,
    ) -> Result<Self> {
        let socket = directory.join(format!("{node}.sock"));
        let mut command = namespace.command(program);
        command.arg("--socket").arg(&socket);
        command.arg("run").arg("--config").arg(config);
        let log = directory.join(format!("{node}.log"));
        let process = Process::start(&format!("{node}'s daemon"), command, &log)?;
        Ok(Self {
            node,
            program: program.to_owned(),
            socket,
            process,
        })
    }

    /// Waits until its programs are attached and its socket listens.
    pub fn wait_ready(&self) -> Result<()> {
        let what = format!("{}'s daemon says that it is ready", self.node);
        self.process.wait_line(START, &what, 0, |line| {
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            words.any(|word| word == "ready").then_some(())
        })?;
        Ok(())
    }

    /// The machine that it runs on.
    pub fn node(&self) -> &'static str {
        self.node
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// An entry of one of its BPF maps, read from the kernel and not from the daemon.
    pub fn map_entry(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        bpf::lookup(self.process.id(), map, key)
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        self.process.tail(lines)
    }

    /// How a person would ask it.
    pub fn command_line(&self) -> String {
        let (program, socket) = (self.program.display(), self.socket.display());
        format!("{program} --socket {socket}")
    }

    /// Runs a command of the CLI and gives what it prints.
    pub fn tell(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.program)
            .arg("--socket")
            .arg(&self.socket)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        ensure!(
            output.status.success(),
            "{}: anycast-ctl {}: {}",
            self.node,
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Starts a command of the CLI that takes its time. Its name is for logs.
    pub fn start_telling(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.arg("--socket").arg(&self.socket).args(arguments);
        let log = self.socket.with_extension(name);
        Process::start(&format!("{}'s {name}", self.node), command, &log)
    }

    /// Asks something and gives the answer as data.
    pub fn ask(&self, query: &str) -> Result<Value> {
        let text = self.tell(&[query, "--json"])?;
        serde_json::from_str(&text)
            .with_context(|| format!("{}: anycast-ctl {query} --json says {text}", self.node))
    }

    /// The entries of a query that answers with a list.
    pub fn list(&self, query: &str) -> Result<Vec<Value>> {
        match self.ask(query)? {
            Value::Array(entries) => Ok(entries),
            other => bail!("{}: anycast-ctl {query}: no list: {other}", self.node),
        }
    }

    /// Starts its monitor, which says a line of JSON for each event, and waits until it watches.
    pub fn monitor(&self) -> Result<Process> {
        let process = self.start_telling("monitor", &["monitor", "--json"])?;
        process.wait_line(START, "the monitor watches", 0, |line| {
            line.starts_with("watching").then_some(())
        })?;
        Ok(process)
    }

    /// One counter of the data plane or the controller; 0 when it has none of the name.
    pub fn counter(&self, side: &str, name: &str) -> Result<u64> {
        Ok(self.ask("counters")?[side][name].as_u64().unwrap_or(0))
    }

    /// Asks it to end as an administrator would, and gives how it ended.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.process.end()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}
