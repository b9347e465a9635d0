//! The daemon itself: a router and a member on a veth pair, asked over their control sockets.

mod attach;
mod bpffs;

use std::{
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anycast_ctl::shell::api::{Request, client, view};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xtask::{
    kernel_tests::Suite,
    net::{Namespace, netlink, wait},
};

const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
const C1: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const S1: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11);
const PATIENCE: Duration = Duration::from_secs(20);
/// Neither daemon nor kernel announces what is asked for here.
const AGAIN: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let suite = Suite::new()
        .test("a member joins, leaves and the route follows", member_joins)
        .test("a route outlives a crash and not a shutdown", crash)
        .test("a second daemon leaves the first alone", second_daemon)
        .test("an interface may come late", late_interface)
        .test("a mode that is chosen is explained", attach::mode)
        .test_with_pins(
            "a foreign XDP program is left alone, and named",
            attach::foreign_program,
        )
        .test_with_pins(
            "what dead daemons have pinned is adopted or removed",
            attach::pins,
        );
    bpffs::add(suite).run()
}

/// The link of the examples, and a directory for sockets.
struct Site {
    router: Namespace,
    member: Namespace,
    directory: PathBuf,
}

impl Site {
    fn new(name: &str) -> Result<Self> {
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

    fn connect(&self) -> Result<()> {
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

    fn router(&self) -> Result<Daemon> {
        Daemon::start(&self.router, &self.directory.join("r.sock"), "router.toml")
    }

    fn member(&self) -> Result<Daemon> {
        Daemon::start(
            &self.member,
            &self.directory.join("m.sock"),
            "member-s1.toml",
        )
    }

    /// A configuration of the member with its interface and a bridge.
    fn both(&self) -> Result<PathBuf> {
        let config = self.directory.join("m.toml");
        let text = "[member]\ninterfaces = [\"br0\", \"eth0\"]\n\
                    [[member.group]]\nanycast = \"2001:db8:a::53\"\n";
        std::fs::write(&config, text)?;
        Ok(config)
    }

    /// Whether the router's kernel has a route of ours to B.
    fn routed(&self) -> Result<bool> {
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

struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(namespace: &Namespace, socket: &Path, example: &str) -> Result<Self> {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        Self::start_with(namespace, socket, &examples.join(example))
    }

    fn start_with(namespace: &Namespace, socket: &Path, config: &Path) -> Result<Self> {
        Self::spawn(run(namespace, socket, &config.to_string_lossy()), socket)
    }

    fn spawn(mut command: Command, socket: &Path) -> Result<Self> {
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

    fn status(&self) -> Result<view::Status> {
        Ok(client::ask(&self.socket, &Request::Status)?)
    }

    fn end(mut self, signal: Signal) -> Result<Option<i32>> {
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

fn run(namespace: &Namespace, socket: &Path, config: &str) -> Command {
    let mut command = namespace.command(env!("CARGO_BIN_EXE_anycast-ctl"));
    command
        .arg("--socket")
        .arg(socket)
        .args(["run", "--config", config]);
    command.env("ANYCAST_LOG", "error").stdout(Stdio::null());
    command
}

fn wait_for(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    wait::poll(PATIENCE, AGAIN, what, || Ok(done()?.then_some(())))
}

fn member_joins() -> Result<()> {
    let site = Site::new("joins")?;
    site.connect()?;
    let router = site.router()?;
    let member = site.member()?;
    wait_for("the route is there", || site.routed())?;
    let members = client::members(&router.socket, None, None)?;
    let [known] = &members[..] else {
        bail!("one member, not {members:?}");
    };
    ensure!(known.member == S1 && known.mac == "02:00:00:00:20:11" && known.rule == Some(0));
    let groups = client::groups(&router.socket)?;
    ensure!(
        groups.router[0].next_hops == ["fe80::11%lan0"],
        "{groups:?}"
    );
    let groups = client::groups(&member.socket)?;
    ensure!(
        groups.member[0].joined && groups.member[0].care_of == Some(C1),
        "{groups:?}"
    );

    let _: view::Done = client::ask(&member.socket, &Request::Leave { anycast: B })?;
    wait_for("the route goes", || Ok(!site.routed()?))?;
    let _: view::Done = client::ask(&member.socket, &Request::Join { anycast: B })?;
    wait_for("the route comes back", || site.routed())?;

    // A member that ends in order is gone at once.
    ensure!(member.end(Signal::SIGTERM)? == Some(0));
    wait_for("the route goes with the member", || Ok(!site.routed()?))?;
    let status = router.status()?;
    ensure!(
        status.interfaces[0].program.as_deref() == Some("anycast_r"),
        "{status:?}"
    );
    ensure!(status.summary.members == 0, "{status:?}");
    Ok(())
}

fn crash() -> Result<()> {
    let site = Site::new("crash")?;
    site.connect()?;
    let router = site.router()?;
    let _member = site.member()?;
    wait_for("the route is there", || site.routed())?;
    let socket = router.socket.clone();
    ensure!(router.end(Signal::SIGKILL)?.is_none());
    ensure!(
        site.routed()? && socket.exists(),
        "a crash cleans nothing up"
    );

    let router = site.router().context("after the crash")?;
    ensure!(site.routed()?, "the route is adopted");
    wait_for("the member is known again", || {
        Ok(router.status()?.summary.members == 1)
    })?;
    ensure!(router.end(Signal::SIGINT)? == Some(0));
    ensure!(!site.routed()? && !socket.exists(), "nothing is left");
    Ok(())
}

fn second_daemon() -> Result<()> {
    let site = Site::new("second")?;
    site.connect()?;
    let router = site.router()?;
    let config = format!("{}/../examples/router.toml", env!("CARGO_MANIFEST_DIR"));
    let output = run(&site.router, &router.socket, &config).output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{stderr}");
    ensure!(stderr.contains("another daemon listens on"), "{stderr}");
    router.status().context("the first one still answers")?;
    Ok(())
}

fn late_interface() -> Result<()> {
    let site = Site::new("late")?;
    let router = site.router()?;
    ensure!(router.status()?.interfaces[0].ifindex.is_none());
    site.connect()?;
    wait_for("the program is attached", || {
        let status = router.status()?;
        let interface = &status.interfaces[0];
        Ok(interface.program.is_some() && interface.link_local == Some(ROUTER))
    })?;
    let _member = site.member()?;
    wait_for("the route is there", || site.routed())?;
    netlink::delete(&site.router, "lan0")?;
    wait_for("the interface is missed", || {
        let status = router.status()?;
        Ok(status.interfaces[0].ifindex.is_none() && status.summary.members == 0)
    })?;
    site.connect()?;
    wait_for("it is attached again", || {
        Ok(router.status()?.interfaces[0].program.is_some())
    })
}
