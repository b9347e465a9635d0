//! A router and a member on a veth pair, and their daemons.

use std::{
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anycast_ctl::shell::api::{Request, client, view};
use anyhow::{Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xtask::net::{Namespace, netlink, wait};

pub const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
pub const C1: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub const S1: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11);
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Neither daemon nor kernel announces what is asked for here.
pub const AGAIN: Duration = Duration::from_millis(50);

/// The link of the examples, and a directory for sockets.
pub struct Site {
    pub router: Namespace,
    pub member: Namespace,
    pub directory: PathBuf,
}

impl Site {
    pub fn new(name: &str) -> Result<Self> {
        let unique = format!("{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(format!("anycast-{unique}"));
        std::fs::create_dir_all(&directory)?;
        let member = Namespace::create(&format!("{unique}-m"))?;
        netlink::up(&member, "lo")?;
        netlink::address(&member, "lo", B, 128)?;
        Ok(Self {
            router: Namespace::create(&format!("{unique}-r"))?,
            member,
            directory,
        })
    }

    pub fn connect(&self) -> Result<()> {
        let router = netlink::End {
            namespace: &self.router,
            name: "lan0",
            mac: Some([2, 0, 0, 0, 0x20, 1]),
        };
        let member = netlink::End {
            namespace: &self.member,
            name: "eth0",
            mac: Some([2, 0, 0, 0, 0x20, 0x11]),
        };
        netlink::veth(router, member)?;
        for (namespace, interface, address) in
            [(&self.router, "lan0", ROUTER), (&self.member, "eth0", S1)]
        {
            namespace.run(|| {
                let mode = format!("/proc/sys/net/ipv6/conf/{interface}/addr_gen_mode");
                Ok(std::fs::write(mode, "1")?)
            })?;
            netlink::address(namespace, interface, address, 64)?;
        }
        netlink::connect(router, member)?;
        netlink::address(&self.member, "eth0", C1, 128)
    }

    pub fn router(&self) -> Result<Daemon> {
        Daemon::start(&self.router, &self.directory.join("r.sock"), "router.toml")
    }

    pub fn member(&self) -> Result<Daemon> {
        Daemon::start(
            &self.member,
            &self.directory.join("m.sock"),
            "member-s1.toml",
        )
    }

    /// A configuration of the member with its interface and a bridge.
    pub fn both(&self) -> Result<PathBuf> {
        let config = self.directory.join("m.toml");
        let text = "[member]\ninterfaces = [\"br0\", \"eth0\"]\n\
                    [[member.group]]\nanycast = \"2001:db8:a::53\"\n";
        std::fs::write(&config, text)?;
        Ok(config)
    }

    /// Whether the router's kernel has a route of ours to B.
    pub fn routed(&self) -> Result<bool> {
        self.router.run(|| {
            let routes = std::fs::read_to_string("/proc/thread-self/net/ipv6_route")?;
            let b: String = B
                .octets()
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .collect();
            Ok(routes
                .lines()
                .any(|line| line.starts_with(&format!("{b} 80"))))
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub struct Daemon {
    pub child: Child,
    pub socket: PathBuf,
}

impl Daemon {
    pub fn start(namespace: &Namespace, socket: &Path, example: &str) -> Result<Self> {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        Self::start_with(namespace, socket, &examples.join(example))
    }

    pub fn start_with(namespace: &Namespace, socket: &Path, config: &Path) -> Result<Self> {
        Self::spawn(run(namespace, socket, &config.to_string_lossy()), socket)
    }

    pub fn spawn(mut command: Command, socket: &Path) -> Result<Self> {
        let child = command.spawn()?;
        let mut daemon = Self {
            child,
            socket: socket.to_owned(),
        };
        wait_for("the daemon answers", || {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("the daemon ended: {status}");
            }
            Ok(daemon.status().is_ok())
        })?;
        Ok(daemon)
    }

    pub fn status(&self) -> Result<view::Status> {
        Ok(client::ask(&self.socket, &Request::Status)?)
    }

    pub fn end(mut self, signal: Signal) -> Result<Option<i32>> {
        kill(Pid::from_raw(self.child.id().try_into()?), signal)?;
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn run(namespace: &Namespace, socket: &Path, config: &str) -> Command {
    let mut command = namespace.command(env!("CARGO_BIN_EXE_anycast-ctl"));
    command
        .arg("--socket")
        .arg(socket)
        .args(["run", "--config", config]);
    command.env("ANYCAST_LOG", "error").stdout(Stdio::null());
    command
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    wait::poll(PATIENCE, AGAIN, what, || Ok(done()?.then_some(())))
}
