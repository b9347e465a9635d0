//! Between two daemons: a client's first packet, the member's programs and daemon, the gateway's
//! programs and daemon, and back.

use std::{
    fs,
    net::{Ipv6Addr, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anycast_common::wire::{checksum, ipv6};
use anyhow::Result;
use xtask::{
    lab::node::Daemon,
    net::{
        Namespace, Pass, Sender, Site,
        ethtool::{self, Offload},
        netlink::{self, End},
        sysctl, wait,
    },
};

use super::{
    common::{self, rate},
    ends::{B, C, CLIENTS, client},
    report,
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
/// Clients of a round, one straight after the other.
const ROUND: usize = 5000;
const ROUNDS: usize = 7;
const COUNT: usize = ROUND * ROUNDS;
/// After which clients are sent again whose packets a full link has lost.
const PAUSE: Duration = Duration::from_secs(1);
/// Handshakes that are under way at the same time.
const UNDER_WAY: usize = 2000;
/// How often the member is asked how many there are, which takes it a fifth of a millisecond.
const LOOK: Duration = Duration::from_millis(8);
/// What a daemon has before it at a time, where it is asked more often.
pub(super) const WINDOW: usize = 1000;
pub(super) const LONG: Duration = Duration::from_secs(120);
pub(super) const AGAIN: Duration = Duration::from_millis(1);
pub(super) const PORT: u16 = 9;
/// Thousands of handshakes a second.
const WANTED: f64 = 40.0;

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const GATEWAY_UP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 1);

/// What a gateway is, and its limits: all handshakes are of one member and of clients of one /64.
pub(super) fn gateway() -> (String, &'static str) {
    let role = format!(
        r#"
[correspondent]
interfaces = ["clients0", "up0"]
client_prefixes = ["{CLIENTS}"]
allow = ["{B}/128"]
"#
    );
    let limits = "
[correspondent.limits]
prefix_rate = 4000000
rate = 4000000
";
    (role, limits)
}

pub(super) fn member() -> String {
    format!(
        r#"
[member]
interfaces = ["eth0"]

[[member.group]]
anycast = "{B}"
care_of = "{C}"

[member.handshake]
prefix_rate = 1000000
rate = 1000000
"#
    )
}

pub fn run() -> Result<()> {
    // For what the daemons pin.
    xtask::net::bpffs::private()?;
    println!(
        "path: a packet of each of {COUNT} clients, two daemons, XDP native on veth; at most \
         {UNDER_WAY} handshakes under way"
    );
    let site = Site::claim("ach")?;
    let clients = site.namespace("c")?;
    let (gateway_side, member_side) = (site.namespace("g")?, site.namespace("m")?);
    cables(&clients, &gateway_side, &member_side)?;
    // The gateway redirects to the clients' end.
    let _pass = Pass::attach(&clients, "eth0")?;
    let service = member_side.run(|| Ok(UdpSocket::bind((B, PORT))?))?;
    let (role, limits) = gateway();
    let gateway = Node::start("g", &gateway_side, &(role + limits), site.directory())?;
    let member = Node::start("m", &member_side, &member(), site.directory())?;
    let sender = Sender::open(&clients, "eth0")?;

    let frames: Vec<_> = (0..COUNT)
        .map(|number| frame(client(number), PORT))
        .collect();
    let before = [gateway.busy()?, member.busy()?];
    let (mut sent, mut rates) = (0, Vec::new());
    for round in frames.chunks(ROUND) {
        let start = Instant::now();
        for chunk in round.chunks(UNDER_WAY) {
            sender.send_all(chunk)?;
            sent += chunk.len();
            wait::poll(LONG, LOOK, "most of them are bound", || {
                Ok((member.bound()? + UNDER_WAY / 2 >= sent).then_some(()))
            })?;
        }
        let mut asked = Instant::now();
        wait::poll(LONG, LOOK, "all of them are bound", || {
            // A link that is full loses frames. Nobody is told of clients that are under way or bound.
            if asked.elapsed() > PAUSE {
                sender.send_all(round)?;
                asked = Instant::now();
            }
            Ok((member.bound()? >= sent).then_some(()))
        })?;
        rates.push(rate(round.len(), start.elapsed()));
    }
    let [at_gateway, at_member] = [gateway.busy()? - before[0], member.busy()? - before[1]];
    let ratios = rates.iter().map(|rate| rate / WANTED).collect();
    let median = report::note("whole handshakes between two daemons", ratios) * WANTED;
    // A round in which a message is lost lasts a second longer.
    let again = member
        .controller("home_test_init_sent")?
        .saturating_sub(COUNT);
    println!(
        "  {sent} handshakes, {ROUND} at a time: {median:.1}k/s ({rates:.1?}), {again} begun again; a core of the \
         gateway's daemon does {:.1}k/s, one of the member's {:.1}k/s",
        rate(COUNT, Duration::from_secs_f64(at_gateway)),
        rate(COUNT, Duration::from_secs_f64(at_member)),
    );
    drop(service);
    Ok(())
}

pub(super) fn cables(clients: &Namespace, gateway: &Namespace, member: &Namespace) -> Result<()> {
    let end = |namespace, name, mac| End {
        namespace,
        name,
        mac,
    };
    let links = [
        (
            end(clients, "eth0", Some(CLIENT_MAC)),
            end(gateway, "clients0", Some(GATEWAY_MAC)),
        ),
        (end(gateway, "up0", None), end(member, "eth0", None)),
    ];
    for namespace in [clients, gateway, member] {
        sysctl::set(namespace, &[("ipv6/conf/default/accept_dad", "0")])?;
        netlink::up(namespace, "lo")?;
    }
    for (left, right) in links {
        netlink::veth(left, right)?;
        for end in [left, right] {
            ethtool::set(end.namespace, end.name, Offload::TransmitChecksum, false)?;
            netlink::up(end.namespace, end.name)?;
        }
    }
    sysctl::set(gateway, &[("ipv6/conf/all/forwarding", "1")])?;
    netlink::address(gateway, "clients0", GATEWAY, 64)?;
    netlink::address(gateway, "up0", GATEWAY_UP, 64)?;
    netlink::address(member, "eth0", C, 64)?;
    netlink::address(member, "lo", B, 128)?;
    netlink::route(member, Ipv6Addr::UNSPECIFIED, 0, GATEWAY_UP, "eth0")?;
    netlink::route(gateway, B, 128, C, "up0")?;
    // What goes to the clients goes nowhere: they have one MAC address, by one neighbour.
    netlink::route(gateway, client(0), 96, client(COUNT), "clients0")?;
    netlink::neighbour(gateway, "clients0", client(COUNT), CLIENT_MAC)
}

/// A client's packet to the service.
pub(super) fn frame(client: Ipv6Addr, port: u16) -> Vec<u8> {
    let packet = datagram([client, B], [port, PORT]);
    [&GATEWAY_MAC[..], &CLIENT_MAC, &[0x86, 0xdd], &packet].concat()
}

/// A datagram between these addresses and ports.
pub(super) fn datagram([source, destination]: [Ipv6Addr; 2], ports: [u16; 2]) -> Vec<u8> {
    let mut packet = vec![0; 40 + 8 + 4];
    ipv6::header(&mut packet, source, destination, 17, 64, 12).unwrap();
    let ports = ports.map(u16::to_be_bytes);
    packet[40..44].copy_from_slice(ports.as_flattened());
    packet[44..46].copy_from_slice(&12_u16.to_be_bytes());
    let (source, destination) = (source.octets(), destination.octets());
    let sum = checksum::transport(&source, &destination, 17, &packet[40..]);
    packet[46..48].copy_from_slice(&sum.to_ne_bytes());
    packet
}

/// A daemon, and where it is asked.
pub(super) struct Node {
    pub(super) process: u32,
    pub(super) socket: PathBuf,
    _daemon: Daemon,
}

impl Node {
    pub(super) fn start(
        name: &'static str,
        namespace: &Namespace,
        config: &str,
        directory: &Path,
    ) -> Result<Self> {
        let file = directory.join(format!("{name}.toml"));
        fs::write(&file, config)?;
        let mut daemon = Daemon::start(Path::new(DAEMON), name, namespace, &file, directory)?;
        daemon.wait_ready()?;
        Ok(Self {
            process: daemon.process().id(),
            socket: directory.join(format!("{name}.sock")),
            _daemon: daemon,
        })
    }

    pub(super) fn bound(&self) -> Result<usize> {
        self.controller("handshake_bound")
    }

    /// A counter of the controller.
    pub(super) fn controller(&self, counter: &str) -> Result<usize> {
        let (counters, _) = common::sample(&self.socket, self.process)?;
        Ok(counters.controller[counter].try_into()?)
    }

    pub(super) fn busy(&self) -> Result<f64> {
        Ok(common::sample(&self.socket, self.process)?.1)
    }
}
