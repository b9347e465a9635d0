//! The bus: nats-server of the distribution.

use anyhow::{Context as _, Result};
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
        Self::with(site, &["--addr", &bus(0).to_string(), "--port", "4222"])
    }

    /// Starts it with a configuration.
    pub fn configured(site: &Site, configuration: &str) -> Result<Self> {
        let file = site.directory().join("nats.conf");
        std::fs::write(&file, configuration)?;
        Self::with(site, &["--config", &file.display().to_string()])
    }

    fn with(site: &Site, arguments: &[&str]) -> Result<Self> {
        let mut command = site.bus.command("nats-server");
        command.args(arguments);
        let log = site.directory().join("nats.log");
        let process = Process::start("nats-server", command, &log)?;
        process.wait_line(SOON, "the bus is there", 0, |line| {
            line.contains("Server is ready").then_some(())
        })?;
        Ok(Self(process))
    }

    /// How many lines it has said.
    pub fn heard(&self) -> usize {
        self.0.output().read(|output| output.lines.len())
    }

    /// Waits until it says this, after so many lines.
    pub fn says(&self, what: &str, after: usize) -> Result<()> {
        let says = |line: &str| line.contains(what).then_some(());
        let said = self.0.wait_line(SOON, what, after, says);
        said.map(drop).with_context(|| self.0.tail(12).join("\n"))
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.0.end().map(drop)
    }
}
