//! What of this host is legal, and surely not what was meant: the daemon says so when it attaches programs, and
//! `anycast-ctl check --host` before.

use std::net::Ipv6Addr;

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER, ROUTER};
use ipnet::Ipv6Net;
use nix::net::if_::if_nametoindex;
use toml::Spanned;

use super::{finding::Finding, fitness, netdev, netlink::LinkTable, routing_daemons};
use crate::{
    config::{
        Config,
        file::{Group, Router},
        settings,
    },
    model::{
        program::{Mode, Wanted},
        route::Style,
    },
};

/// What is legal about a configuration on this host, and surely not what was meant.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let names = by_passing(config).into_iter();
    let by_passed = names.map(|name| format!("{name}: {BY_PASSED}"));
    let addresses = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    by_passed.chain(off_link(config, &addresses)).collect()
}

/// Care-of addresses that are in no prefix of the links on which they are used. `addresses` is `/proc/net/if_inet6`.
fn off_link(config: &Config, addresses: &str) -> Vec<String> {
    let prefixes: Vec<(&str, Ipv6Net)> = addresses.lines().filter_map(prefix).collect();
    let member = config.member_role();
    let all = member.map_or(&[][..], |member| &member.interfaces);
    let nowhere = |group: &Group| {
        let care_of = *group.care_of.as_ref()?.get_ref();
        let names = group.interfaces.as_deref().unwrap_or(all);
        let mut here = prefixes
            .iter()
            .filter(|(on, _)| names.iter().any(|name| name.get_ref() == on))
            .peekable();
        here.peek()?;
        let is_off = !here.any(|(_, prefix)| prefix.contains(&care_of));
        is_off.then(|| {
            format!("care_of {care_of} is in no prefix of its links: routers need a route to it by this machine")
        })
    };
    settings::groups(config).filter_map(nowhere).collect()
}

/// The prefix of a link, in a line about an address there.
fn prefix(line: &str) -> Option<(&str, Ipv6Net)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [address, _, length, _, _, interface] = words[..] else {
        return None;
    };
    let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
    let length = u8::from_str_radix(length, 16).ok()?;
    let is_link = length < 128 && !address.is_unicast_link_local();
    let prefix = Ipv6Net::new(address, length).ok()?;
    is_link.then_some((interface, prefix))
}

/// A correspondent's interfaces where XDP forwards packets of bound flows past netfilter.
pub(super) fn by_passing(config: &Config) -> Vec<String> {
    let native = netdev::native().unwrap_or_default();
    let by_xdp = |name: &str, wanted: Wanted| match wanted.mode {
        Mode::Native | Mode::Generic => true,
        Mode::Auto => if_nametoindex(name)
            .is_ok_and(|ifindex| native.contains(&ifindex) && fitness::takes_native(name, ifindex)),
        Mode::Tcx => false,
    };
    settings::interfaces(config)
        .into_iter()
        .filter(|(name, wanted)| wanted.roles & CORRESPONDENT != 0 && by_xdp(name, *wanted))
        .map(|(name, _)| name)
        .collect()
}

/// What is to be said about the machine as a whole. `forwards`: whether it forwards packets, as far as that is known.
pub(super) fn of_machine(
    config: &Config,
    links: &LinkTable,
    forwards: Option<bool>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let gateway = config.correspondent_role();
    let has_to = settings::roles(config) & ROUTER != 0
        || gateway.is_some_and(|gateway| !gateway.is_client());
    if has_to && forwards == Some(false) {
        findings.push(Finding::new(
            "no_forwarding",
            "this machine does not forward IPv6 packets",
            "sysctl -w net.ipv6.conf.all.forwarding=1",
        ));
    }
    let router = config.router_role();
    if router.is_some_and(|router| matches!(settings::routes(router).style, Style::Resilient(_)))
        && let Some(message) = routing_daemons::advice()
    {
        let remedy = routing_daemons::REMEDY;
        findings.push(Finding::new("nexthop_compat_mode", message, remedy));
    }
    if let Some(router) = router {
        findings.extend(of_tables(router, links));
    }
    findings.extend(in_vrfs(config, links));
    findings.extend(of_addresses(config, links));
    findings.extend(of_group(config));
    findings
}

/// A group whose users are to ask, and that there is not.
fn of_group(config: &Config) -> Option<Finding> {
    let group = config.control.read_group.as_ref()?.get_ref();
    let found = nix::unistd::Group::from_name(group);
    matches!(found, Ok(None)).then(|| {
        Finding::new(
            "read_group",
            format!(
                "there is no group {group}, so that its users cannot ask the daemon (read_group)"
            ),
            format!(
                "groupadd --system {group}; and, under systemd, `systemctl edit anycast` with \
                 SupplementaryGroups={group} under [Service]"
            ),
        )
    })
}

/// Interfaces of members and correspondents in a VRF.
fn in_vrfs(config: &Config, links: &LinkTable) -> Vec<Finding> {
    let is_in = |(name, wanted): (String, Wanted)| {
        let table = links.vrf_of(links.index_of(&name)?)?;
        (wanted.roles & (MEMBER | CORRESPONDENT) != 0).then(|| {
            Finding::new(
                "vrf",
                format!(
                    "{name} is in a VRF, and the daemon sends its own packets by the main table, not by {table}: \
                     no session is bound there"
                ),
                "take it out of the VRF; anycast without bindings works in it",
            )
        })
    };
    let interfaces = settings::interfaces(config).into_iter();
    interfaces.filter_map(is_in).collect()
}

