//! The running lab: its network, captures, daemons and services.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::net::{Capture, Namespace, Process, routes::Monitor, with_answers};

use super::{
    node::Daemon,
    topology::{B, Network, ROGUE, S1, S2, Server},
    visitor::{self, Visitor},
};

/// Number of lines of a log that are shown when something fails.
const TAIL: usize = 12;

/// The rogue runs the same daemon as the members. Only the router's policy keeps it out.
const ROGUE_CONFIG: &str = r#"
[member]
interfaces = ["eth0"]

[[member.group]]
anycast = "2001:db8:a::53"
"#;

/// Everything that runs in the lab. Dropping it ends everything.
#[derive(Debug)]
pub struct Lab {
    // The fields are in the order in which they must be dropped.
    daemons: Vec<Daemon>,
    services: Vec<Process>,
    captures: Vec<Capture>,
    /// The kernel routes of the router.
    pub routes: Monitor,
    /// The namespaces and links.
    pub network: Network,
    program: PathBuf,
}

impl Lab {
    /// Runs `body` while both members answer datagrams to this port of B, each with its signature behind the question.
    pub fn with_answers<R>(
        &self,
        port: u16,
        signature: impl Fn(Server) -> Vec<u8>,
        body: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let members = [S1, S2].map(|member| (self.network.server(member), signature(member)));
        with_answers((B, port).into(), &members, body)
    }

    /// The same with answers that are what was asked.
    pub fn with_echo<R>(&self, port: u16, body: impl FnOnce() -> Result<R>) -> Result<R> {
        self.with_answers(port, |_| Vec::new(), body)
    }

