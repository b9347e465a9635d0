//! The bus: nats-server of the distribution.

use anyhow::Result;
use xtask::{kernel_tests::Suite, net::Process, process};

use super::site::{SOON, Site, bus};

/// Adds a test that needs it.
pub fn test(suite: Suite, name: &str, body: impl FnOnce() -> Result<()> + Send + 'static) -> Suite {
    if process::find("nats-server").is_some() {
        suite.test(name, body)
    } else {
        suite.ignored(
            name,
            "nats-server is not installed (apt-get install nats-server)",
        )
    }
}

/// What tells gateways of it.
pub fn servers() -> String {
    format!("servers = [\"nats://[{}]:4222\"]", bus(0))
}

/// A server that runs.
pub struct Nats(Process);

impl Nats {
    /// Starts it, on the link that gateways have for it.
    pub fn start(site: &Site) -> Result<Self> {
        let mut command = site.bus.command("nats-server");
        command.args(["--addr", &bus(0).to_string(), "--port", "4222"]);
        let log = site.directory().join("nats.log");
        let process = Process::start("nats-server", command, &log)?;
        process.wait_line(SOON, "the bus is there", 0, |line| {
            line.contains("Server is ready").then_some(())
        })?;
        Ok(Self(process))
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.0.end().map(drop)
    }
}
