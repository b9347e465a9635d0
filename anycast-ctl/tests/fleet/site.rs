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

use std::{
    fs,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{node::Daemon, topology::B, visitor},
    net::{
        Namespace, Process, Site as Place,
        netlink::{self, End},
        sysctl,
    },
};

/// For what happens at once, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(20);

/// The daemon that cargo has built for this test.
const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
const GATEWAYS: [&str; 3] = ["g1", "g2", "g3"];
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

fn link_local(place: usize) -> Ipv6Addr {
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
    pub bus: Namespace,
    pub gateways: Vec<Namespace>,
    pub members: Vec<Namespace>,
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
            bus: ground.namespace("bus")?,
            gateways: all(&GATEWAYS[..plan.gateways])?,
            members: all(&MEMBERS[..plan.members])?,
            plan,
            ground,
        };
        make_secret(&site.secret())?;
        site.sysctls()?;
        site.cables()?;
        site.addresses()?;
        let gateways: Vec<_> = (0..site.gateways.len()).collect();
        site.spread(&gateways)?;
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
        let nodes = MEMBERS[..site.members.len()].iter();
        let nodes: Vec<_> = nodes.chain(&GATEWAYS[..site.gateways.len()]).collect();
        for node in nodes {
            let daemon = site.daemon_of(node)?;
            site.daemons.push(daemon);
        }
        site.daemons.iter().try_for_each(Daemon::wait_ready)?;
        Ok(site)
    }

    fn sysctls(&self) -> Result<()> {
        let quick = [
            ("ipv6/conf/default/addr_gen_mode", "1"),
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/all/accept_ra", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
        ];
        let ends = [&self.clients, &self.bus].into_iter().chain(&self.members);
        let routers = || [&self.edge, &self.core].into_iter().chain(&self.gateways);
        for namespace in ends.chain(routers()) {
            sysctl::set(namespace, &quick)?;
            netlink::up(namespace, "lo")?;
        }
        for namespace in routers() {
            sysctl::set(namespace, &[("ipv6/conf/all/forwarding", "1")])?;
        }
        sysctl::set(&self.lan, &[("ipv6/conf/default/disable_ipv6", "1")])?;
        netlink::up(&self.lan, "lo")?;
        // So Linux changes the flow label too: on a busy machine, flows would move although no route does.
        sysctl::set(&self.clients, &[("core/txrehash", "0")])?;
        for (namespace, seed) in [(&self.edge, "1"), (&self.core, "2")] {
            let hash = [
                ("ipv6/fib_multipath_hash_fields", ADDRESSES_AND_PORTS),
                ("ipv6/fib_multipath_hash_policy", "3"),
                ("ipv4/fib_multipath_hash_seed", seed),
            ];
            sysctl::set(namespace, &hash)?;
        }
        Ok(())
    }

    fn cables(&self) -> Result<()> {
        let end = |namespace, name, mac| End {
            namespace,
            name,
            mac,
        };
        let mut links = vec![
            (
                end(&self.clients, "eth0", None),
                end(&self.edge, "clients0", None),
            ),
            (
                end(&self.core, "lan0", Some(mac(0x20, 0xff))),
                end(&self.lan, "core", None),
            ),
        ];
        for (place, gateway) in self.gateways.iter().enumerate() {
            let name = GATEWAYS[place];
            links.extend([
                (
                    end(&self.edge, name, Some(mac(0xe, place))),
                    end(gateway, "clients0", Some(mac(0xa, place))),
                ),
                (
                    end(gateway, "up0", Some(mac(0xb, place))),
                    end(&self.core, name, Some(mac(0xc, place))),
                ),
                (end(gateway, "bus0", None), end(&self.bus, name, None)),
            ]);
        }
        for (place, member) in self.members.iter().enumerate() {
            let port = end(&self.lan, MEMBERS[place], None);
            links.push((end(member, "eth0", Some(mac(0x20, place))), port));
        }
        for (left, right) in links {
            netlink::veth(left, right)?;
            netlink::connect(left, right)?;
        }
        let mut ports = vec!["core"];
        ports.extend(&MEMBERS[..self.members.len()]);
        netlink::bridge(&self.lan, "br0", &ports)?;
        netlink::bridge(&self.bus, "br0", &GATEWAYS[..self.gateways.len()])
    }

    fn addresses(&self) -> Result<()> {
        let first = Ipv6Addr::from_bits(CLIENTS.to_bits() | 1);
        netlink::address(&self.edge, "clients0", first, 64)?;
        netlink::address(&self.edge, "clients0", EDGE, 64)?;
        for number in 1..=self.plan.clients {
            netlink::address(&self.clients, "eth0", client(number), 64)?;
        }
        netlink::route(&self.clients, ANY, 0, first, "eth0")?;
        netlink::address(&self.bus, "br0", bus(0), 64)?;
        for (place, gateway) in self.gateways.iter().enumerate() {
            let (name, own) = (GATEWAYS[place], link_local(place));
            netlink::address(&self.edge, name, EDGE, 64)?;
            netlink::address(gateway, "clients0", own, 64)?;
            netlink::address(gateway, "up0", own, 64)?;
            netlink::address(&self.core, name, CORE, 64)?;
            netlink::address(gateway, "bus0", bus(1 + last(place)), 64)?;
            netlink::route(gateway, CLIENTS, 64, EDGE, "clients0")?;
            netlink::route(gateway, ANY, 0, CORE, "up0")?;
            // Multipath passes over a next hop whose neighbour does not answer: on a busy machine that moves flows.
            netlink::neighbour(&self.edge, name, own, mac(0xa, place))?;
            netlink::neighbour(gateway, "clients0", EDGE, mac(0xe, place))?;
            netlink::neighbour(gateway, "up0", CORE, mac(0xc, place))?;
            netlink::neighbour(&self.core, name, own, mac(0xb, place))?;
        }
        netlink::address(&self.core, "lan0", lan(1), 64)?;
        netlink::address(&self.core, "lan0", CORE, 64)?;
        for (place, member) in self.members.iter().enumerate() {
            netlink::address(member, "eth0", link_local(place), 64)?;
            netlink::address(member, "eth0", lan(0x11 + last(place)), 64)?;
            netlink::address(member, "lo", B, 128)?;
            let care_of = care_of(place);
            // Deprecated: no program of the member chooses it as the source of something of its own.
            let text = format!("-6 address add {care_of}/128 dev eth0 nodad preferred_lft 0");
            ip(member, &text)?;
            netlink::route(member, ANY, 0, lan(1), "eth0")?;
            for address in [link_local(place), care_of] {
                netlink::neighbour(&self.core, "lan0", address, mac(0x20, place))?;
            }
        }
        Ok(())
    }

    /// Both sides use these gateways.
    pub fn spread(&self, gateways: &[usize]) -> Result<()> {
        let mut hops = String::new();
        for place in gateways {
            let (via, name) = (link_local(*place), GATEWAYS[*place]);
            hops.push_str(&format!(" nexthop via {via} dev {name}"));
        }
        ip(&self.edge, &format!("-6 route replace default{hops}"))?;
        ip(&self.core, &format!("-6 route replace {CLIENTS}/64{hops}"))
    }

    /// B is routed to this member.
    pub fn route(&self, member: usize) -> Result<()> {
        let via = link_local(member);
        let route = format!("-6 route replace {B}/128 via {via} dev lan0");
        ip(&self.core, &route)
    }

    fn daemon_of(&self, node: &'static str) -> Result<Daemon> {
        let place = |names: &[&str]| names.iter().position(|name| *name == node);
        let (namespace, config) = match (place(&GATEWAYS), place(&MEMBERS)) {
            (Some(gateway), _) => (&self.gateways[gateway], self.gateway_config()),
            (_, Some(member)) => (&self.members[member], member_config(member)),
            (None, None) => anyhow::bail!("no node {node}"),
        };
        let directory = self.ground.directory();
        let file = directory.join(format!("{node}.toml"));
        fs::write(&file, config)?;
        Daemon::start(Path::new(DAEMON), node, namespace, &file, directory)
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

    /// The daemon of a gateway.
    pub fn gateway(&self, place: usize) -> Result<&Daemon> {
        self.daemon(GATEWAYS[place])
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

fn member_config(place: usize) -> String {
    format!(
        "[member]\ninterfaces = [\"eth0\"]\nmode = \"tcx\"\n\
         [[member.group]]\nanycast = \"{B}\"\ncare_of = \"{}\"\njoin = \"start\"\n",
        care_of(place)
    )
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
