//! The daemons of a network, their configurations, and how they come and go.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{node::Daemon, topology::B},
    net::Namespace,
};

use super::{Mode, NAMES, Site, care_of};

/// The daemon that cargo has built for this test.
const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
/// The care-of addresses of all members.
const PEERS: &str = "peers = [\"2001:db8:20::c0/124\"]\n";

impl Site {
    /// Starts the daemons of the members and of the gateway, where the plan has any.
    pub fn start(&mut self) -> Result<()> {
        if self.plan.mode.is_none() {
            return Ok(());
        }
        let members =
            (0..self.members.len()).filter(|member| !self.settings.plain.contains(member));
        let nodes = members.map(|member| NAMES[member]).chain(["gateway"]);
        for node in nodes.collect::<Vec<_>>() {
            let daemon = self.daemon_of(node)?;
            self.daemons.push(daemon);
        }
        self.daemons.iter().try_for_each(Daemon::wait_ready)
    }

    /// Another gateway begins to answer for the client.
    pub fn start_gateway2(&mut self) -> Result<()> {
        if self.plan.mode.is_none() {
            return Ok(());
        }
        let daemon = self.daemon_of("gateway2")?;
        self.take(daemon)
    }

    fn take(&mut self, daemon: Daemon) -> Result<()> {
        daemon.wait_ready()?;
        self.daemons.push(daemon);
        Ok(())
    }

    /// A daemon dies as in a crash, and the next one starts. Between them, what was left in the kernel is detached
    /// and forgotten, if that is wanted.
    pub fn restart(&mut self, node: &str, forget: bool) -> Result<()> {
        let dead = self.crash(node)?;
        if forget {
            self.detach(dead)?;
        }
        let daemon = self.daemon_of(dead)?;
        self.take(daemon)
    }

    /// The same with the file as it is.
    pub fn replace(&mut self, node: &str) -> Result<()> {
        let dead = self.crash(node)?;
        let daemon = self.daemon_with(dead)?;
        self.take(daemon)
    }

    /// A daemon dies, and what it left in the kernel goes, too.
    pub fn lose(&mut self, node: &str) -> Result<()> {
        let dead = self.crash(node)?;
        self.detach(dead)
    }

    fn crash(&mut self, node: &str) -> Result<&'static str> {
        let place = self.daemons.iter().position(|daemon| daemon.node() == node);
        let place = place.with_context(|| format!("no daemon runs on {node}"))?;
        self.daemons[place].kill()?;
        Ok(self.daemons.remove(place).node())
    }

    fn detach(&self, node: &str) -> Result<()> {
        let (namespace, _) = self.place(node);
        let output = namespace.command(DAEMON).arg("detach").output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{node}: detach: {said}");
        Ok(())
    }

    fn place(&self, node: &str) -> (&Namespace, String) {
        match (node, Self::place_of(node)) {
            ("gateway", _) => (&self.gateway, self.gateway_config()),
            (_, Some(member)) => (&self.members[member], self.member_config(member)),
            (_, None) => (&self.gateway2, self.gateway_config()),
        }
    }

    fn daemon_of(&self, node: &'static str) -> Result<Daemon> {
        self.rewrite(node, |config| config)?;
        self.daemon_with(node)
    }

    fn daemon_with(&self, node: &'static str) -> Result<Daemon> {
        let (namespace, _) = self.place(node);
        let file = self.file(node);
        Daemon::start(Path::new(DAEMON), node, namespace, &file, self.directory())
    }

    fn file(&self, node: &str) -> PathBuf {
        self.directory().join(format!("{node}.toml"))
    }

    /// The file of a node says something else from now on, for who reads it again.
    pub fn rewrite(&self, node: &str, change: impl Fn(String) -> String) -> Result<()> {
        let (_, config) = self.place(node);
        Ok(fs::write(self.file(node), change(config))?)
    }

    fn mode(&self) -> &'static str {
        self.plan.mode.map_or("auto", Mode::name)
    }

    fn gateway_config(&self) -> String {
        format!(
            "[correspondent]\ninterfaces = [\"clients0\", \"up0\"]\nmode = \"{}\"\n\
             client_prefixes = [\"2001:db8:1::/64\"{}]\nallow = [\"2001:db8:a::/48\"]\n{}\n{}\n",
            self.mode(),
            self.settings.clients,
            self.settings.correspondent,
            self.settings.gateway,
        )
    }

    fn member_config(&self, member: usize) -> String {
        let peers = match self.members.len() {
            1 => "",
            _ => PEERS,
        };
        format!(
            "[member]\ninterfaces = [\"eth0\"]\nmode = \"{}\"\n\
             [[member.group]]\nanycast = \"{B}\"\ncare_of = \"{}\"\njoin = \"start\"\n{peers}{}\n{}\n",
            self.mode(),
            care_of(member),
            self.settings.group,
            self.settings.member,
        )
    }
}
