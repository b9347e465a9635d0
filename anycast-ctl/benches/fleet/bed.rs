//! A real bus: nats-server, and namespaces of gateways that it has a link to.

use std::{
    fs,
    io::Write as _,
    net::Ipv6Addr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anycast_ctl::core::Time;
use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use xtask::{
    lab::node::Daemon,
    net::{Namespace, Process, Site, netlink, sysctl},
    process,
};

use super::{
    ends::{B, CLIENTS},
    parts::SECRET,
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
const GATEWAYS: [&str; 2] = ["g1", "g2"];
pub const PORT: u16 = 4222;
/// Least room that a daemon may be given.
const LEAST: usize = 1024;
pub const LONG: Duration = Duration::from_secs(120);

pub struct Bed {
    server: Process,
    gateways: Vec<Namespace>,
    /// Where the server is.
    pub bus: Arc<Namespace>,
    secret: PathBuf,
    site: Site,
}

impl Bed {
    /// `None` where there is no nats-server, which is said.
    pub fn make() -> Result<Option<Self>> {
        if process::find("nats-server").is_none() {
            println!("nats-server is not installed (apt-get install nats-server)");
            return Ok(None);
        }
        // For what daemons pin.
        xtask::net::bpffs::private()?;
        let site = Site::claim("acf")?;
        let bus = site.namespace("bus")?;
        let gateways = GATEWAYS.map(|name| site.namespace(name));
        let gateways: Vec<_> = gateways.into_iter().collect::<Result<_>>()?;
        for namespace in gateways.iter().chain([&bus]) {
            sysctl::set(namespace, &[("ipv6/conf/default/accept_dad", "0")])?;
            netlink::up(namespace, "lo")?;
        }
        for (place, (name, namespace)) in GATEWAYS.iter().zip(&gateways).enumerate() {
            for (near, far) in [
                ((namespace, "clients0"), (namespace, "up0")),
                ((namespace, "bus0"), (&bus, *name)),
            ] {
                let [near, far] =
                    [near, far].map(|(namespace, name)| netlink::End::new(namespace, name));
                netlink::veth(near, far)?;
                netlink::connect(near, far)?;
            }
            netlink::address(&bus, name, address(place, 1), 64)?;
            netlink::address(namespace, "bus0", address(place, 2), 64)?;
        }
        let mut server = bus.command("nats-server");
        server.args(["--addr", "::", "--port", &PORT.to_string()]);
        let server = Process::start("nats-server", server, &site.directory().join("nats.log"))?;
        server.wait_line(LONG, "the bus is there", 0, |line| {
            line.contains("Server is ready").then_some(())
        })?;
        let secret = site.directory().join("secret");
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&secret)?;
        file.write_all(SECRET)?;
        Ok(Some(Self {
            server,
            gateways,
            bus: Arc::new(bus),
            secret,
            site,
        }))
    }

    /// Starts the daemon of a gateway with room for so many triples.
    pub fn start(&self, place: usize, count: usize) -> Result<Daemon> {
        let (name, room) = (
            GATEWAYS[place],
            (count + count / 8).next_power_of_two().max(LEAST),
        );
        let file = self.site.directory().join(format!("{name}.toml"));
        let (secret, server) = (self.secret.display(), address(place, 1));
        fs::write(
            &file,
            format!(
                "[correspondent]\ninterfaces = [\"clients0\", \"up0\"]\nclient_prefixes = [\"{CLIENTS}\"]\n\
                 allow = [\"{B}/128\"]\nmax_bindings = {count}\nmax_bindings_per_prefix = {count}\n\
                 max_bindings_per_member = {count}\n\
                 [correspondent.fleet]\nsecret = \"{secret}\"\nservers = [\"nats://[{server}]:{PORT}\"]\n\
                 name = \"{name}\"\n[data_plane]\nbindings = {room}\nflows = {}\n",
                2 * room
            ),
        )?;
        let directory = self.site.directory();
        Daemon::start(
            Path::new(DAEMON),
            name,
            &self.gateways[place],
            &file,
            directory,
        )
    }

    /// Where the daemon of a gateway is asked.
    pub fn socket(&self, place: usize) -> PathBuf {
        self.site
            .directory()
            .join(format!("{}.sock", GATEWAYS[place]))
    }

    /// Nothing is left of a gateway whose daemon has ended.
    pub fn forget(&self, place: usize) -> Result<()> {
        let mut command = self.gateways[place].command(DAEMON);
        command.arg("detach").output()?;
        Ok(())
    }
}

/// An address of the link to a gateway.
fn address(place: usize, host: u16) -> Ipv6Addr {
    let link = u16::try_from(place).unwrap_or_default() + 1;
    Ipv6Addr::new(0x2001, 0xdb8, 0xb5, link, 0, 0, 0, host)
}

/// The present time, as daemons have it.
pub fn now() -> Result<Time> {
    Ok(Time::ZERO + Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?))
}
