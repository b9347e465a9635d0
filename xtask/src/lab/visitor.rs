//! The applications of the lab as the lab sees them: processes that say what they do.

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

/// A client's session with the service.
#[derive(Debug)]
pub struct Visitor {
    name: &'static str,
    process: Process,
    heard: usize,
    /// What it said when it was connected.
    pub connected: Value,
}

impl Visitor {
    /// Connects to the anycast address.
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

    /// Waits for it to say this. When it says that its session is over instead, that is an error.
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

    /// Tells it what to do.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        self.process.say(command)
    }

    /// Lets it send and receive so much, and gives what it reports.
    pub fn transfer(&mut self, up: u64, down: u64, limit: Duration) -> Result<Value> {
        self.tell(&format!("transfer {up} {down}"))?;
        self.event("transferred", limit)
    }

    /// The name of the server that answered.
    pub fn server(&self) -> &str {
        self.connected["server"].as_str().unwrap_or("nobody")
    }

    /// The port of its socket.
    pub fn port(&self) -> Result<u16> {
        let local = self.connected["local"]
            .as_str()
            .context("no local address")?;
        Ok(local.parse::<SocketAddr>()?.port())
    }

    /// Do the sockets at both ends show this client and the anycast address, in this event?
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

/// Are these the last words of a session?
pub(super) fn is_over(said: &str) -> bool {
    ["reset", "failed", "finished"].contains(&said)
}

pub(super) fn start(
    name: &str,
    namespace: &Namespace,
    directory: &Path,
    arguments: &[&str],
) -> Result<Process> {
    // The program that runs the lab is the program of its applications too.
    let mut command = namespace.command(std::env::current_exe()?);
    command.arg(app::MARK).args(arguments);
    Process::start(name, command, &directory.join(format!("{name}.log")))
}