/// What is to be said about a router's interfaces that look for routes in another table than the daemon's.
fn of_tables(router: &Router, links: &LinkTable) -> Vec<Finding> {
    let ours = settings::route_place(router).table;
    let names = router.interfaces.iter().map(Spanned::get_ref);
    let elsewhere = |name: &String| {
        let table = links.vrf_of(links.index_of(name)?)?;
        (table != ours).then(|| {
            Finding::new(
                "vrf_table",
                format!(
                    "{name} is in a VRF, which has its routes in table {table}, and the daemon's are in \
                     table {ours}"
                ),
                format!("table = {table} in [router]"),
            )
        })
    };
    names.filter_map(elsewhere).collect()
}

/// What is to be said about the addresses of a member that the daemon does not assign.
fn of_addresses(config: &Config, links: &LinkTable) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in settings::groups(config).filter(|group| !group.assign) {
        let anycast = *group.anycast.get_ref();
        if !links.is_local(anycast) {
            findings.push(Finding::new(
                "no_anycast",
                format!("{anycast} is not an address of this machine"),
                format!("ip address add {anycast}/128 dev lo preferred_lft 0, or assign = true"),
            ));
        }
        let Some(care_of) = group.care_of.as_ref().map(|care_of| *care_of.get_ref()) else {
            continue;
        };
        if !links.is_local(care_of) {
            findings.push(Finding::new(
                "no_care_of",
                format!(
                    "care_of {care_of} is not an address of this machine, so bound flows would not arrive"
                ),
                "add it, or assign = true",
            ));
        } else if links.is_preferred(care_of) {
            findings.push(Finding::new(
                "care_of_preferred",
                format!(
                    "this machine may choose care_of {care_of} as the source of its own connections"
                ),
                format!("ip address change {care_of}/128 dev INTERFACE preferred_lft 0"),
            ));
        }
    }
    findings
}

/// What is to be said about an interface that exists. `port_of`: the kind of the device to which it belongs as a port;
/// `by_xdp`: its programs are attached by XDP.
pub(super) fn of_interface(port_of: Option<&str>, wanted: Wanted, by_xdp: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if by_xdp && wanted.roles & CORRESPONDENT != 0 {
        warnings.push(BY_PASSED.to_owned());
    }
    if wanted.roles & (ROUTER | MEMBER | CORRESPONDENT) != 0
        && let Some(kind) = port_of.filter(|kind| has_the_addresses(kind))
    {
        warnings.push(format!(
            "it is a port of a {kind}, which has the addresses: configure the {kind} in its place"
        ));
    }
    warnings
}

/// Whether a device of this kind has the addresses, and not its ports.
pub(super) fn has_the_addresses(kind: &str) -> bool {
    matches!(kind, "bridge" | "bond" | "team")
}

/// Of a correspondent's interface.
const BY_PASSED: &str = "XDP forwards packets of bound flows past netfilter, its filters and counts: \
     forward = \"kernel\" in [correspondent] does not (docs/firewalls.md)";

#[cfg(test)]
mod tests {
    use super::*;

    fn said(port_of: Option<&str>, roles: u8, by_xdp: bool) -> Vec<String> {
        let mode = Mode::Auto;
        of_interface(port_of, Wanted { roles, mode }, by_xdp)
    }

    #[test]
    fn a_care_of_address_that_no_link_has_needs_a_route() {
        let text = "[member]\ninterfaces = [\"eth0\"]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\n\
                    care_of = \"2001:db8:20::c1\"\n";
        let config = crate::config::parse(text, "x.toml").expect("right");
        let on = |network: &str, length: &str, interface: &str| {
            format!("20010db800{network}00000000000000000011 02 {length} 00 80 {interface}\n")
        };
        for (addresses, nowhere) in [
            (on("20", "40", "eth0"), false),
            (on("21", "40", "eth0") + &on("20", "40", "eth0"), false),
            (on("21", "40", "eth0"), true),
            (on("20", "80", "eth0") + &on("21", "40", "eth0"), true),
            (on("21", "40", "eth0") + &on("20", "40", "eth1"), true),
            // An interface that is not there says nothing.
            (on("21", "40", "eth1"), false),
        ] {
            let said = off_link(&config, &addresses);
            assert_eq!(said.len(), usize::from(nowhere), "{addresses}: {said:?}");
        }
    }

    #[test]
    fn a_group_of_readers_that_there_is_not_is_found() {
        let found = |control: &str| {
            let text = format!("{control}\n[router]\ninterfaces = [\"up0\"]\n");
            let config = crate::config::parse(&text, "x.toml").expect("right");
            of_group(&config).map(|finding| finding.code)
        };
        assert_eq!(found(""), None);
        assert_eq!(found("[control]\nread_group = \"root\""), None);
        let nobody = "[control]\nread_group = \"anycast-nobody-has-it\"";
        assert_eq!(found(nobody), Some("read_group"));
    }

    #[test]
    fn ports_and_what_xdp_by_passes_are_told() {
        let bridge = said(Some("bridge"), MEMBER, true);
        assert_eq!(bridge.len(), 1);
        assert!(bridge[0].contains("port of a bridge"), "{bridge:?}");
        assert_eq!(said(Some("vrf"), MEMBER, true), [""; 0]);
        assert_eq!(said(None, CORRESPONDENT, true), [BY_PASSED]);
        assert_eq!(said(None, CORRESPONDENT, false), [""; 0]);
    }
}
