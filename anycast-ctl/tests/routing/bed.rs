//! A link with routers, members and hosts, as many as a test wants, and a router behind it.

use std::{
    fs,
    net::Ipv6Addr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{
    lab::node::Daemon,
    net::{
        Capture, Namespace, Site,
        netlink::{self, End},
        prepare,
        routes::{Monitor, Route},
        sysctl, wait,
    },
};

/// The daemon that cargo has built for this test.
pub const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
/// The anycast address.
pub const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
/// What happens at once, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(15);
/// Between questions about what announces no change.
pub const AGAIN: Duration = Duration::from_millis(50);

/// Timers under which a test need not wait, and a policy that lets everybody in.
pub const ROUTER: &str = r#"
[router.timers]
query_interval = "2s"
query_response_interval = "500ms"
startup_query_interval = "500ms"
last_listener_query_interval = "200ms"

[[router.policy]]
source = "fe80::/10"
anycast = "2001:db8:a::/48"
action = "allow"
"#;

/// A member that reports at once.
pub const MEMBER: &str = r#"
[member]
interfaces = ["eth0"]

[[member.group]]
anycast = "2001:db8:a::53"

[member.listener]
unsolicited_report_interval = "100ms"
"#;

/// A `[router]` with these settings beside its interface.
pub fn router(settings: &str) -> String {
    format!("[router]\ninterfaces = [\"eth0\"]\n{settings}\n{ROUTER}")
}

/// Who is on the link.
pub struct Node {
    pub name: &'static str,
    pub namespace: Namespace,
    /// Last part of its addresses.
    pub host: u16,
}

impl Node {
    pub fn link_local(&self) -> Ipv6Addr {
        link_local(self.host)
    }
}

pub fn link_local(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host)
}

pub struct Bed {
    daemons: Vec<Daemon>,
    pub nodes: Vec<Node>,
    /// The switch. Its ports have the names of what is behind them.
    pub lan: Namespace,
    // Last: its directory and its lock outlive the namespaces.
    pub site: Site,
}

impl Bed {
    pub fn new() -> Result<Self> {
        let site = Site::claim("acr")?;
        let lan = site.namespace("lan")?;
        sysctl::set(&lan, &[("ipv6/conf/default/disable_ipv6", "1")])?;
        netlink::bridge(&lan, "br0", &[])?;
        // MLD of the switch itself is not what is tested.
        ip(&lan, "link set br0 type bridge mcast_snooping 0")?;
        Ok(Self {
            daemons: Vec::new(),
            nodes: Vec::new(),
            lan,
            site,
        })
    }

    /// A node on the link; `host` is the last part of its addresses.
    pub fn add(&mut self, name: &'static str, host: u16) -> Result<&Node> {
        let namespace = self.site.namespace(name)?;
        prepare(&namespace)?;
        let node = Node {
            name,
            namespace,
            host,
        };
        self.plug(&node)?;
        self.nodes.push(node);
        self.node(name)
    }

    /// A router: it forwards, and hashes by addresses alone.
    pub fn add_router(&mut self, name: &'static str, host: u16) -> Result<&Node> {
        let node = self.add(name, host)?;
        sysctl::set(
            &node.namespace,
            &[
                ("ipv6/conf/all/forwarding", "1"),
                ("ipv6/fib_multipath_hash_policy", "3"),
                ("ipv6/fib_multipath_hash_fields", "3"),
            ],
        )?;
        self.node(name)
    }

