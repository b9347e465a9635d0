//! The applications of the lab, seen from the lab: processes that report what they do.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::net::{Namespace, Process};

use super::{
    app,
    topology::{B, SERVICE},
    verdict::Unmet,
};

const START: Duration = Duration::from_secs(5);

/// Starts the service on a server.
pub fn serve(name: &str, namespace: &Namespace, directory: &Path) -> Result<Process> {
    let address = SocketAddr::from((B, SERVICE));
    let arguments = ["serve", name, &address.to_string()];
    let service = start(&format!("{name}-service"), namespace, directory, &arguments)?;
    service.wait_line(START, "the service listens", 0, |line| {
        line.contains("listening").then_some(())
    })?;
    Ok(service)
}

/// A session of a client with the service.
#[derive(Debug)]
pub struct Visitor {
    name: &'static str,
    process: Process,
    heard: usize,
    /// The report of the client when it was connected.
    pub connected: Value,
}

impl Visitor {
    /// Connects a client to the anycast address.
    pub fn connect(name: &'static str, namespace: &Namespace, directory: &Path) -> Result<Self> {
        let address = SocketAddr::from((B, SERVICE));
        let process = start(
            name,
            namespace,
            directory,
            &["connect", &address.to_string()],
        )?;
        let mut visitor = Self {
            name,
            process,
            heard: 0,
            connected: Value::Null,
        };
        visitor.connected = visitor.event("connected", START)?;
        Ok(visitor)
    }

    /// Waits for this report of the client. It is an error if the client reports the end of its session instead.
    pub fn event(&mut self, name: &str, limit: Duration) -> Result<Value> {
        let what = format!("{} says \"{name}\"", self.name);
        let (event, next) = self.process.wait_line(limit, &what, self.heard, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let said = event["event"].as_str()?;
            (said == name || is_over(said)).then_some(event)
        })?;
        self.heard = next;
        if event["event"] == name {
            return Ok(event);
        }
        Err(Unmet {
            expected: what,
            seen: event.to_string(),
            node: None,
        }
        .into())
    }

    /// Gives the client a command.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        self.process.say(command)
    }

    /// Lets the client send and receive this many octets, and gives its report.
    pub fn transfer(&mut self, up: u64, down: u64, limit: Duration) -> Result<Value> {
        self.tell(&format!("transfer {up} {down}"))?;
        self.event("transferred", limit)
    }

    /// Name of the server that answered.
    pub fn server(&self) -> &str {
        self.connected["server"].as_str().unwrap_or("nobody")
    }

    /// Port of the client's socket.
    pub fn port(&self) -> Result<u16> {
        let local = self.connected["local"]
            .as_str()
            .context("no local address")?;
        Ok(local.parse::<SocketAddr>()?.port())
    }

    /// Whether the sockets at both ends show this client and the anycast address in this report.
    pub fn shows_anycast(event: &Value, client: Ipv6Addr) -> bool {
        let address = |field: &str| -> Option<Ipv6Addr> {
            match event[field].as_str()?.parse().ok()? {
                SocketAddr::V6(address) => Some(*address.ip()),
                SocketAddr::V4(_) => None,
            }
        };
        ["peer", "server_local"].map(address) == [Some(B); 2]
            && ["local", "server_peer"].map(address) == [Some(client); 2]
    }
}

/// Whether a report says that the session is over.
pub(super) fn is_over(said: &str) -> bool {
    ["reset", "failed", "finished"].contains(&said)
}

pub(super) fn start(
    name: &str,
    namespace: &Namespace,
    directory: &Path,
    arguments: &[&str],
) -> Result<Process> {
    // The program of the lab also contains its applications.
    let mut command = namespace.command(std::env::current_exe()?);
    command.arg(app::MARK).args(arguments);
    Process::start(name, command, &directory.join(format!("{name}.log")))
}
