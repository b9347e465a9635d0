//! Looks at this machine the way its configuration needs it, before a daemon runs. Everything is read from /proc and
//! /sys, so that nobody needs a privilege.

use std::{
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

use anycast_common::abi::roles;
use serde::Serialize;

use super::{routing_daemons, sysctl};
use crate::{
    config::{Config, file::NextHops, settings},
    model::{program::Mode, route::Style},
};

/// The oldest kernel that has TCX and resilient groups as they are used here.
const KERNEL: (u32, u32) = (6, 6);
/// The type of an Ethernet device in /sys (`ARPHRD_ETHER`).
const ETHERNET: &str = "1";
/// The flag of an address that is not chosen as a source (`IFA_F_DEPRECATED`).
const DEPRECATED: u32 = 0x20;

/// Something on this machine that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Kind of the finding, for programs.
    pub code: &'static str,
    /// What is in the way, in a sentence.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Everything on this machine that is in the way of this configuration.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Host::new(Path::new("/")).look(config);
    let router = config.router_role();
    let all = router.is_some_and(|router| router.next_hops == NextHops::All);
    if let Some(message) = sysctl::multipath_hash().filter(|_| all) {
        findings.push(Finding {
            code: "multipath_hash",
            message,
            remedy: "list the members as `peers` of each other".to_owned(),
        });
    }
    if let Some(router) = router
        && matches!(settings::routes(router).style, Style::Resilient(_))
    {
        findings.extend(routing_daemons::advice().map(|message| Finding {
            code: "nexthop_compat_mode",
            message,
            remedy: routing_daemons::REMEDY.to_owned(),
        }));
        if routing_daemons::has_zebra() {
            findings.push(Finding {
                code: "zebra",
                message: "zebra (FRR) runs here and does not follow resilient next-hop groups of others: \
                     with resilient = \"auto\" routes are plain multipath, with \"always\" zebra does not see them"
                    .to_owned(),
                remedy: "set resilient = \"never\" in [router], or \"always\" if zebra need not see the routes"
                    .to_owned(),
            });
        }
    }
    findings
}

/// The files of a machine.
struct Host {
    root: PathBuf,
    findings: Vec<Finding>,
}

