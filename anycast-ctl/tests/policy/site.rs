//! A router and two hosts on a bridge.

use std::{
    fs::File,
    net::Ipv6Addr,
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use anycast_common::wire::{ipv6, mld};
use anycast_ctl::shell::api::{Request, client, view};
use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::de::DeserializeOwned;
use xtask::net::{self, Namespace, Sender, netlink};

pub const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
pub const HONEST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11);
pub const HONEST_MAC: [u8; 6] = [2, 0, 0, 0, 0x20, 0x11];
/// Not the lowest that there can be.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Neither daemon nor kernel announces what is asked for here.
pub const AGAIN: Duration = Duration::from_millis(10);

/// A source that the policy lets in, and that sends far too much.
pub const FLOODER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x21);
/// One that it does not let in.
pub const DENIED: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x66);
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0x20, 0x21];

pub const CONFIG: &str = r#"
[router]
interfaces = ["lan0"]
next_hops = "best"

[router.limits]
reports_per_second = 100
burst = 200

[[router.policy]]
source = "fe80::11/128"
anycast = "2001:db8:a::/48"
action = "allow"

[[router.policy]]
source = "fe80::21/128"
anycast = "2001:db8:f::/48"
action = "allow"
max_groups_per_member = 64
"#;

pub struct Site {
    router: Namespace,
    pub honest: Namespace,
    pub flooder: Namespace,
    _switch: Namespace,
    directory: PathBuf,
    pub socket: PathBuf,
    daemon: Option<Child>,
}

impl Site {
    pub fn new(name: &str) -> Result<Self> {
        Self::with(name, CONFIG)
    }

    pub fn with(name: &str, config: &str) -> Result<Self> {
        let unique = format!("{name}-{}", std::process::id());
        let namespace = |role: &str| Namespace::create(&format!("{unique}-{role}"));
        let switch = namespace("sw")?;
        let hosts = [namespace("r")?, namespace("h")?, namespace("f")?];
        let ends = [
            ("lan0", "p0", [2, 0, 0, 0, 0x20, 1]),
            ("eth0", "p1", HONEST_MAC),
            ("eth0", "p2", [2, 0, 0, 0, 0x20, 0x21]),
        ];
        for (namespace, (name, port, mac)) in hosts.iter().zip(ends) {
            let far = netlink::End {
                namespace: &switch,
                name: port,
                mac: None,
            };
            let mac = Some(mac);
            let near = netlink::End {
                namespace,
                name,
                mac,
            };
            netlink::veth(near, far)?;
            netlink::connect(near, far)?;
        }
        netlink::bridge(&switch, "br0", &["p0", "p1", "p2"])?;
        let [router, honest, flooder] = hosts;
        netlink::address(&router, "lan0", ROUTER, 64)?;
        let directory = std::env::temp_dir().join(format!("anycast-{unique}"));
        std::fs::create_dir_all(&directory)?;
        let mut site = Self {
            router,
            honest,
            flooder,
            _switch: switch,
            socket: directory.join("r.sock"),
            directory,
            daemon: None,
        };
        site.start(config)?;
        Ok(site)
    }

    fn start(&mut self, text: &str) -> Result<()> {
        let config = self.directory.join("router.toml");
        std::fs::write(&config, text)?;
        let mut command = self.router.command(env!("CARGO_BIN_EXE_anycast-ctl"));
        command.arg("--socket").arg(&self.socket);
        command.arg("run").arg("--config").arg(&config);
        let path = self.log();
        let log = File::create(&path)?;
        command.env("ANYCAST_LOG", "off,anycast_ebpf=warn");
        command.stdout(log.try_clone()?).stderr(log);
        let child = self.daemon.insert(command.spawn()?);
        wait("the router is ready on its link", || {
            if let Some(status) = child.try_wait()? {
                let said = std::fs::read_to_string(&path)?;
                bail!("the daemon ended: {status}: {said}");
            }
            let status = client::ask::<view::Status>(&self.socket, &Request::Status);
            Ok(status.is_ok_and(|status| {
                status
                    .interfaces
                    .iter()
                    .all(|on| on.up && on.link_local.is_some() && on.program.is_some())
            }))
        })
    }

