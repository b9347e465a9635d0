//! Clients, gateways side by side, and members.
//!
//! ```text
//!              .- g1 -.
//!   clients - edge - g2 - core - lan - s1, s2
//!              '- g3 -'
//! ```
//!
//! `edge` spreads what clients send over the gateways by a hash of addresses and ports, and `core` what comes back, by
//! another one. `bus` has a link to each gateway beside that.

mod network;

use std::{
    fs,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{node::Daemon, topology::B, visitor},
    net::{Namespace, Process, Site as Place},
};

use super::time_of_day;

/// For what happens at once, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(20);

/// The daemon that cargo has built for this test.
pub const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
pub const GATEWAYS: [&str; 3] = ["g1", "g2", "g3"];
const MEMBERS: [&str; 2] = ["s1", "s2"];
/// Of `fib_multipath_hash_policy=3`: source, destination, protocol, both ports.
const ADDRESSES_AND_PORTS: &str = "55";
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const CLIENTS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
const EDGE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xe);
const CORE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xc);

/// The address of a client, by its number.
pub const fn client(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, number)
}

/// The care-of address of a member, by its place.
pub fn care_of(member: usize) -> Ipv6Addr {
    lan(0xc1 + last(member))
}

const fn lan(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, host)
}

fn last(place: usize) -> u16 {
    u16::try_from(place).unwrap_or_default()
}

pub fn link_local(place: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11 + last(place))
}

fn mac(kind: u8, place: usize) -> [u8; 6] {
    [2, 0, 0, 0, kind, place.to_le_bytes()[0]]
}

/// What a site is to be like.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub gateways: usize,
    pub members: usize,
    /// Clients with an address each, numbered from 1.
    pub clients: u16,
    /// Lines of `[correspondent.fleet]` of each gateway, beside its secret; none: they are no fleet.
    pub fleet: Option<String>,
    /// The gateway that has another secret.
    pub stranger: Option<usize>,
    /// Gateways are on one link with each of the routers beside them, which has to know by itself where to send.
    pub shared: bool,
    /// The gateway whose clock is off, and by how much, as libfaketime is told.
    pub clock: Option<(usize, &'static str)>,
    /// Members know each other as `peers`, since a hash may spread B over them.
    pub peers: bool,
}

/// Everything that stands. It ends when this is dropped.
pub struct Site {
    // In the order in which they must end.
    daemons: Vec<Daemon>,
    services: Vec<Process>,
    plan: Plan,
    pub clients: Namespace,
    pub edge: Namespace,
    pub core: Namespace,
    pub lan: Namespace,
    pub bus: Arc<Namespace>,
    pub gateways: Vec<Namespace>,
    pub members: Vec<Arc<Namespace>>,
    ground: Place,
}

impl Site {
    /// The network, with B routed to the first member, all gateways in use, and no daemon yet.
    pub fn network(plan: Plan) -> Result<Self> {
        let ground = Place::claim("aff")?;
        let all = |names: &[&str]| -> Result<Vec<_>> {
            names.iter().map(|name| ground.namespace(name)).collect()
        };
        let mut site = Self {
            daemons: Vec::new(),
            services: Vec::new(),
            clients: ground.namespace("clients")?,
            edge: ground.namespace("edge")?,
            core: ground.namespace("core")?,
            lan: ground.namespace("lan")?,
            bus: Arc::new(ground.namespace("bus")?),
            gateways: all(&GATEWAYS[..plan.gateways])?,
            members: all(&MEMBERS[..plan.members])?
                .into_iter()
                .map(Arc::new)
                .collect(),
            plan,
            ground,
        };
        make_secret(&site.secret())?;
        site.sysctls()?;
        site.cables()?;
        site.addresses()?;
        let gateways: Vec<_> = (0..site.gateways.len()).collect();
        if !site.plan.shared {
            site.spread(&gateways)?;
        }
        site.route(0)?;
        for (name, namespace) in MEMBERS.iter().zip(&site.members) {
            let service = visitor::serve(name, namespace, site.ground.directory())?;
            site.services.push(service);
        }
        Ok(site)
    }

    /// The same with daemons on all gateways and members.
    pub fn up(plan: Plan) -> Result<Self> {
        let mut site = Self::network(plan)?;
        site.daemons()?;
        Ok(site)
    }

