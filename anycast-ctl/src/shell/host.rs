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
    model::{program::Wanted, route::Style},
};

/// The oldest kernel that has TCX and resilient groups as they are used here.
const KERNEL: (u32, u32) = (6, 6);
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
        self.kernel();
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

    fn kernel(&mut self) {
        let release = self.read("proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|part| part.parse().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < KERNEL {
            let message = format!("the kernel is {release}, older than 6.6");
            self.add("kernel", message, "boot a newer kernel");
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
            let remedy = format!("sysctl -w net.ipv6.conf.{name}.disable_ipv6=0");
            self.add("no_ipv6", message, remedy);
        }
        let forwards = self.sysctl(&format!("net/ipv6/conf/{name}/forwarding")) == Some(1);
        if forwards && self.sysctl(&format!("net/ipv6/conf/{name}/accept_ra")) == Some(1) {
            let message = format!(
                "{name} forwards, so that the kernel ignores Router Advertisements there, and with them a default route"
            );
            let remedy =
                format!("sysctl -w net.ipv6.conf.{name}.accept_ra=2, where routes come by them");
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{model::program::Framing, shell::netlink::KernelChange};

    const GATEWAY: &str = "[correspondent]\ninterfaces = [\"up0\"]\nmode = \"native\"\n\
                           client_prefixes = [\"2001:db8:1::/64\"]\nallow = [\"2001:db8:a::/48\"]\n";
    const MEMBER: &str = "[member]\ninterfaces = [\"up0\"]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\n\
                          care_of = \"2001:db8:20::c1\"\n";

    /// A machine made of these files; a file without text is a directory.
    fn codes(name: &str, config: &str, files: &[(&str, &str)]) -> Vec<&'static str> {
        codes_with(name, config, files, &LinkTable::new([]))
    }

    /// The same, with these interfaces and addresses.
    fn codes_with(
        name: &str,
        config: &str,
        files: &[(&str, &str)],
        links: &LinkTable,
    ) -> Vec<&'static str> {
        let root = std::env::temp_dir().join(format!("anycast-{}-host-{name}", std::process::id()));
        let sound = [
            ("proc/sys/kernel/osrelease", "6.12.1-amd64\n"),
            ("proc/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n"),
            ("proc/sys/net/ipv6/conf/all/forwarding", "1\n"),
            ("sys/class/net/up0/type", "1\n"),
            ("proc/sys/net/ipv6/neigh/default/gc_thresh3", "1024\n"),
            (
                "proc/net/stat/ndisc_cache",
                "entries  allocs\n00000300  00001000\n",
            ),
        ];
        for (path, text) in sound.iter().chain(files) {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        let config = crate::config::parse(config, "x.toml").expect("right");
        let found = Host::new(&root, links).look(&config);
        fs::remove_dir_all(root).expect("removed");
        found.into_iter().map(|finding| finding.code).collect()
    }

    /// An interface that is a port of a device of this kind.
    fn port(ifindex: u32, kind: &str, vrf: Option<u32>) -> KernelChange {
        KernelChange::Link {
            ifindex,
            name: "up0".into(),
            mac: None,
            below: None,
            above: Some(3),
            port_of: Some(kind.into()),
            vrf,
            framing: Framing::Ethernet,
            vlan: None,
            up: true,
        }
    }

    /// The addresses that the member of [`MEMBER`] needs.
    fn member(preferred: bool) -> LinkTable {
        let mut links = LinkTable::new([]);
        for address in ["2001:db8:a::53", "2001:db8:20::c1"] {
            links.apply(KernelChange::Address {
                ifindex: 1,
                address: address.parse().expect("an address"),
                usable: true,
                preferred,
            });
        }
        links
    }

    #[test]
    fn nothing_is_in_the_way_on_a_machine_that_is_sound() {
        assert_eq!(codes("sound", GATEWAY, &[]), Vec::<&str>::new());
        let links = member(false);
        assert_eq!(
            codes_with("member", MEMBER, &[], &links),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn each_obstacle_is_found() {
        for (number, (file, text, code)) in [
            ("proc/sys/kernel/osrelease", "6.1.0-13-amd64", "kernel"),
            ("proc/sys/net/core/bpf_jit_enable", "0", "no_jit"),
            ("proc/mounts", "proc /proc proc rw 0 0", "no_bpffs"),
            (
                "proc/sys/net/ipv6/conf/all/forwarding",
                "0",
                "no_forwarding",
            ),
            ("proc/sys/net/ipv6/conf/up0/disable_ipv6", "1", "no_ipv6"),
            ("sys/module/nf_tables/refcnt", "3", "netfilter"),
            (
                "proc/net/stat/ndisc_cache",
                "entries  allocs\n00000301  00001000\n",
                "neighbours",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let found = codes(&format!("obstacle-{number}"), GATEWAY, &[(file, text)]);
            assert_eq!(found, [code], "{file}");
        }
        let elsewhere = GATEWAY.replace("up0", "up1");
        assert_eq!(codes("missing", &elsewhere, &[]), ["no_interface"]);
    }

    #[test]
    fn a_router_needs_ethernet_and_a_gateway_does_not() {
        const ROUTER: &str = "[router]\ninterfaces = [\"up0\"]\n";
        let sit = [("sys/class/net/up0/type", "776")];
        assert_eq!(codes("sit-router", ROUTER, &sit), ["not_ethernet"]);
        assert_eq!(codes("sit-gateway", GATEWAY, &sit), [""; 0]);
    }

    #[test]
    fn settings_that_contradict_each_other_are_found() {
        let forwards = [
            ("proc/sys/net/ipv6/conf/up0/forwarding", "1"),
            ("proc/sys/net/ipv6/conf/up0/accept_ra", "1"),
        ];
        assert_eq!(codes("ra", GATEWAY, &forwards), ["accept_ra"]);
        let bridge = [
            ("sys/class/net/up0/bridge/multicast_snooping", "1"),
            ("sys/class/net/up0/bridge/multicast_querier", "1"),
        ];
        assert_eq!(codes("snoops", GATEWAY, &bridge), ["snooping"]);
    }

    #[test]
    fn addresses_that_a_member_lacks_are_found() {
        assert_eq!(codes("none", MEMBER, &[]), ["no_anycast", "no_care_of"]);
        let links = member(true);
        let found = codes_with("preferred", MEMBER, &[], &links);
        assert_eq!(found, ["care_of_preferred"]);
    }

    #[test]
    fn a_router_in_a_vrf_needs_its_routes_there() {
        let mut links = LinkTable::new([]);
        links.apply(port(2, "vrf", Some(100)));
        for (table, found) in [("", &["vrf_table"][..]), ("table = 100\n", &[])] {
            let config = format!("[router]\ninterfaces = [\"up0\"]\n{table}");
            assert_eq!(codes_with("table", &config, &[], &links), found, "{table}");
        }
        // What the daemon itself sends does not go by a VRF.
        assert_eq!(codes_with("vrf", GATEWAY, &[], &links), ["vrf"]);
    }

    #[test]
    fn a_port_of_a_device_that_has_the_addresses_is_found() {
        for (kind, found) in [("bridge", &["port"][..]), ("bond", &["port"]), ("vrf", &[])] {
            let mut links = LinkTable::new([]);
            links.apply(port(2, kind, None));
            let name = format!("port-{kind}");
            assert_eq!(codes_with(&name, GATEWAY, &[], &links), found, "{kind}");
        }
    }
}