    /// Makes the network, with a service on every server and a capture on every link, but without daemons. With `pcap`,
    /// the captures are kept in that directory.
    pub fn up(program: &Path, pcap: Option<&Path>) -> Result<Self> {
        let network = Network::up()?;
        if let Some(directory) = pcap {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let captures = network
            .links()
            .into_iter()
            .map(|(link, namespace, interface)| {
                let file = pcap.map(|directory| directory.join(format!("{link}.pcap")));
                Capture::start(link, namespace, interface, file.as_deref())
            });
        let captures = captures.collect::<Result<_>>()?;
        let directory = network.site().directory();
        // The rogue runs a service as well, so that a client which reaches it would notice.
        let services = [S1, S2, ROGUE]
            .map(|server| visitor::serve(server.name, network.server(server), directory));
        Ok(Self {
            daemons: Vec::new(),
            services: services.into_iter().collect::<Result<_>>()?,
            captures,
            routes: Monitor::start(&network.router)?,
            network,
            program: program.to_owned(),
        })
    }

    /// Replaces a word in the configuration of a node, before its daemon starts.
    pub fn configure(&self, node: &str, word: &str, instead: &str) -> Result<()> {
        let (_, config) = self.place(node)?;
        let text = fs::read_to_string(config)?;
        ensure!(text.contains(word), "{node} has no {word:?} configured");
        fs::write(self.own_config(node), text.replace(word, instead))?;
        Ok(())
    }

    /// Path of a node's configuration that differs from its example.
    pub fn own_config(&self, node: &str) -> PathBuf {
        let directory = self.network.site().directory();
        directory.join(format!("{node}.toml"))
    }

    /// Starts daemons in parallel, and waits until all of them are ready.
    pub fn start(&mut self, nodes: &[&'static str]) -> Result<()> {
        let is_router = |node: &&'static str| node.starts_with("router");
        let (routers, others): (Vec<_>, Vec<_>) = nodes.iter().copied().partition(is_router);
        // A Report that no router hears yet is not repeated for seconds (RFC 2710 section 7.10).
        self.start_together(&routers)?;
        self.start_together(&others)?;
        // Attaching the programs has turned merging on again.
        self.network.show_wire_packets()
    }

    fn start_together(&mut self, nodes: &[&'static str]) -> Result<()> {
        let first = self.daemons.len();
        for node in nodes {
            let directory = self.network.site().directory();
            let (namespace, config) = self.place(node)?;
            let daemon = Daemon::start(&self.program, node, namespace, &config, directory)?;
            self.daemons.push(daemon);
        }
        self.daemons[first..]
            .iter()
            .try_for_each(Daemon::wait_ready)
    }

    /// Starts a daemon in a namespace that stands for a while, with its own configuration.
    pub fn start_on(&mut self, namespace: &Namespace, node: &'static str) -> Result<()> {
        let (config, directory) = (self.own_config(node), self.network.site().directory());
        let daemon = Daemon::start(&self.program, node, namespace, &config, directory)?;
        daemon.wait_ready()?;
        self.daemons.push(daemon);
        Ok(())
    }

    /// Ends a daemon as an administrator would, for good.
    pub fn end(&mut self, node: &str) -> Result<()> {
        let place = self.running(node)?;
        let status = self.daemons.remove(place).end()?;
        ensure!(status.success(), "{node}'s daemon ends with {status}");
        Ok(())
    }

    /// A process that ends with the lab.
    pub fn keep(&mut self, process: Process) {
        self.services.push(process);
    }

    /// Path of the daemon's program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Kills a daemon, as in a crash. What it has pinned in the kernel stays.
    pub fn kill(&mut self, node: &str) -> Result<()> {
        let place = self.running(node)?;
        self.daemons[place].kill()
    }

    /// Detaches what an ended daemon left in the kernel, and gives the output of that command.
    pub fn detach(&self, node: &str) -> Result<String> {
        let (namespace, _) = self.place(node)?;
        let output = namespace.command(&self.program).arg("detach").output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        ensure!(
            output.status.success(),
            "{node}: anycast-ctl detach: {said}"
        );
        Ok(said)
    }

    /// Kills a daemon, if it still runs, and starts another one in its place.
    pub fn restart(&mut self, node: &'static str) -> Result<()> {
        let place = self.running(node)?;
        self.daemons[place].kill()?;
        self.daemons.remove(place);
        self.start(&[node])?;
        self.daemons[place..].rotate_right(1);
        Ok(())
    }

    fn running(&self, node: &str) -> Result<usize> {
        let mut daemons = self.daemons.iter();
        let place = daemons.position(|daemon| daemon.node() == node);
        place.with_context(|| format!("no daemon runs on {node}"))
    }

    /// The daemon of a node.
    pub fn daemon(&self, node: &str) -> Result<&Daemon> {
        let found = self.daemons.iter().find(|daemon| daemon.node() == node);
        found.with_context(|| format!("no daemon runs on {node}"))
    }

    /// All daemons that were started.
    pub fn daemons(&self) -> &[Daemon] {
        &self.daemons
    }

    /// All daemons that were started, for ending them.
    pub fn daemons_mut(&mut self) -> &mut [Daemon] {
        &mut self.daemons
    }

    /// The last log lines of all daemons, or of the daemon of this node.
    pub fn logs(&self, node: Option<&str>) -> String {
        let mut text = String::new();
        for daemon in &self.daemons {
            if node.is_none_or(|node| node == daemon.node()) {
                text.push_str(&format!("\n   {}'s log ends:\n", daemon.node()));
                for line in daemon.tail(TAIL) {
                    text.push_str(&format!("     {line}\n"));
                }
            }
        }
        text
    }

    /// The capture of one of the links of [`Network::links`].
    pub fn capture(&self, link: &str) -> Result<&Capture> {
        let found = self.captures.iter().find(|capture| capture.name() == link);
        found.with_context(|| format!("no link {link}"))
    }

    /// All captures, for finishing them.
    pub fn captures_mut(&mut self) -> &mut [Capture] {
        &mut self.captures
    }

    /// The service of a server.
    pub fn service(&self, server: Server) -> &Process {
        let index = [S1, S2].iter().position(|known| *known == server);
        &self.services[index.unwrap_or(2)]
    }

    /// Opens a new session, from the client behind the gateway or from the client without one.
    pub fn visit(&self, name: &'static str, behind_gateway: bool) -> Result<Visitor> {
        let from = match behind_gateway {
            true => &self.network.client,
            false => &self.network.plain,
        };
        Visitor::connect(name, from, self.network.site().directory())
    }

    fn place(&self, node: &str) -> Result<(&Namespace, PathBuf)> {
        let (namespace, example) = match node {
            "router" => (&self.network.router, "router.toml"),
            "router2" => (&self.network.router2, "router.toml"),
            "gateway" => (&self.network.gateway, "gateway.toml"),
            "client" => (&self.network.client, "client.toml"),
            "s1" => (self.network.server(S1), "member-s1.toml"),
            "s2" => (self.network.server(S2), "member-s2.toml"),
            _ => {
                let config = self.own_config("rogue");
                fs::write(&config, ROGUE_CONFIG)?;
                return Ok((self.network.server(ROGUE), config));
            }
        };
        let own = self.own_config(node);
        let config = match own.exists() {
            true => own,
            false => crate::workspace().join("examples").join(example),
        };
        Ok((namespace, config))
    }
}