    /// Starts the daemons of all gateways and members.
    pub fn daemons(&mut self) -> Result<()> {
        let nodes = MEMBERS[..self.members.len()].iter();
        let nodes: Vec<_> = nodes.chain(&GATEWAYS[..self.gateways.len()]).collect();
        for node in nodes {
            let daemon = self.daemon_of(node)?;
            self.daemons.push(daemon);
        }
        self.daemons.iter().try_for_each(Daemon::wait_ready)
    }

    /// A gateway's power fails: its daemon dies, routing leads to these gateways, and nothing of it is left.
    pub fn lose_gateway(&mut self, place: usize, others: &[usize]) -> Result<()> {
        self.take_gateway(place)?.kill()?;
        self.spread(others)?;
        self.forget_gateway(place)
    }

    /// The daemon of a gateway, which belongs to the caller now.
    pub fn take_gateway(&mut self, place: usize) -> Result<Daemon> {
        let node = GATEWAYS[place];
        let known = self.daemons.iter().position(|daemon| daemon.node() == node);
        let known = known.with_context(|| format!("no daemon runs on {node}"))?;
        Ok(self.daemons.remove(known))
    }

    /// Nothing is left of a gateway that runs no daemon.
    pub fn forget_gateway(&self, place: usize) -> Result<()> {
        let node = GATEWAYS[place];
        let output = self.gateways[place]
            .command(DAEMON)
            .arg("detach")
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{node}: detach: {said}");
        Ok(())
    }

    /// Starts the daemon of a gateway, and waits until it says that it is ready.
    pub fn start_gateway(&mut self, place: usize) -> Result<()> {
        self.begin_gateway(place)?;
        self.gateway(place)?.wait_ready()
    }

    /// Starts the daemon of a gateway.
    pub fn begin_gateway(&mut self, place: usize) -> Result<()> {
        let daemon = self.daemon_of(GATEWAYS[place])?;
        self.daemons.push(daemon);
        Ok(())
    }

    /// Gateways that start from now on have these lines in `[correspondent.fleet]`.
    pub fn configure(&mut self, fleet: &str) {
        self.plan.fleet = Some(fleet.to_owned());
    }

    /// Where files of the test are.
    pub fn directory(&self) -> &Path {
        self.ground.directory()
    }

    /// Both sides use these gateways.
    pub fn spread(&self, gateways: &[usize]) -> Result<()> {
        self.ways(gateways, gateways)
    }

    /// Clients use these gateways, and what comes back to them those.
    pub fn ways(&self, out: &[usize], back: &[usize]) -> Result<()> {
        let hops = |gateways: &[usize]| -> String {
            let hop = |place: &usize| {
                let (via, name) = (link_local(*place), GATEWAYS[*place]);
                format!(" nexthop via {via} dev {name}")
            };
            gateways.iter().map(hop).collect()
        };
        let (out, back) = (hops(out), hops(back));
        ip(&self.edge, &format!("-6 route replace default{out}"))?;
        ip(&self.core, &format!("-6 route replace {CLIENTS}/64{back}"))
    }

    /// B is routed to this member.
    pub fn route(&self, member: usize) -> Result<()> {
        self.route_over(&[member])
    }

    /// B is routed to these members, by a hash if they are several.
    pub fn route_over(&self, members: &[usize]) -> Result<()> {
        let hop = |member: &usize| format!(" nexthop via {} dev lan0", link_local(*member));
        let hops: String = members.iter().map(hop).collect();
        ip(&self.core, &format!("-6 route replace {B}/128{hops}"))
    }

