//! In the guest: each case on its own network of four namespaces, whose cards come back when it is removed.

use std::{
    fs,
    net::Ipv6Addr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::case::{self, Case, Row};
use crate::{
    kernels::guest::MARK,
    lab::{
        node::Daemon,
        topology::{B, CLIENT},
        visitor::{self, Visitor},
    },
    net::{
        Namespace, Process, Site,
        ethtool::{self, Offload},
        netlink::{self, End},
        plain, sysctl, wait,
    },
    process,
};

const DAEMON: &str = "/usr/sbin/anycast-ctl";
const SOON: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(200);
const MIB: u64 = 1 << 20;
const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

/// What a guest is to try
#[derive(clap::Args, Clone, Debug)]
pub struct Guest {
    /// What the card is called
    card: String,
    /// Its module
    driver: String,
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// Tries everything, and says a line of JSON for each case.
pub fn course(guest: &Guest) -> Result<()> {
    run("/sbin/modprobe", &[&guest.driver])?;
    for case in case::all() {
        let name = format!("{} {} {}", case.stack.name, case.mode, case.mtu);
        if !name.contains(&guest.only) {
            continue;
        }
        println!("case: {name}");
        let start = Instant::now();
        let mut got = None;
        let (result, is_right) = match one(&case, &mut got) {
            Ok(words) => (words, true),
            Err(error) => (format!("FAILS: {error:#}").replace('\n', " "), false),
        };
        let row = Row {
            card: guest.card.clone(),
            stack: case.stack.name.to_owned(),
            mtu: case.mtu,
            mode: case.mode.to_owned(),
            got,
            result,
            is_right,
            seconds: start.elapsed().as_secs_f64(),
        };
        println!("\n{MARK}{}", serde_json::to_string(&row)?);
    }
    Ok(())
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let what = format!("{program} {}", arguments.join(" "));
    process::capture_ok(Command::new(program).args(arguments), &what, SOON)
}

fn ip(namespace: &Namespace, line: &str) -> Result<()> {
    let mut command = namespace.command("/usr/sbin/ip");
    command.args(line.split_whitespace());
    process::capture_ok(&mut command, &format!("ip {line}"), SOON).map(drop)
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

/// The machines, with what runs on them. Dropping it removes all.
struct Bed {
    daemons: Vec<Daemon>,
    services: Vec<Process>,
    client: Namespace,
    gateway: Namespace,
    router: Namespace,
    member: Namespace,
    site: Site,
}

/// The interfaces that have programs: the gateway's, and its neighbour; the router's, and the member's.
struct Names([&'static str; 4]);

impl Bed {
    fn up(case: &Case) -> Result<(Self, Names)> {
        let site = Site::claim("acn")?;
        let bed = Self {
            daemons: Vec::new(),
            services: Vec::new(),
            client: site.namespace("client")?,
            gateway: site.namespace("gateway")?,
            router: site.namespace("router")?,
            member: site.namespace("member")?,
            site,
        };
        for namespace in [&bed.client, &bed.gateway, &bed.router, &bed.member] {
            plain(namespace)?;
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
        let names = bed.stack(case, ends)?;
        bed.addresses(&names)?;
        Ok((bed, names))
    }

    /// Puts what is to stand there on the cards.
    fn stack(&self, case: &Case, ends: [(&Namespace, &'static str); 4]) -> Result<Names> {
        const NEW: [&str; 4] = ["up1", "gw1", "lan1", "eth1"];
        let mut names = ends.map(|(_, name)| name);
        for (index, (namespace, name)) in ends.into_iter().enumerate() {
            if case.stack.first_only && index > 1 {
                continue;
            }
            let (near, far) = if index % 2 == 0 {
                ("1", "2")
            } else {
                ("2", "1")
            };
            for line in case.stack.lines {
                let words = [
                    ("DEV", name),
                    ("NEW", NEW[index]),
                    ("NEAR", near),
                    ("FAR", far),
                ];
                let line = words.iter().fold((*line).to_owned(), |line, (word, with)| {
                    line.replace(word, with)
                });
                ip(namespace, &line)?;
            }
            if case.stack.above {
                names[index] = NEW[index];
            }
        }
        Ok(Names(names))
    }

    fn addresses(&self, Names([up, gw, lan, eth]): &Names) -> Result<()> {
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
        netlink::route(&self.gateway, ANY, 0, global(0xff, 1), up)?;
        netlink::route(&self.router, global(1, 0), 64, global(0xff, 2), gw)?;
        netlink::route(&self.member, ANY, 0, global(0x20, 1), eth)
    }

    /// Starts a daemon, or gives the reason why it does not run.
    fn start(&mut self, node: &'static str, config: &str) -> Result<Option<String>> {
        let namespace = match node {
            "gateway" => &self.gateway,
            "router" => &self.router,
            _ => &self.member,
        };
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

    fn daemon(&self, node: &str) -> Result<&Daemon> {
        let found = self.daemons.iter().find(|daemon| daemon.node() == node);
        found.with_context(|| format!("no daemon runs on {node}"))
    }
}

/// What happened, in words.
fn one(case: &Case, got: &mut Option<(String, String)>) -> Result<String> {
    let (mut bed, names) = Bed::up(case)?;
    let told = carry(case, &mut bed, &names, got);
    told.map_err(|error| {
        let tails = bed.daemons.iter().map(|daemon| daemon.tail(4).join(" / "));
        let tails: Vec<String> = tails.collect();
        error.context(tails.join(" // "))
    })
}

fn carry(
    case: &Case,
    bed: &mut Bed,
    Names([up, _, lan, eth]): &Names,
    got: &mut Option<(String, String)>,
) -> Result<String> {
    let mode = case.mode;
    let router = format!(
        "[router]\ninterfaces = [\"{lan}\"]\nmode = \"{mode}\"\n[router.timers]\n\
         query_response_interval = \"1s\"\n[[router.policy]]\nsource = \"fe80::/10\"\n\
         anycast = \"2001:db8:a::/48\"\naction = \"allow\"\n"
    );
    let member = format!(
        "[member]\ninterfaces = [\"{eth}\"]\nmode = \"{mode}\"\n[[member.group]]\nanycast = \"{B}\"\n\
         care_of = \"{C}\"\n"
    );
    let gateway = format!(
        "[correspondent]\ninterfaces = [\"clients0\", \"{up}\"]\nmode = \"{mode}\"\n\
         client_prefixes = [\"2001:db8:1::/64\"]\nallow = [\"2001:db8:a::/48\"]\n"
    );
    for (node, config) in [("router", router), ("member", member), ("gateway", gateway)] {
        if let Some(reason) = bed.start(node, &config)? {
            ensure!(
                mode == "native" || mode == "generic",
                "{node} does not start: {reason}"
            );
            return Ok(format!("refused: {}", short(&reason)));
        }
    }
    let status = bed.daemon("gateway")?.ask("status")?;
    let interfaces = status["interfaces"].as_array().context("no interfaces")?;
    let uplink = interfaces.iter().find(|interface| interface["name"] == *up);
    let uplink = uplink.with_context(|| format!("no {up} in {status}"))?;
    let text = |field: &str| uplink[field].as_str().unwrap_or_default().to_owned();
    *got = Some((text("mode"), text("mode_reason")));
    let service = visitor::serve("s1", &bed.member, bed.site.directory())?;
    bed.services.push(service);
    wait::poll(SOON, AGAIN, "the router has the member", || {
        Ok((bed.daemon("router")?.list("members")?.len() == 1).then_some(()))
    })?;
    let mut visitor = Visitor::connect("client", &bed.client, bed.site.directory())?;
    wait::poll(SOON, AGAIN, "the client is bound", || {
        Ok(bed.daemon("gateway")?.list("bindings")?.first().map(drop))
    })?;
    wait::poll(SOON, AGAIN, "the session is bound", || {
        visitor.transfer(512, 512, SOON)?;
        let flows = bed.daemon("gateway")?.list("flows")?;
        Ok(flows
            .iter()
            .any(|flow| flow["state"] == "bound")
            .then_some(()))
    })?;
    let counters = ["correspondent_to_care_of", "correspondent_from_care_of"];
    let count = |bed: &Bed| -> Result<Vec<u64>> {
        let daemon = bed.daemon("gateway")?;
        counters
            .iter()
            .map(|name| daemon.counter("data_plane", name))
            .collect()
    };
    let before = count(bed)?;
    let event = visitor.transfer(4 * MIB, 4 * MIB, Duration::from_secs(60))?;
    if !Visitor::shows_anycast(&event, CLIENT) {
        bail!("the sockets show other addresses: {event}");
    }
    let after = count(bed)?;
    // Segments may be merged.
    let grown = after
        .iter()
        .zip(&before)
        .all(|(after, before)| after - before > 50);
    ensure!(grown, "not by C: {before:?} to {after:?}");
    visitor.tell("finish")?;
    visitor.event("finished", SOON)?;
    Ok("4 MiB each way by C".to_owned())
}

/// A line of a log without its time and level.
fn short(line: &str) -> &str {
    line.split_once("error: ").map_or(line, |(_, words)| words)
}