    /// Members that serve B.
    pub fn add_members(&mut self, members: &[(&'static str, u16)]) -> Result<()> {
        for (name, host) in members {
            let node = self.add(name, *host)?;
            netlink::address(&node.namespace, "lo", B, 128)?;
        }
        Ok(())
    }

    /// Connects the node's `eth0` to the switch.
    pub fn plug(&self, node: &Node) -> Result<()> {
        let end = |namespace, name, mac| End {
            namespace,
            name,
            mac,
        };
        let [high, low] = node.host.to_be_bytes();
        let mac = Some([2, 0, 0, 0, high, low]);
        let (near, far) = (
            end(&node.namespace, "eth0", mac),
            end(&self.lan, node.name, None),
        );
        netlink::veth(near, far)?;
        netlink::connect(near, far)?;
        ip(&self.lan, &format!("link set {} master br0", node.name))?;
        netlink::address(&node.namespace, "eth0", node.link_local(), 64)
    }

    pub fn node(&self, name: &str) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.with_context(|| format!("no node {name}"))
    }

    /// `ip`, at a node.
    pub fn ip(&self, node: &str, line: &str) -> Result<String> {
        ip(&self.node(node)?.namespace, line)
    }

    /// Starts a daemon and waits until it is ready.
    pub fn start(&mut self, name: &'static str, config: &str) -> Result<()> {
        self.daemons.retain(|daemon| daemon.node() != name);
        let directory = self.site.directory();
        let file = directory.join(format!("{name}.toml"));
        fs::write(&file, config)?;
        let namespace = &self.node(name)?.namespace;
        let daemon = Daemon::start(Path::new(DAEMON), name, namespace, &file, directory)?;
        daemon.wait_ready()?;
        self.daemons.push(daemon);
        Ok(())
    }

    pub fn start_members(&mut self, names: &[&'static str]) -> Result<()> {
        names.iter().try_for_each(|name| self.start(name, MEMBER))
    }

    pub fn daemon(&self, name: &str) -> Result<&Daemon> {
        let found = self.daemons.iter().find(|daemon| daemon.node() == name);
        found.with_context(|| format!("no daemon runs on {name}"))
    }

    pub fn daemon_mut(&mut self, name: &str) -> Result<&mut Daemon> {
        let found = self.daemons.iter_mut().find(|d| d.node() == name);
        found.with_context(|| format!("no daemon runs on {name}"))
    }

    /// The member leaves, or joins.
    pub fn tell(&self, member: &str, command: &str) -> Result<()> {
        self.daemon(member)?.tell(&[command, &B.to_string()])?;
        Ok(())
    }

    pub fn counter(&self, name: &str, counter: &str) -> Result<u64> {
        self.daemon(name)?.counter("controller", counter)
    }

    /// Waits until the answer to a query is as `look` wants it.
    pub fn asked(
        &self,
        name: &str,
        query: &str,
        what: &str,
        look: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        wait::poll(SOON, AGAIN, what, || {
            last = self.daemon(name)?.ask(query)?;
            Ok(look(&last).then(|| last.clone()))
        })
        .with_context(|| format!("the last answer was {last}"))
    }

    pub fn monitor(&self, name: &str) -> Result<Monitor> {
        Monitor::start(&self.node(name)?.namespace)
    }

    pub fn capture(&self, name: &str) -> Result<Capture> {
        Capture::start(name, &self.node(name)?.namespace, "eth0", None)
    }

    /// The ends of the daemons' logs.
    pub fn logs(&self) -> String {
        let tail =
            |daemon: &Daemon| format!("\n{}:\n  {}", daemon.node(), daemon.tail(15).join("\n  "));
        self.daemons.iter().map(tail).collect()
    }
}

/// A bed for `body`, and the daemons' words when it fails.
pub fn in_bed(body: impl FnOnce(&mut Bed) -> Result<()>) -> Result<()> {
    let mut bed = Bed::new()?;
    body(&mut bed).map_err(|error| error.context(format!("the logs:{}", bed.logs())))
}

/// `ip`, in a namespace.
pub fn ip(namespace: &Namespace, line: &str) -> Result<String> {
    tool(namespace, "ip", line)
}

/// A tool of iproute2, in a namespace.
pub fn tool(namespace: &Namespace, program: &str, line: &str) -> Result<String> {
    let output = namespace
        .command(program)
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .context("these tests need iproute2")?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {line}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The next hops of our route to B, sorted; none where there is no route.
pub fn hosts(routes: &[Route]) -> Vec<Ipv6Addr> {
    let ours = routes.iter().filter(|route| route.protocol == 172);
    let mut hosts: Vec<_> = ours
        .flat_map(|route| &route.next_hops)
        .filter_map(|(via, _)| *via)
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Waits until the route to B leads to these members and no others.
pub fn routed(routes: &Monitor, limit: Duration, wanted: &[u16]) -> Result<()> {
    let wanted: Vec<_> = wanted.iter().copied().map(link_local).collect();
    let what = format!("the route to B by {wanted:?}");
    let mut last = Vec::new();
    routes
        .wait(limit, &what, (B, 128), |routes| {
            last = hosts(routes);
            (last == wanted).then_some(())
        })
        .with_context(|| format!("it is by {last:?}"))
}

/// A program of the distribution, where it is there.
pub fn find(program: &str) -> Option<Command> {
    xtask::process::find(program).map(Command::new)
}
