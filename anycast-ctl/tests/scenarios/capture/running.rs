//! A capture that runs, and what it says at its end.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use xtask::{
    lab::{scenario::SOON, stage::Lab},
    net::{Namespace, Process},
};

use super::frames::{Frame, read};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");

/// A capture that runs.
pub struct Running {
    pub process: Process,
    file: PathBuf,
}

impl Running {
    pub fn start(lab: &Lab, name: &str, machine: &Namespace, filter: &[&str]) -> Result<Self> {
        let directory = lab.network.site().directory();
        let file = directory.join(format!("{name}.pcapng"));
        Self::start_to(file, name, machine, filter)
    }

    pub fn start_to(
        file: PathBuf,
        name: &str,
        machine: &Namespace,
        filter: &[&str],
    ) -> Result<Self> {
        let mut command = machine.command(DAEMON);
        command.arg("capture").arg(&file).arg("--json").args(filter);
        let log = file.with_file_name(format!("{name}.capture"));
        let process = Process::start(name, command, &log)?;
        process.wait_line(SOON, "it captures", 0, |line| {
            line.starts_with("capturing anycast_").then_some(())
        })?;
        Ok(Self { process, file })
    }

    /// Ends it as Ctrl-C does, and gives what it says and what tshark reads.
    pub fn end(self) -> Result<(Value, Vec<Frame>)> {
        self.process.signal(Signal::SIGINT)?;
        let file = self.file.clone();
        Ok((self.ended()?, read(&file)?))
    }

    /// What it says when it has ended by itself.
    pub fn ended(mut self) -> Result<Value> {
        let status = self.process.wait_end(SOON)?;
        let said = self.process.tail(usize::MAX).join("\n");
        ensure!(status.success(), "{said}");
        let json = said.find('{').and_then(|at| said.get(at..));
        Ok(serde_json::from_str(json.context("no JSON")?)?)
    }
}

/// A number of what is said at the end.
pub fn count(of: &Value, what: &str) -> Result<u64> {
    of[what].as_u64().with_context(|| format!("{of}: {what}"))
}