    fn daemon_of(&self, node: &'static str) -> Result<Daemon> {
        let place = |names: &[&str]| names.iter().position(|name| *name == node);
        let (namespace, mut config) = match (place(&GATEWAYS), place(&MEMBERS)) {
            (Some(gateway), _) => (&self.gateways[gateway], self.gateway_config()),
            (_, Some(member)) => (&*self.members[member], self.member_config(member)),
            (None, None) => anyhow::bail!("no node {node}"),
        };
        if place(&GATEWAYS).is_some_and(|gateway| self.plan.stranger == Some(gateway)) {
            let other = self.secret().with_extension("other");
            make_secret(&other)?;
            let secret = self.secret();
            config = config.replace(&*secret.to_string_lossy(), &other.to_string_lossy());
        }
        if config.contains("servers = ") {
            config.push_str(&format!("name = \"{node}\"\n"));
        }
        let directory = self.ground.directory();
        let file = directory.join(format!("{node}.toml"));
        fs::write(&file, config)?;
        let off = self.plan.clock;
        let off = off.filter(|(gateway, _)| place(&GATEWAYS) == Some(*gateway));
        let variables = off.map(|(_, by)| time_of_day::off(by)).transpose()?;
        let variables: Vec<_> = variables.iter().flatten().collect();
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let program = Path::new(DAEMON);
        Daemon::start_with(program, node, namespace, &file, directory, &variables)
    }

    /// The file with the secret of all gateways.
    fn secret(&self) -> PathBuf {
        self.ground.directory().join("secret")
    }

    fn gateway_config(&self) -> String {
        let fleet = self.plan.fleet.as_deref();
        let secret = self.secret();
        let secret = secret.display();
        let fleet =
            fleet.map(|lines| format!("[correspondent.fleet]\nsecret = \"{secret}\"\n{lines}\n"));
        format!(
            "[correspondent]\ninterfaces = [\"clients0\", \"up0\"]\nmode = \"tcx\"\n\
             client_prefixes = [\"{CLIENTS}/64\"]\nallow = [\"2001:db8:a::/48\"]\n{}",
            fleet.unwrap_or_default()
        )
    }

    fn member_config(&self, place: usize) -> String {
        let peers = format!("peers = [\"{}/124\"]\n", lan(0xc0));
        let peers = if self.plan.peers {
            peers
        } else {
            String::new()
        };
        format!(
            "[member]\ninterfaces = [\"eth0\"]\nmode = \"tcx\"\n\
             [[member.group]]\nanycast = \"{B}\"\ncare_of = \"{}\"\njoin = \"start\"\n{peers}",
            care_of(place)
        )
    }

    /// The daemon of a gateway.
    pub fn gateway(&self, place: usize) -> Result<&Daemon> {
        self.daemon(GATEWAYS[place])
    }

    /// The same, to change.
    pub fn gateway_mut(&mut self, place: usize) -> Result<&mut Daemon> {
        let node = GATEWAYS[place];
        let found = self.daemons.iter_mut().find(|daemon| daemon.node() == node);
        found.with_context(|| format!("no daemon runs on {node}"))
    }

    /// The daemon of a member.
    pub fn member(&self, place: usize) -> Result<&Daemon> {
        self.daemon(MEMBERS[place])
    }

    fn daemon(&self, node: &str) -> Result<&Daemon> {
        let found = self.daemons.iter().find(|daemon| daemon.node() == node);
        found.with_context(|| format!("no daemon runs on {node}"))
    }

    /// What a counter of the controllers of all gateways says together.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let gateways = 0..self.gateways.len();
        let counts = gateways.map(|place| self.gateway(place)?.counter("controller", name));
        counts.sum()
    }

    /// The ends of the daemons' logs, and what counters say.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for daemon in &self.daemons {
            text.push_str(&format!("\n   {}'s log ends:\n", daemon.node()));
            for line in daemon.tail(12) {
                text.push_str(&format!("     {line}\n"));
            }
            if let Ok(counters) = daemon.tell(&["counters"]) {
                text.push_str(&format!("{counters}\n"));
            }
        }
        text
    }
}

/// An address on the link of the bus.
pub const fn bus(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xb5, 0, 0, 0, 0, host + 1)
}

/// Makes a secret as an operator does.
fn make_secret(file: &Path) -> Result<()> {
    let mut command = Command::new(DAEMON);
    let output = command.args(["fleet", "secret"]).arg(file).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "fleet secret: {said}");
    Ok(())
}

/// Runs `ip` in a namespace.
pub fn ip(namespace: &Namespace, arguments: &str) -> Result<()> {
    let output = namespace
        .command("ip")
        .args(arguments.split(' '))
        .output()
        .context("cannot run ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {said}");
    Ok(())
}
