//! Looks at this machine the way its configuration needs it, before a daemon runs. Everything is read from /proc, /sys,
//! rtnetlink and by the questions of `ethtool`, so that nobody needs a privilege.

use std::path::{Path, PathBuf};

use anycast_common::abi::roles;

use super::{
    bridges::{self, Bridge},
    cards, filters,
    finding::Finding,
    fitness,
    netlink::{self, LinkTable, requests::Requests},
    others, room, routing_daemons, surroundings, sysctl,
};
use crate::{
    config::{Config, file::NextHops, settings},
    model::{
        program::{Mode, Wanted},
        route::Style,
    },
};

/// The oldest kernel that loads the programs, and the oldest one that has TCX.
const KERNEL: (u32, u32) = (6, 1);
const TCX: (u32, u32) = (6, 6);
/// From this one on, threads of a PREEMPT_RT kernel that run programs may preempt each other on one processor.
const PREEMPTS: (u32, u32) = (6, 18);
/// The type of an Ethernet device in /sys (`ARPHRD_ETHER`).
const ETHERNET: &str = "1";

/// Everything on this machine that is in the way of this configuration.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let mut links = LinkTable::new([]);
    let read = Requests::open().map(|mut requests| netlink::links(&mut requests));
    let unread = match read {
        Ok(Ok(dump)) => {
            links.replace(dump);
            None
        }
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = unread {
        let message = format!("cannot read the interfaces: {error}");
        return vec![Finding::new("no_netlink", message, "look by hand")];
    }
    let mut findings = Host::new(Path::new("/"), &links).look(config);
    findings.extend(others::findings(config));
    findings.extend(cards::findings(config));
    findings.extend(filters::findings(config));
    findings.extend(without_xdp(config, &links));
    let router = config.router_role();
    let all = router.is_some_and(|router| router.next_hops == NextHops::All);
    if let Some(message) = sysctl::multipath_hash().filter(|_| all) {
        let remedy = "list the members as `peers` of each other";
        findings.push(Finding::new("multipath_hash", message, remedy));
    }
    if router.is_some_and(|router| matches!(settings::routes(router).style, Style::Resilient(_)))
        && routing_daemons::has_zebra()
    {
        findings.push(Finding::new(
            "zebra",
            "zebra (FRR) runs here and does not follow resilient next-hop groups of others: \
             with resilient = \"auto\" routes are plain multipath, with \"always\" zebra does not see them",
            "set resilient = \"never\" in [router], or \"always\" if zebra need not see the routes",
        ));
    }
    findings
}

/// Interfaces at which the daemon refuses the mode that the configuration asks for.
fn without_xdp(config: &Config, links: &LinkTable) -> Vec<Finding> {
    let refused = |(name, wanted): (String, Wanted)| {
        let place = fitness::place(links, &links.named(&name)?);
        let reason = place.refuses(wanted.mode)?;
        let message = format!("XDP would be wrong at {name}: {reason}");
        let remedy = "mode = \"auto\" or \"tcx\" is right as it is";
        Some(Finding::new("no_xdp", message, remedy))
    };
    let interfaces = settings::interfaces(config).into_iter();
    interfaces.filter_map(refused).collect()
}

/// The files of a machine.
struct Host<'a> {
    root: PathBuf,
    links: &'a LinkTable,
    findings: Vec<Finding>,
}

impl<'a> Host<'a> {
    fn new(root: &Path, links: &'a LinkTable) -> Self {
        Self {
            root: root.to_owned(),
            links,
            findings: Vec::new(),
        }
    }

    fn look(mut self, config: &Config) -> Vec<Finding> {
        self.kernel(config);
        for (name, wanted) in settings::interfaces(config) {
            self.interface(&name, wanted.roles);
        }
        self.filters(config);
        let most = self.sysctl("net/ipv6/neigh/default/gc_thresh3");
        let statistics = self.read("proc/net/stat/ndisc_cache");
        self.findings.extend(room::neighbours(most, statistics));
        let forwards = self.sysctl("net/ipv6/conf/all/forwarding");
        let forwards = forwards.map(|value| value != 0);
        let machine = surroundings::of_machine(config, self.links, forwards);
        self.findings.extend(machine);
        self.findings
    }

