//! A daemon on a machine of the lab. The lab talks to it only through its command line.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::net::{Namespace, Process, bpf, wait};

/// How long a daemon may take to start. The verifier may be busy for several daemons at once, on a machine that is busy
/// with other things.
const START: Duration = Duration::from_secs(60);
/// How often a daemon is asked for what is waited for.
const ASK: Duration = Duration::from_millis(100);

/// A running `anycast-ctl run`.
#[derive(Debug)]
pub struct Daemon {
    node: &'static str,
    program: PathBuf,
    socket: PathBuf,
    process: Process,
}

impl Daemon {
    /// Starts a daemon. Its socket and its log are in `directory`.
    pub fn start(
        program: &Path,
        node: &'static str,
        namespace: &Namespace,
        config: &Path,
        directory: &Path,
    ) -> Result<Self> {
        Self::start_with(program, node, namespace, config, directory, &[])
    }

    /// The same with more variables in its environment.
    pub fn start_with(
        program: &Path,
        node: &'static str,
        namespace: &Namespace,
        config: &Path,
        directory: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let socket = directory.join(format!("{node}.sock"));
        let mut command = namespace.command(program);
        command.envs(variables.iter().copied());
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

    /// Waits until the daemon's programs are attached and its socket listens.
    pub fn wait_ready(&self) -> Result<()> {
        let what = format!("{}'s daemon says that it is ready", self.node);
        self.process
            .wait_line(START, &what, 0, |line| is_ready(line).then_some(()))?;
        Ok(())
    }

    /// Whether the daemon has said so by now. It is an error if it has ended.
    pub fn is_ready(&mut self) -> Result<bool> {
        let ready = |lines: &[String]| lines.iter().any(|line| is_ready(line));
        let is_ready = self.process.output().read(|output| ready(&output.lines));
        ensure!(
            is_ready || self.process.runs(),
            "{}'s daemon has ended: {}",
            self.node,
            self.tail(5).join(" | ")
        );
        Ok(is_ready)
    }

    /// Name of the machine on which it runs.
    pub fn node(&self) -> &'static str {
        self.node
    }

    /// The process of the daemon.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Reads an entry of one of the daemon's BPF maps from the kernel, without asking the daemon.
    pub fn map_entry(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        bpf::lookup(self.process.id(), map, key)
    }

    /// Writes entries into one of the daemon's maps.
    pub fn fill_map(
        &self,
        map: &str,
        entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<()> {
        bpf::insert(self.process.id(), map, entries)
    }

    /// The last lines of the daemon's log.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        self.process.tail(lines)
    }

    /// The command line by which a person would ask this daemon.
    pub fn command_line(&self) -> String {
        let (program, socket) = (self.program.display(), self.socket.display());
        format!("{program} --socket {socket}")
    }

    /// Runs a command of `anycast-ctl` and gives its output.
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

    /// Starts a command of `anycast-ctl` that takes some time. `name` is used in logs.
    pub fn start_telling(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.arg("--socket").arg(&self.socket).args(arguments);
        let log = self.socket.with_extension(name);
        Process::start(&format!("{}'s {name}", self.node), command, &log)
    }

    /// Runs a query and gives the answer as JSON.
    pub fn ask(&self, query: &str) -> Result<Value> {
        let text = self.tell(&[query, "--json"])?;
        serde_json::from_str(&text)
            .with_context(|| format!("{}: anycast-ctl {query} --json says {text}", self.node))
    }

    /// The codes of what `status --check` finds, which has to fail exactly where it finds something.
    pub fn problems(&self) -> Result<Vec<String>> {
        let output = Command::new(&self.program)
            .arg("--socket")
            .arg(&self.socket)
            .args(["status", "--check", "--json"])
            .output()?;
        let problems: Vec<Value> = serde_json::from_slice(&output.stdout)?;
        let (sound, status) = (problems.is_empty(), output.status);
        ensure!(
            status.success() == sound,
            "{}: {status}: {problems:?}",
            self.node
        );
        let code = |problem: &Value| problem["code"].as_str().map(str::to_owned);
        Ok(problems.iter().filter_map(code).collect())
    }

    /// Waits until these are the codes of what `status --check` finds.
    pub fn wait_problems(&self, expected: &[&str]) -> Result<()> {
        let mut last = Vec::new();
        let found = wait::poll(START, ASK, "status --check finds it", || {
            last = self.problems()?;
            Ok((last == expected).then_some(()))
        });
        found.with_context(|| format!("{}: {last:?} instead of {expected:?}", self.node))
    }

    /// The entries of a query whose answer is a list.
    pub fn list(&self, query: &str) -> Result<Vec<Value>> {
        match self.ask(query)? {
            Value::Array(entries) => Ok(entries),
            other => bail!("{}: anycast-ctl {query}: no list: {other}", self.node),
        }
    }

    /// Starts a monitor, which prints a line of JSON for each event, and waits until it receives events.
    pub fn monitor(&self) -> Result<Process> {
        let process = self.start_telling("monitor", &["monitor", "--json"])?;
        process.wait_line(START, "the monitor watches", 0, |line| {
            line.starts_with("watching").then_some(())
        })?;
        Ok(process)
    }

    /// Value of a counter of the data plane or the controller. Zero when there is no counter of this name.
    pub fn counter(&self, side: &str, name: &str) -> Result<u64> {
        Ok(self.ask("counters")?[side][name].as_u64().unwrap_or(0))
    }

    /// Ends the daemon as an administrator would, and gives its exit status.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.process.end()
    }

    /// Kills the daemon, as in a crash.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

/// Whether a daemon says by this line of its log that it is ready.
fn is_ready(line: &str) -> bool {
    let mut words = line.split(|c: char| !c.is_alphanumeric());
    words.any(|word| word == "ready")
}
