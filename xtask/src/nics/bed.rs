//! In the guest: a network of four namespaces, with the daemons that run there.

use std::{fs, net::Ipv6Addr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    case::{self, Case},
    counted,
};
use crate::{
    lab::{node::Daemon, topology::B},
    net::{
        Namespace, Process, Site,
        ethtool::{self, Offload},
        netlink::{self, End},
        prepare, sysctl, wait,
    },
    process,
};

const WG: &str = "/usr/bin/wg";
/// Where pppd is in the guest.
pub(super) const PPPD: &str = "/usr/sbin/pppd";
/// The name of its plug-in for PPPoE.
pub(super) const PPPOE: &str = "pppoe.so";
const DAEMON: &str = "/usr/sbin/anycast-ctl";
pub(super) const SOON: Duration = Duration::from_secs(15);
pub(super) const AGAIN: Duration = Duration::from_millis(200);
pub(super) const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let what = format!("{program} {}", arguments.join(" "));
    process::capture_ok(Command::new(program).args(arguments), &what, SOON)
}

/// A line of `ip`, or of `wg` where it begins so, or of what `ethtool -K` does.
pub(super) fn ip(namespace: &Namespace, line: &str) -> Result<()> {
    if let [offload, device, state] = line.split(' ').collect::<Vec<_>>()[..] {
        let on = state == "on";
        match offload {
            "rxvlan" => return ethtool::take_tags_off(namespace, device, on),
            "lro" => return ethtool::merge_in_device(namespace, device, on),
            "tso" => return ethtool::set(namespace, device, Offload::Segmentation, on),
            _ => {}
        }
    }
    let (program, line) = match line.strip_prefix("wg ") {
        Some(line) => (WG, line),
        None => ("/usr/sbin/ip", line),
    };
    let mut command = namespace.command(program);
    command.args(line.split_whitespace());
    process::capture_ok(&mut command, &format!("{program} {line}"), SOON).map(drop)
}

/// Interface with this card, once it is in this namespace again.
fn card(number: u8) -> Result<String> {
    let wanted = case::mac(number);
    wait::poll(SOON, AGAIN, "the card is there", || {
        for entry in fs::read_dir("/sys/class/net")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let address = fs::read_to_string(format!("/sys/class/net/{name}/address"));
            let is_card = Path::new(&format!("/sys/class/net/{name}/device")).exists();
            if is_card && address.is_ok_and(|address| address.trim() == wanted) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    })
}

/// Makes the private keys of both ends of WireGuard.
pub(super) fn make_keys() -> Result<()> {
    for end in ["1", "2"] {
        fs::write(format!("/tmp/wg{end}"), run(WG, &["genkey"])?)?;
    }
    Ok(())
}