    fn kernel(&mut self, config: &Config) {
        let release = self.read("proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|part| part.parse().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let interfaces = settings::interfaces(config);
        let without_tcx = |wanted: &Wanted| {
            wanted.roles & (roles::MEMBER | roles::CORRESPONDENT) == 0 && wanted.mode != Mode::Tcx
        };
        let (oldest, what) = match interfaces.values().all(without_tcx) {
            true => (KERNEL, "which a router needs"),
            false => (
                TCX,
                "which has TCX: members, correspondents and mode = \"tcx\" need it",
            ),
        };
        if version < oldest {
            let (major, minor) = oldest;
            let message = format!("the kernel is {release}, older than {major}.{minor}, {what}");
            self.add("kernel", message, "boot a newer kernel");
        }
        let is_realtime = self.read("sys/kernel/realtime").as_deref() == Some("1");
        if is_realtime && version >= PREEMPTS {
            self.add(
                "realtime",
                "the kernel is PREEMPT_RT, where programs on one processor may interrupt each other, which these are \
                 not made for: a packet could be changed by what is known of another",
                "boot a kernel without PREEMPT_RT; one built with CONFIG_PREEMPT_RT_NEEDS_BH_LOCK is as good",
            );
        }
        if self.sysctl("net/core/bpf_jit_enable") == Some(0) {
            self.add(
                "no_jit",
                "the kernel interprets eBPF programs, which is many times slower",
                "sysctl -w net.core.bpf_jit_enable=1",
            );
        }
        let mounts = self.read("proc/mounts").unwrap_or_default();
        let mut kinds = mounts.lines().filter_map(|line| line.split(' ').nth(2));
        if !kinds.any(|kind| kind == "bpf") {
            self.add(
                "no_bpffs",
                "no BPF file system is mounted, so a daemon without CAP_SYS_ADMIN cannot pin, and sessions end with it",
                "mount -t bpf bpf /sys/fs/bpf",
            );
        }
    }

    fn interface(&mut self, name: &str, its_roles: u8) {
        let device = format!("sys/class/net/{name}");
        if !self.root.join(&device).exists() {
            let message = format!("there is no interface {name}");
            return self.add(
                "no_interface",
                message,
                "it is waited for; or mend the name",
            );
        }
        let router = its_roles & roles::ROUTER != 0;
        if router
            && self
                .read(&format!("{device}/type"))
                .is_some_and(|kind| kind != ETHERNET)
        {
            let message = format!(
                "{name} is not an Ethernet device, and a router knows members by Ethernet addresses"
            );
            self.add(
                "not_ethernet",
                message,
                "name the Ethernet device below or beside it",
            );
        }
        let port_of = self.links.index_of(name);
        let port_of = port_of.and_then(|ifindex| self.links.port_of(ifindex));
        if let Some(kind) = port_of.filter(|kind| surroundings::has_the_addresses(kind)) {
            let message = format!("{name} is a port of a {kind}, which has the addresses");
            self.add(
                "port",
                message,
                format!("configure the {kind} in its place"),
            );
        }
        let bridge = Bridge::read(&self.root.join(&device));
        let snooping = bridge.and_then(|bridge| bridges::finding(name, router, &bridge));
        self.findings.extend(snooping);
        if self.sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6")) == Some(1) {
            let message = format!("IPv6 is disabled on {name}");
            let remedy = format!("sysctl -w {}=0", key(name, "disable_ipv6"));
            self.add("no_ipv6", message, remedy);
        }
        let forwards = self.sysctl(&format!("net/ipv6/conf/{name}/forwarding")) == Some(1);
        if forwards && self.sysctl(&format!("net/ipv6/conf/{name}/accept_ra")) == Some(1) {
            let message = format!(
                "{name} forwards, so that the kernel ignores Router Advertisements there, and with them a default route"
            );
            let key = key(name, "accept_ra");
            let remedy = format!("sysctl -w {key}=2, where routes come by them");
            self.add("accept_ra", message, remedy);
        }
    }

    /// Rules of netfilter that XDP by-passes.
    fn filters(&mut self, config: &Config) {
        let legacy = self.read("proc/net/ip6_tables_names");
        let legacy = legacy.is_some_and(|names| !names.is_empty());
        let nft = self.read("sys/module/nf_tables/refcnt");
        let nft = nft.and_then(|count| count.parse::<u32>().ok()).unwrap_or(0) > 0;
        if !legacy && !nft {
            return;
        }
        self.findings.extend(filters::by_passed(config));
    }

    fn add(&mut self, code: &'static str, message: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding::new(code, message, remedy));
    }

    fn read(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn sysctl(&self, name: &str) -> Option<u32> {
        self.read(&format!("proc/sys/{name}"))?.parse().ok()
    }
}

/// The key of an interface's setting, as sysctl(8) takes it: where it begins with dots, all dots are between its parts,
/// so that the name of a VLAN's interface needs a key with slashes (sysctl.d(5)).
fn key(interface: &str, setting: &str) -> String {
    match interface.contains('.') {
        true => format!("net/ipv6/conf/{interface}/{setting}"),
        false => format!("net.ipv6.conf.{interface}.{setting}"),
    }
}

#[cfg(test)]
mod tests;
