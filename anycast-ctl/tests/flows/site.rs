//! A client behind a gateway, a router that hashes flows over the members of B, and a way back around.
//!
//! ```text
//!   client --- gateway --- router --- lan --- s1 .. s4
//!      '------ gateway2 ----'  '--- outside
//! ```
//!
//! The same network stands without a daemon, too: what plain anycast does is the measure of what we do.

mod daemons;
mod network;

use std::{net::Ipv6Addr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{node::Daemon, visitor},
    net::{Namespace, Pass, Process, Site as Place, Wire, netlink},
};

/// For what happens at once, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(10);
/// How often to ask a daemon, which announces no change of its state.
pub const ASK_AGAIN: Duration = Duration::from_millis(50);

const NAMES: [&str; 4] = ["s1", "s2", "s3", "s4"];
/// Of `fib_multipath_hash_policy=3`: source, destination, protocol, both ports.
const ADDRESSES_AND_PORTS: &str = "55";
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
/// The client by its second uplink.
const CLIENT_BACK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x200);
/// Addresses of hosts on other networks.
pub const OUTSIDE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x100);

/// The care-of address of a member, by its place.
pub const fn care_of(member: usize) -> Ipv6Addr {
    lan(0xc1 + member)
}

/// The Ethernet address of a member.
pub const fn mac(member: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0x20, host(member)]
}

const fn host(member: usize) -> u8 {
    0x11 + member.to_le_bytes()[0]
}

/// An address on the link of the members.
pub const fn lan(host: usize) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0db8_0020 << 80 | host as u128)
}

fn link_local(member: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host(member).into())
}

/// Where the programs of our daemons are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// XDP in the driver.
    Native,
    /// In the stack, with all offloads on.
    Tcx,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Tcx => "tcx",
        }
    }
}

/// What the router's multipath hash looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// `fib_multipath_hash_policy=0`, the default: addresses and the flow label, which Linux makes up per socket.
    FlowLabel,
    /// Addresses, protocol and ports.
    Ports,
}

/// What a network is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Members of B.
    pub members: usize,
    pub hash: Hash,
    /// None: no daemon runs anywhere.
    pub mode: Option<Mode>,
}

impl Plan {
    pub const fn new(members: usize, mode: Option<Mode>) -> Self {
        Self {
            members,
            hash: Hash::Ports,
            mode,
        }
    }
}

/// What differs from the defaults in the configurations of daemons.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// More clients.
    pub clients: String,
    /// Lines of `[correspondent]`.
    pub correspondent: String,
    /// Tables behind it.
    pub gateway: String,
    /// Lines of the group.
    pub group: String,
    /// Tables behind it.
    pub member: String,
    /// Of a wire between the gateway and the router that can be a bad one.
    pub seed: Option<u64>,
    /// Members at which no daemon runs, by their places.
    pub plain: Vec<usize>,
}

/// Everything that stands. It ends when this is dropped.
pub struct Site {
    // In the order in which they must end.
    daemons: Vec<Daemon>,
    services: Vec<Process>,
    passes: Vec<Pass>,
    /// Between the gateway and the router, where it was asked for.
    pub wire: Option<Wire>,
    pub plan: Plan,
    settings: Settings,
    pub client: Namespace,
    pub gateway: Namespace,
    pub gateway2: Namespace,
    pub router: Namespace,
    pub outside: Namespace,
    pub lan: Namespace,
    road: Namespace,
    pub members: Vec<Namespace>,
    ground: Place,
}

impl Site {
    /// The network with a service on every member, a route to all of them, and the daemons of the plan.
    pub fn up(plan: Plan) -> Result<Self> {
        Self::with(plan, Settings::default())
    }

    /// The same with daemons of other settings.
    pub fn with(plan: Plan, settings: Settings) -> Result<Self> {
        let mut site = Self::network(plan, settings)?;
        site.start()?;
        Ok(site)
    }

    /// The network without a daemon yet.
    pub fn network(plan: Plan, settings: Settings) -> Result<Self> {
        let ground = Place::claim("acf")?;
        let namespace = |name: &str| ground.namespace(name);
        let members = NAMES[..plan.members].iter().map(|name| namespace(name));
        let mut site = Self {
            daemons: Vec::new(),
            services: Vec::new(),
            passes: Vec::new(),
            wire: None,
            plan,
            settings,
            client: namespace("client")?,
            gateway: namespace("gateway")?,
            gateway2: namespace("gateway2")?,
            router: namespace("router")?,
            outside: namespace("outside")?,
            lan: namespace("lan")?,
            road: namespace("road")?,
            members: members.collect::<Result<_>>()?,
            ground,
        };
        site.sysctls()?;
        site.cables()?;
        site.addresses()?;
        let all: Vec<_> = (0..plan.members).collect();
        site.route(&all)?;
        for (name, namespace) in NAMES.iter().zip(&site.members) {
            let service = visitor::serve(name, namespace, site.ground.directory())?;
            site.services.push(service);
        }
        Ok(site)
    }

    /// The daemon of a node.
    pub fn daemon(&self, node: &str) -> Result<&Daemon> {
        let found = self.daemons.iter().find(|daemon| daemon.node() == node);
        found.with_context(|| format!("no daemon runs on {node}"))
    }

    /// The daemon of a member.
    pub fn member(&self, member: usize) -> Result<&Daemon> {
        self.daemon(NAMES[member])
    }

    /// A counter of the gateway's programs.
    pub fn counter(&self, name: &str) -> Result<u64> {
        self.daemon("gateway")?.counter("data_plane", name)
    }

    /// The Ethernet addresses of a frame that the client sends by its gateway.
    pub fn way_from_client(&self) -> Result<[[u8; 6]; 2]> {
        Ok([
            netlink::mac(&self.client, "eth0")?,
            netlink::mac(&self.gateway, "clients0")?,
        ])
    }

    /// Those of a frame that a host elsewhere sends to its router.
    pub fn way_from_outside(&self) -> Result<[[u8; 6]; 2]> {
        Ok([
            netlink::mac(&self.outside, "eth0")?,
            netlink::mac(&self.router, "out0")?,
        ])
    }

    /// For logs.
    pub fn directory(&self) -> &Path {
        self.ground.directory()
    }

    /// The place of a member by its name.
    pub fn place_of(name: &str) -> Option<usize> {
        NAMES.iter().position(|known| *known == name)
    }

    /// The ends of the daemons' logs, and what counters say.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for daemon in &self.daemons {
            text.push_str(&format!("\n   {}'s log ends:\n", daemon.node()));
            for line in daemon.tail(12) {
                text.push_str(&format!("     {line}\n"));
            }
            if let Ok(counters) = daemon.ask("counters") {
                text.push_str(&format!("     {}\n", nonzero(&counters)));
            }
        }
        text
    }
}

fn nonzero(counters: &serde_json::Value) -> String {
    let sides = ["data_plane", "controller"].iter();
    let entries = sides
        .filter_map(|side| counters[side].as_object())
        .flatten();
    let entries = entries.filter(|(_, count)| count.as_u64() != Some(0));
    entries
        .map(|(name, count)| format!("{name} {count} "))
        .collect()
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