    fn log(&self) -> PathBuf {
        self.directory.join("router.log")
    }

    /// What the programs have logged. The daemon's own lines are not there.
    pub fn logged(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.log())?)
    }

    /// Asks the daemon to end, and gives how long that takes.
    pub fn end(&mut self) -> Result<Duration> {
        let mut daemon = self.daemon.take().context("a daemon")?;
        let start = Instant::now();
        kill(Pid::from_raw(daemon.id().try_into()?), Signal::SIGTERM)?;
        let mut status = None;
        wait("the daemon ends", || {
            status = daemon.try_wait()?;
            Ok(status.is_some())
        })?;
        ensure!(status.is_some_and(|status| status.success()), "{status:?}");
        Ok(start.elapsed())
    }

    /// A mistake in the configuration.
    pub fn spoil(&self) -> Result<()> {
        self.write("[router]\ninterfaces = []\n")
    }

    /// Another configuration, for the daemon to read again.
    pub fn write(&self, config: &str) -> Result<()> {
        Ok(std::fs::write(self.directory.join("router.toml"), config)?)
    }

    /// Number of the daemon's process.
    pub fn process(&self) -> Result<u32> {
        Ok(self.daemon.as_ref().context("a daemon")?.id())
    }

    pub fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        Ok(client::ask(&self.socket, request)?)
    }

    pub fn counter(&self, name: &str) -> Result<u64> {
        let counters: view::Counters = self.ask(&Request::Counters)?;
        Ok(counters.data_plane[name])
    }

    /// Whether the router's kernel has a /128 route to the address.
    pub fn routed(&self, anycast: Ipv6Addr) -> Result<bool> {
        self.router.run(|| {
            let routes = std::fs::read_to_string("/proc/thread-self/net/ipv6_route")?;
            let prefix = format!("{:032x} 80", u128::from(anycast));
            Ok(routes.lines().any(|line| line.starts_with(&prefix)))
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Sends Reports on eth0, whatever their source.
pub struct Reports(Sender);

impl Reports {
    pub fn open(namespace: &Namespace) -> Result<Self> {
        Ok(Self(Sender::open(namespace, "eth0")?))
    }

    pub fn report(&self, source: Ipv6Addr, mac: [u8; 6], address: Ipv6Addr) -> Result<()> {
        let report = mld::Message::Report { address };
        self.mld(source, mac, ipv6::ALL_ROUTERS, report)
    }

    pub fn done(&self, source: Ipv6Addr, mac: [u8; 6], address: Ipv6Addr) -> Result<()> {
        let done = mld::Message::Done { address };
        self.mld(source, mac, ipv6::ALL_ROUTERS, done)
    }

    /// Any MLDv1 message.
    pub fn mld(
        &self,
        source: Ipv6Addr,
        mac: [u8; 6],
        destination: Ipv6Addr,
        message: mld::Message,
    ) -> Result<()> {
        let mut frame = [0; 14 + mld::PACKET_LEN];
        frame[..2].copy_from_slice(&[0x33, 0x33]);
        frame[2..6].copy_from_slice(&destination.octets()[12..]);
        frame[6..12].copy_from_slice(&mac);
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        message.emit(source, destination, &mut frame[14..])?;
        // Where the queue of the link is full, a flood goes on.
        self.0.send(&frame)?;
        Ok(())
    }
}

/// Whether every link sends: the kernel sets them going some time after both ends are up, and drops
/// frames until then.
pub fn wait(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    net::wait::poll(PATIENCE, AGAIN, what, || Ok(done()?.then_some(())))
}

/// A Report, and its repetition as a robust host sends it, until there is a route.
pub fn join(site: &Site, frames: &Reports, anycast: Ipv6Addr) -> Result<Duration> {
    let start = Instant::now();
    let mut next = start;
    let what = format!("a route to {anycast}");
    let elapsed = net::wait::poll(Duration::from_secs(10), AGAIN, &what, || {
        if Instant::now() >= next {
            frames.report(HONEST, HONEST_MAC, anycast)?;
            next += Duration::from_millis(400);
        }
        Ok(site.routed(anycast)?.then(|| start.elapsed()))
    })?;
    Ok(elapsed)
}