/// The public key of an end of WireGuard.
fn public_key(end: &str) -> Result<String> {
    let key = fs::File::open(format!("/tmp/wg{end}"))?;
    let output = Command::new(WG).arg("pubkey").stdin(key).output()?;
    ensure!(
        output.status.success(),
        "wg pubkey: {}",
        process::describe(output.status)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The mode of an interface, and why.
pub(super) fn attached(daemon: &Daemon, name: &str) -> Result<(String, String)> {
    let status = daemon.ask("status")?;
    let interfaces = status["interfaces"].as_array().context("no interfaces")?;
    let found = interfaces
        .iter()
        .find(|interface| interface["name"] == *name);
    let found = found.with_context(|| format!("no {name} in {status}"))?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Ok((text("mode"), text("mode_reason")))
}

/// The machines, with what runs on them. Dropping it removes all.
pub(super) struct Bed {
    pub(super) daemons: Vec<Daemon>,
    pub(super) services: Vec<Process>,
    pub(super) client: Namespace,
    pub(super) gateway: Namespace,
    pub(super) router: Namespace,
    pub(super) member: Namespace,
    pub(super) site: Site,
}

/// The interfaces that have programs: the gateway's, and its neighbour; the router's, and the member's.
pub(super) struct Names(pub(super) [&'static str; 4]);

impl Bed {
    pub(super) fn up(case: &Case) -> Result<(Self, Names)> {
        let site = Site::claim("acn")?;
        let mut bed = Self {
            daemons: Vec::new(),
            services: Vec::new(),
            client: site.namespace("client")?,
            gateway: site.namespace("gateway")?,
            router: site.namespace("router")?,
            member: site.namespace("member")?,
            site,
        };
        for namespace in [&bed.client, &bed.gateway, &bed.router, &bed.member] {
            prepare(namespace)?;
        }
        for namespace in [&bed.gateway, &bed.router] {
            sysctl::set(namespace, &[("ipv6/conf/all/forwarding", "1")])?;
        }
        let end = |namespace, name| End {
            namespace,
            name,
            mac: None,
        };
        let (near, far) = (end(&bed.client, "eth0"), end(&bed.gateway, "clients0"));
        netlink::veth(near, far)?;
        for end in [near, far] {
            ethtool::set(end.namespace, end.name, Offload::TransmitChecksum, false)?;
            ethtool::set(end.namespace, end.name, Offload::Segmentation, false)?;
            netlink::mtu(end.namespace, end.name, case.mtu)?;
        }
        netlink::connect(near, far)?;
        let ends = [
            (&bed.gateway, "up0"),
            (&bed.router, "gw0"),
            (&bed.router, "lan0"),
            (&bed.member, "eth0"),
        ];
        for (number, (namespace, name)) in (1..).zip(ends) {
            let card = card(number)?;
            let to = namespace.name();
            run(
                "/usr/sbin/ip",
                &["link", "set", &card, "netns", to, "name", name],
            )?;
            ip(namespace, &format!("link set {name} mtu {} up", case.mtu))?;
        }
        let (names, services) = bed.stack(case, ends)?;
        for service in &services {
            // Either end of PPP gives the device its addresses when the other has answered.
            service.wait_line(SOON, "PPP carries IPv6", 0, |line| {
                line.contains("remote LL address").then_some(())
            })?;
        }
        bed.services = services;
        bed.addresses(case, &names)?;
        Ok((bed, names))
    }

    /// Puts what is to stand there on the cards.
    fn stack(
        &self,
        case: &Case,
        ends: [(&Namespace, &'static str); 4],
    ) -> Result<(Names, Vec<Process>)> {
        const NEW: [&str; 4] = ["up1", "gw1", "lan1", "eth1"];
        const PEERS: [u8; 4] = [2, 1, 4, 3];
        let mut names = ends.map(|(_, name)| name);
        let (mut ready, mut services) = (Vec::new(), Vec::new());
        for &index in case.stack.ends {
            let (namespace, name) = ends[index];
            if !ready.contains(&namespace.name()) {
                ready.push(namespace.name());
                for line in case.stack.machine {
                    ip(namespace, line)?;
                }
            }
            let (near, far) = if index % 2 == 0 {
                ("1", "2")
            } else {
                ("2", "1")
            };
            let link = if index < 2 { "1" } else { "2" };
            let key = public_key(far)?;
            let peer = case::mac(PEERS[index]);
            for line in case.stack.lines {
                let words = [
                    ("KEY", key.as_str()),
                    ("PEER", peer.as_str()),
                    ("PLUGIN", PPPOE),
                    ("DEV", name),
                    ("NEW", NEW[index]),
                    ("NEAR", near),
                    ("FAR", far),
                    ("LINK", link),
                ];
                let line = words.iter().fold((*line).to_owned(), |line, (word, with)| {
                    line.replace(word, with)
                });
                match line.strip_prefix("pppd ") {
                    Some(arguments) => {
                        let mut pppd = namespace.command(PPPD);
                        pppd.args(arguments.split_whitespace());
                        let log = self.site.directory().join(format!("{name}-pppd.log"));
                        services.push(Process::start("pppd", pppd, &log)?);
                    }
                    None => ip(namespace, &line)?,
                }
            }
            if case.stack.above {
                names[index] = NEW[index];
            }
        }
        Ok((Names(names), services))
    }

    fn addresses(&self, case: &Case, Names([up, gw, lan, eth]): &Names) -> Result<()> {
        let global = |net, host| Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host);
        let local = |host| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host);
        for (namespace, name, net, host) in [
            (&self.client, "eth0", 1, 0x100),
            (&self.gateway, "clients0", 1, 1),
            (&self.gateway, up, 0xff, 2),
            (&self.router, gw, 0xff, 1),
            (&self.router, lan, 0x20, 1),
            (&self.member, eth, 0x20, 0x11),
        ] {
            netlink::address(namespace, name, global(net, host), 64)?;
            netlink::address(namespace, name, local(host), 64)?;
        }
        netlink::deprecated_address(&self.member, "lo", B, 128)?;
        netlink::deprecated_address(&self.member, eth, C, 128)?;
        netlink::route(&self.client, ANY, 0, global(1, 1), "eth0")?;
        for (namespace, end, to, by) in [
            (
                &self.gateway,
                0,
                "default".to_owned(),
                (global(0xff, 1), up),
            ),
            (
                &self.router,
                1,
                format!("{}/64", global(1, 0)),
                (global(0xff, 2), gw),
            ),
        ] {
            let ((next, device), table) = (by, case.stack.table_of(end));
            ip(
                namespace,
                &format!("-6 route add {to} via {next} dev {device} table {table}"),
            )?;
        }
        netlink::route(&self.member, ANY, 0, global(0x20, 1), eth)
    }

    /// Starts a daemon, or gives the reason why it does not run.
    pub(super) fn start(&mut self, node: &'static str, config: &str) -> Result<Option<String>> {
        let namespace = self.namespace(node);
        let directory = self.site.directory();
        let file = directory.join(format!("{node}.toml"));
        fs::write(&file, config)?;
        let mut daemon = Daemon::start(Path::new(DAEMON), node, namespace, &file, directory)?;
        if let Err(error) = daemon.wait_ready() {
            let ended = daemon.process().wait_end(Duration::from_secs(1)).is_ok();
            let last = daemon.tail(1).concat();
            return if ended { Ok(Some(last)) } else { Err(error) };
        }
        self.daemons.push(daemon);
        Ok(None)
    }

    /// What is wrong with a mode at this node, `check --host` says as the daemon did.
    pub(super) fn is_foretold(&self, node: &str, refused: &str) -> Result<()> {
        let Some((_, words)) = refused.split_once("XDP would be wrong here: ") else {
            return Ok(());
        };
        let reason = words
            .split_once("; mode = ")
            .map_or(words, |(reason, _)| reason);
        let namespace = self.namespace(node);
        let mut check = namespace.command(DAEMON);
        check.args(["check", "--host", "--json"]);
        let output = check
            .arg(self.site.directory().join(format!("{node}.toml")))
            .output()?;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let findings = said["host"].as_array().context("no findings")?;
        let is_said = findings.iter().any(|finding| {
            let message = finding["message"].as_str();
            message.is_some_and(|message| message.contains(reason))
        });
        ensure!(is_said, "check --host does not say it: {said}");
        Ok(())
    }

    /// Prints what the kernel and the cards' drivers have counted.
    pub(super) fn tell_counters(&self) {
        for (node, namespace, cards) in [
            ("client", &self.client, &[][..]),
            ("gateway", &self.gateway, &["up0"]),
            ("router", &self.router, &["gw0", "lan0"]),
            ("member", &self.member, &["eth0"]),
        ] {
            counted::tell(node, namespace, cards);
        }
    }

    fn namespace(&self, node: &str) -> &Namespace {
        match node {
            "gateway" => &self.gateway,
            "router" => &self.router,
            _ => &self.member,
        }
    }

    pub(super) fn daemon(&self, node: &str) -> Result<&Daemon> {
        let found = self.daemons.iter().find(|daemon| daemon.node() == node);
        found.with_context(|| format!("no daemon runs on {node}"))
    }
}