impl Host {
    fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            findings: Vec::new(),
        }
    }

    fn look(mut self, config: &Config) -> Vec<Finding> {
        self.kernel();
        for (name, wanted) in settings::interfaces(config) {
            self.interface(&name, wanted.roles, wanted.mode);
        }
        let here = config.correspondent_role().is_some_and(|it| it.is_client());
        let forwards = config.router_role().is_some() || config.correspondent_role().is_some();
        if forwards && !here && self.sysctl("net/ipv6/conf/all/forwarding") == Some(0) {
            self.add(
                "no_forwarding",
                "this machine does not forward IPv6 packets",
                "sysctl -w net.ipv6.conf.all.forwarding=1",
            );
        }
        self.addresses(config);
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

    fn interface(&mut self, name: &str, its_roles: u8, mode: Mode) {
        let device = format!("sys/class/net/{name}");
        if !self.root.join(&device).exists() {
            let message = format!("there is no interface {name}");
            return self.add(
                "no_interface",
                message,
                "it is waited for; or mend the name",
            );
        }
        if self
            .read(&format!("{device}/type"))
            .is_some_and(|kind| kind != ETHERNET)
        {
            let message = format!("{name} is not an Ethernet device");
            self.add(
                "not_ethernet",
                message,
                "name the Ethernet device below or beside it",
            );
        }
        if self.root.join(format!("{device}/brport")).exists() {
            let message =
                format!("{name} is a port of a bridge, whose own interface gets its packets");
            self.add("bridge_port", message, "name the bridge instead");
        }
        let snoops = self.read(&format!("{device}/bridge/multicast_snooping"));
        let querier = self.read(&format!("{device}/bridge/multicast_querier"));
        let router = its_roles & roles::ROUTER != 0;
        if !router && snoops.as_deref() == Some("1") && querier.as_deref() == Some("0") {
            let message = format!(
                "bridge {name} snoops and asks nobody itself: without a querier it forgets which ports lead to routers"
            );
            let remedy =
                format!("ip link set {name} type bridge mcast_querier 1, or a router on the link");
            self.add("snooping", message, remedy);
        }
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
        let filters = self
            .read("proc/net/ip6_tables_names")
            .is_some_and(|names| !names.is_empty());
        let nft = self.read("sys/module/nf_tables/refcnt");
        let nft = nft.and_then(|count| count.parse::<u32>().ok()).unwrap_or(0) > 0;
        let correspondent = its_roles & roles::CORRESPONDENT != 0;
        if correspondent && mode == Mode::Native && (filters || nft) {
            let message = format!(
                "packets of bound flows do not pass the packet filter of this machine on {name}: mode is native"
            );
            self.add(
                "netfilter",
                message,
                "mode = \"tcx\", where rules are to hold for them",
            );
        }
    }

    /// The addresses of a member that the daemon does not assign.
    fn addresses(&mut self, config: &Config) {
        let there = self.read("proc/net/if_inet6").unwrap_or_default();
        let there: Vec<_> = there.lines().filter_map(address).collect();
        let flags = |wanted: Ipv6Addr| {
            let found = there.iter().find(|(address, _)| *address == wanted);
            found.map(|(_, flags)| *flags)
        };
        for group in settings::groups(config).filter(|group| !group.assign) {
            let anycast = *group.anycast.get_ref();
            if flags(anycast).is_none() {
                let message = format!("{anycast} is not an address of this machine");
                let remedy = format!(
                    "ip address add {anycast}/128 dev lo preferred_lft 0, or assign = true"
                );
                self.add("no_anycast", message, remedy);
            }
            let Some(care_of) = group.care_of.as_ref().map(|it| *it.get_ref()) else {
                continue;
            };
            match flags(care_of) {
                None => {
                    let message = format!("care_of {care_of} is not an address of this machine");
                    self.add("no_care_of", message, "add it, or assign = true");
                }
                Some(flags) if flags & DEPRECATED == 0 => {
                    let message =
                        format!("this machine may choose care_of {care_of} as its own source");
                    let remedy =
                        format!("ip address change {care_of}/128 dev INTERFACE preferred_lft 0");
                    self.add("care_of_preferred", message, remedy);
                }
                Some(_) => {}
            }
        }
    }

    fn add(&mut self, code: &'static str, message: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding {
            code,
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    fn read(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn sysctl(&self, name: &str) -> Option<u32> {
        self.read(&format!("proc/sys/{name}"))?.parse().ok()
    }
}

/// Address and flags in a line of /proc/net/if_inet6.
fn address(line: &str) -> Option<(Ipv6Addr, u32)> {
    let mut words = line.split_whitespace();
    let address = u128::from_str_radix(words.next()?, 16).ok()?;
    let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
    Some((Ipv6Addr::from(address), flags))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GATEWAY: &str = "[correspondent]\ninterfaces = [\"up0\"]\nmode = \"native\"\n\
                           client_prefixes = [\"2001:db8:1::/64\"]\nallow = [\"2001:db8:a::/48\"]\n";
    const MEMBER: &str = "[member]\ninterfaces = [\"up0\"]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\n\
                          care_of = \"2001:db8:20::c1\"\n";

    /// A machine made of these files; a file without text is a directory.
    fn codes(name: &str, config: &str, files: &[(&str, &str)]) -> Vec<&'static str> {
        let root = std::env::temp_dir().join(format!("anycast-{}-host-{name}", std::process::id()));
        let sound = [
            ("proc/sys/kernel/osrelease", "6.12.1-amd64\n"),
            ("proc/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n"),
            ("proc/sys/net/ipv6/conf/all/forwarding", "1\n"),
            ("sys/class/net/up0/type", "1\n"),
        ];
        for (path, text) in sound.iter().chain(files) {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        let config = crate::config::parse(config, "x.toml").expect("right");
        let found = Host::new(&root).look(&config);
        fs::remove_dir_all(root).expect("removed");
        found.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn nothing_is_in_the_way_on_a_machine_that_is_sound() {
        assert_eq!(codes("sound", GATEWAY, &[]), Vec::<&str>::new());
        let addresses = "20010db8000a00000000000000000053 01 80 00 a0 lo\n\
                         20010db80020000000000000000000c1 02 80 00 a0 up0\n";
        let addresses = [("proc/net/if_inet6", addresses)];
        assert_eq!(codes("member", MEMBER, &addresses), Vec::<&str>::new());
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
            ("sys/class/net/up0/type", "776", "not_ethernet"),
            ("sys/class/net/up0/brport/state", "3", "bridge_port"),
            ("proc/sys/net/ipv6/conf/up0/disable_ipv6", "1", "no_ipv6"),
            ("sys/module/nf_tables/refcnt", "3", "netfilter"),
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
    fn settings_that_contradict_each_other_are_found() {
        let forwards = [
            ("proc/sys/net/ipv6/conf/up0/forwarding", "1"),
            ("proc/sys/net/ipv6/conf/up0/accept_ra", "1"),
        ];
        assert_eq!(codes("ra", GATEWAY, &forwards), ["accept_ra"]);
        let bridge = [
            ("sys/class/net/up0/bridge/multicast_snooping", "1"),
            ("sys/class/net/up0/bridge/multicast_querier", "0"),
        ];
        assert_eq!(codes("snoops", GATEWAY, &bridge), ["snooping"]);
    }

    #[test]
    fn addresses_that_a_member_lacks_are_found() {
        assert_eq!(codes("none", MEMBER, &[]), ["no_anycast", "no_care_of"]);
        let preferred = "20010db8000a00000000000000000053 01 80 00 80 lo\n\
                         20010db80020000000000000000000c1 02 80 00 80 up0\n";
        let preferred = [("proc/net/if_inet6", preferred)];
        assert_eq!(
            codes("preferred", MEMBER, &preferred),
            ["care_of_preferred"]
        );
    }
}
