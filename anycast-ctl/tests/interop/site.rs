//! The lab's network with one daemon of ours and one peer, and what a row of a table is.

use std::{collections::BTreeMap, fs, net::Ipv6Addr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use xtask::{
    lab::{
        node::Daemon,
        topology::{B, Network, S1},
    },
    net::{Namespace, Process, netlink, process::Output},
};

/// A client that no row uses: the peer asks it last, to know when everything else is answered.
pub const FENCE: &str = "2001:db8:1::fe";

pub const SOON: Duration = Duration::from_secs(15);
pub const ASK_AGAIN: Duration = Duration::from_millis(20);
/// The care-of address of s1.
pub const C: Ipv6Addr = S1.care_of.unwrap();
/// Also of s1, and not in what our correspondent lets bind.
pub const FOREIGN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 0x53);

/// The network, with a route to s1 that no router daemon has to learn.
pub fn network() -> Result<Network> {
    let network = Network::up()?;
    for (prefix, length) in [(B, 128), (FOREIGN, 128)] {
        netlink::route(&network.router, prefix, length, S1.link_local(), "lan0")?;
    }
    Ok(network)
}

/// A daemon of ours on a machine of the network.
pub fn daemon(
    network: &Network,
    node: &'static str,
    namespace: &Namespace,
    config: &str,
) -> Result<Daemon> {
    let directory = network.site().directory();
    let file = directory.join(format!("{node}.toml"));
    fs::write(&file, config)?;
    let program = Path::new(env!("CARGO_BIN_EXE_anycast-ctl"));
    let daemon = Daemon::start(program, node, namespace, &file, directory)?;
    let ready = daemon.wait_ready();
    ready.with_context(|| daemon.tail(5).join("\n"))?;
    Ok(daemon)
}

/// A running `peer.py`.
pub struct Peer {
    process: Process,
    /// Number of the line that comes next.
    next: usize,
}

impl Peer {
    /// Starts one in a role.
    pub fn start(network: &Network, namespace: &Namespace, role: &str) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/peer.py");
        let mut command = namespace.command("python3");
        // No cache of the compiled script in the sources.
        command.arg("-B").arg(script).arg(role);
        command.arg("--home").arg(B.to_string());
        command.arg("--care-of").arg(C.to_string());
        command.arg("--fence").arg(FENCE);
        let log = network.site().directory().join("peer.log");
        let mut peer = Self {
            process: Process::start("the peer", command, &log)?,
            next: 0,
        };
        peer.line("it is ready", |line| line["step"] == "ready")?;
        Ok(peer)
    }

    /// Waits for the next of its lines that is wanted.
    pub fn line(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let look = |line: &str| {
            let line = serde_json::from_str(line).ok()?;
            wanted(&line).then_some(line)
        };
        let what = format!("the peer says that {what}");
        let (line, next) = self.process.wait_line(SOON, &what, self.next, look)?;
        self.next = next;
        Ok(line)
    }

    /// Has it do something, and gives what it says at the end.
    pub fn tell(&mut self, command: &Value) -> Result<Value> {
        self.process.say(&command.to_string())?;
        self.line(&format!("it has done {command}"), |line| {
            line["step"] == "done"
        })
    }

    /// Waits until its lines are as they should be.
    pub fn heard(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Result<()> {
        let output = self.process.output();
        let look = |output: &Output| (wanted(&output.lines) || output.ended).then_some(());
        Ok(output.wait(SOON, what, look)?)
    }

    /// Its lines from a number on.
    pub fn lines(&self, from: usize) -> Vec<String> {
        let output = self.process.output();
        output.read(|output| output.lines[from..].to_vec())
    }

    /// The number of lines that were read so far.
    pub fn mark(&self) -> usize {
        self.next
    }

    /// Names the row that an error belongs to, and gives the peer's own account of it.
    pub fn explain<T>(
        &self,
        from: usize,
        what: &str,
        clause: &str,
        result: Result<T>,
    ) -> Result<T> {
        result.with_context(|| format!("{what} ({clause})\n{}\n", self.lines(from).join("\n")))
    }
}

/// `command` with more fields.
pub fn with(command: &Value, more: Value) -> Value {
    let mut fields: Map<String, Value> = command.as_object().cloned().unwrap_or_default();
    fields.extend(more.as_object().cloned().unwrap_or_default());
    json!(fields)
}

/// The controller's counters, at one moment.
pub struct Counts(BTreeMap<String, u64>);

/// Of the programs' counters the one of messages that the controller would count if it saw them.
pub const NOT_ALLOWED: &str = "mobility_source_not_allowed";

impl Counts {
    pub fn of(daemon: &Daemon) -> Result<Self> {
        let counters = daemon.ask("counters")?;
        let controller = counters["controller"].as_object();
        let controller = controller.context("no counters of the controller")?;
        let value = |(name, value): (&String, &Value)| (name.clone(), value.as_u64().unwrap_or(0));
        let mut all: BTreeMap<_, _> = controller.iter().map(value).collect();
        let dropped = counters["data_plane"][NOT_ALLOWED].as_u64().unwrap_or(0);
        all.insert(NOT_ALLOWED.to_owned(), dropped);
        Ok(Self(all))
    }

    /// What a counter has gained since `before`.
    pub fn gained(&self, before: &Self, name: &str) -> u64 {
        let at = |counts: &Self| counts.0.get(name).copied().unwrap_or(0);
        at(self) - at(before)
    }

    /// Checks that exactly `expected` has been counted since `before`, `routine` left aside.
    pub fn must_be(&self, before: &Self, expected: &[(&str, u64)], routine: &[&str]) -> Result<()> {
        let gained: BTreeMap<&str, u64> = self
            .0
            .keys()
            .filter(|name| !routine.contains(&name.as_str()))
            .map(|name| (name.as_str(), self.gained(before, name)))
            .filter(|(_, gained)| *gained > 0)
            .collect();
        let expected: BTreeMap<&str, u64> = expected.iter().copied().collect();
        ensure!(
            gained == expected,
            "counted {gained:?} instead of {expected:?}"
        );
        Ok(())
    }
}
