//! What `check --host` finds of cards and packet filters, beside what the kernel does there without a daemon.

use std::net::{Ipv6Addr, SocketAddrV6};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use xtask::{
    kernel_tests::Suite,
    net::{Namespace, netlink},
    process,
};

use crate::{
    bridges, forwarded,
    host::{Check, GATEWAY, MEMBER, Machine, follow, ip, load},
};

pub fn tests(suite: Suite) -> Suite {
    let tests: [(&str, &[&str], Check); 8] = [
        ("check --host: queues of a card", &["ethtool"], queues),
        ("check --host: driver and MTU", &[], driver),
        (
            "check --host: rules of nft against the Mobility Header",
            &["nft"],
            nft,
        ),
        (
            "check --host: rules of nft against what a router forwards",
            &["nft"],
            forwarded::of_router,
        ),
        (
            "check --host: rules of nft about the reverse path",
            &["nft"],
            forwarded::reverse_path,
        ),
        (
            "check --host: rules of ip6tables against the Mobility Header",
            &["ip6tables-legacy", "ip6tables-legacy-save"],
            ip6tables,
        ),
        (
            "check --host: rules of iptables-nft, read and unread",
            &["nft", "ip6tables-nft", "ip6tables-nft-save"],
            iptables_nft,
        ),
        (
            "check --host: bridges that snoop",
            &["bridge"],
            bridges::snooping,
        ),
    ];
    let missing = |names: &[&'static str]| {
        let all = ["ip", "unshare", "mount"].iter().chain(names);
        all.copied().find(|name| process::find(name).is_none())
    };
    tests
        .into_iter()
        .fold(suite, |suite, (name, needed, body)| match missing(needed) {
            Some(missing) => suite.ignored(name, &format!("{missing} is not installed")),
            None if name.contains("queues") && processors() < 2 => {
                suite.ignored(name, "this machine has one processor")
            }
            None if name.contains("ip6tables") && !has_legacy() => suite.ignored(
                name,
                "this kernel has no rules of ip6tables but those of nft",
            ),
            None if name.contains("iptables-nft") => match rules_obstacle() {
                Some(missing) => suite.ignored(name, &missing),
                None => suite.test(name, body),
            },
            None => suite.test(name, body),
        })
}

fn processors() -> usize {
    aya::util::online_cpus().map_or(1, |online| online.len())
}

fn has_legacy() -> bool {
    std::path::Path::new("/proc/net/ip6_tables_names").exists()
}

fn native(config: &str) -> String {
    config.replace("auto", "native")
}

fn queues() -> Result<()> {
    let machine = Machine::new()?;
    let namespace = &machine.namespace;
    let all = processors();
    let set = |name: &str, many: usize| follow(namespace, &format!("ethtool -L {name} rx {many}"));
    set("clients0", all)?;
    set("up0", all)?;
    let remedy = format!("ethtool -L up0 rx {all}");
    let config = native(GATEWAY);
    let fewer = || set("up0", 1);
    machine.provoke(&config, "queues", &remedy, fewer, |()| {
        follow(namespace, &remedy)
    })?;
    // The ends of a pair have one queue unless somebody has wanted more.
    set("up0", 1)?;
    let found = machine.finds(GATEWAY, &["queues"])?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

fn driver() -> Result<()> {
    let machine = Machine::new()?;
    let namespace = &machine.namespace;
    let config = native(GATEWAY);
    // The driver of a TAP has native XDP, for frames of one buffer.
    machine.provoke(
        &config.replace("up0", "tap0"),
        "mtu",
        "ip link set dev tap0 mtu",
        || {
            ip(namespace, "tuntap add tap0 mode tap")?;
            netlink::mtu(namespace, "tap0", 9000)
        },
        |()| netlink::mtu(namespace, "tap0", 1500),
    )?;
    // That of a veth for frames of several.
    netlink::mtu(namespace, "up0", 9000)?;
    let found = machine.finds(&config, &["mtu", "no_native"])?;
    ensure!(found.is_empty(), "{found:?}");

    // A bridge has none, and `auto` takes TCX there.
    netlink::bridge(namespace, "br0", &[])?;
    let on_bridge = config.replace("up0", "br0");
    let found = machine.finds(&on_bridge, &["no_native"])?;
    ensure!(
        matches!(&found[..], [(_, remedy)] if remedy.contains("mode = \"auto\"")),
        "{found:?}"
    );
    let found = machine.finds(&GATEWAY.replace("up0", "br0"), &["no_native"])?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

/// A machine with an address, from which it can send.
fn with_address() -> Result<Machine> {
    let machine = Machine::new()?;
    let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    netlink::address(&machine.namespace, "up0", address, 64)?;
    Ok(machine)
}

/// Whether the kernel lets a message of the Mobility Header out.
fn leaves(namespace: &Namespace) -> Result<bool> {
    let index = netlink::index(namespace, "up0")?;
    namespace.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(135)))?;
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let to = SocketAddrV6::new(all_nodes, 0, 0, index);
        match socket.send_to(
            &[59, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &to.into(),
        ) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => Ok(false),
            Err(error) => Err(error).context("cannot send"),
        }
    })
}

/// What is found is what the kernel does, and the remedy mends it.
fn agrees(machine: &Machine, config: &str, stops: bool, rules: &str) -> Result<()> {
    let namespace = &machine.namespace;
    let finds = || machine.finds(config, &["protocol_135"]);
    let (found, leaves_before) = (finds()?, leaves(namespace)?);
    ensure!(
        leaves_before != stops && found.len() == usize::from(stops),
        "{rules}: leaves {leaves_before}, {found:?}"
    );
    for (_, remedy) in found {
        follow(namespace, &remedy)?;
    }
    let found = finds()?;
    ensure!(leaves(namespace)? && found.is_empty(), "mended: {found:?}");
    Ok(())
}

fn nft() -> Result<()> {
    let machine = with_address()?;
    let namespace = &machine.namespace;
    agrees(&machine, GATEWAY, false, "no rules")?;
    let own = "chain own { meta l4proto 135 reject; }";
    for (policy, rules, others, stops) in [
        ("accept", "", "", false),
        ("drop", "", "", true),
        (
            "drop",
            "ct state established,related accept; oifname \"lo\" accept; tcp dport 22 accept",
            "",
            true,
        ),
        (
            "drop",
            "ct state established accept; meta l4proto mobility-header accept",
            "",
            false,
        ),
        (
            "drop",
            "oifname { \"up0\", \"clients0\" } ip6 nexthdr 135 accept",
            "",
            false,
        ),
        (
            "drop",
            "meta l4proto vmap { tcp : drop, 135 : accept }",
            "",
            false,
        ),
        (
            "drop",
            "meta l4proto @known accept",
            "set known { type inet_proto; elements = { 58, 135 }; }",
            false,
        ),
        (
            "drop",
            "meta l4proto @known accept",
            "set known { type inet_proto; elements = { 58, 6 }; }",
            true,
        ),
        ("drop", "ip6 daddr ff00::/8 accept", "", false),
        ("accept", "ip6 nexthdr 135 drop", "", true),
        ("accept", "meta l4proto { tcp, udp } drop", "", false),
        ("accept", "jump own", own, true),
        ("accept", "meta l4proto tcp jump own", own, false),
    ] {
        let rules = rules.replace("; ", "\n");
        let rules = format!(
            "flush ruleset\ntable inet f {{\n{others}\nchain output {{\n\
             type filter hook output priority 0; policy {policy};\n{rules}\n}}\n}}\n"
        );
        load(namespace, &rules)?;
        agrees(&machine, GATEWAY, stops, &rules)?;
    }
    // A member has its answers by conntrack; one that filters without it has to let them in.
    for (rules, stops) in [
        ("ct state established accept", false),
        ("tcp dport 53 accept", true),
        ("tcp dport 53 accept\nmeta l4proto 135 accept", false),
    ] {
        let rules = format!(
            "flush ruleset\ntable ip6 f {{\nchain input {{\n\
             type filter hook input priority 0; policy drop;\n{rules}\n}}\n}}\n"
        );
        load(namespace, &rules)?;
        let found = machine.finds(MEMBER, &["protocol_135"])?;
        ensure!(found.len() == usize::from(stops), "{rules}: {found:?}");
        let found = machine.finds(GATEWAY, &["protocol_135"])?;
        ensure!(found.is_empty(), "programs take what comes in: {found:?}");
    }
    Ok(())
}

fn ip6tables() -> Result<()> {
    let machine = with_address()?;
    let namespace = &machine.namespace;
    for (rules, stops) in [
        ("-p tcp -j DROP", false),
        ("-p 135 -j REJECT", true),
        ("-o lo -j ACCEPT", false),
    ] {
        follow(
            namespace,
            &format!("ip6tables-legacy -F; ip6tables-legacy -A OUTPUT {rules}"),
        )?;
        agrees(&machine, GATEWAY, stops, rules)?;
    }
    follow(
        namespace,
        "ip6tables-legacy -F; ip6tables-legacy -P OUTPUT DROP",
    )?;
    agrees(&machine, GATEWAY, true, "-P OUTPUT DROP")
}

const SURE: Option<&str> = Some("protocol_135");
const UNREAD: Option<&str> = Some("protocol_135_unread");
/// Rules of ip6tables-nft, whether a message of type 0 leaves by them, and what is found with ip6tables-nft-save and
/// without.
const RULES_OF_NFT: [(&str, bool, Option<&str>, Option<&str>); 8] = [
    ("-p tcp -m multiport --dports 1,2 -j DROP", true, None, None),
    (
        "-m hashlimit --hashlimit-above 900/sec --hashlimit-name h -j DROP",
        true,
        None,
        None,
    ),
    (
        "-m comment --comment \"a -j ACCEPT\" -p 135 -j DROP",
        false,
        SURE,
        SURE,
    ),
    (
        "-m conntrack --ctstate ESTABLISHED -j DROP",
        true,
        None,
        UNREAD,
    ),
    ("-m conntrack --ctstate NEW -j DROP", false, SURE, UNREAD),
    (
        "-p mobility-header -m mh --mh-type 1 -j DROP",
        true,
        UNREAD,
        UNREAD,
    ),
    (
        "-p mobility-header -m mh --mh-type 0 -j DROP",
        false,
        UNREAD,
        UNREAD,
    ),
    ("-p mobility-header -j REJECT", false, SURE, SURE),
];

/// Why the rules of iptables-nft cannot be tried here, if so: the kernel has a module for each condition.
fn rules_obstacle() -> Option<String> {
    let namespace = Namespace::create(&format!("rules-{}", std::process::id())).ok()?;
    RULES_OF_NFT.iter().find_map(|(rule, ..)| {
        let refused = follow(&namespace, &format!("ip6tables-nft -A OUTPUT {rule}")).err()?;
        Some(format!("no rule {rule} here: {refused:#}"))
    })
}

/// Rules for which nft has no words are read as iptables-nft writes them; where that is not there, or does not help, a
/// rule on which it depends is told of, and what its remedy says ends the doubt.
fn iptables_nft() -> Result<()> {
    let machine = with_address()?;
    let namespace = &machine.namespace;
    // The file of nobody's program: it cannot be run.
    let saves = process::find("ip6tables-nft-save").context("it is gone")?;
    let hidden = format!(
        "mount --bind /dev/null {} &&",
        saves.canonicalize()?.display()
    );
    let about = [SURE, UNREAD].map(Option::unwrap_or_default);
    for (rule, leaves_now, read, without) in RULES_OF_NFT {
        follow(
            namespace,
            &format!("ip6tables-nft -F; ip6tables-nft -A OUTPUT {rule}"),
        )?;
        let finds = |prefix: &str| machine.finds_by(prefix, GATEWAY, &about);
        for (prefix, expected) in [(hidden.as_str(), without), ("", read)] {
            let found = finds(prefix)?;
            let codes: Vec<_> = found.iter().map(|(code, _)| code.as_str()).collect();
            ensure!(
                codes == Vec::from_iter(expected),
                "{rule}, {prefix}: {found:?}"
            );
        }
        ensure!(leaves(namespace)? == leaves_now, "{rule}");
        for (_, remedy) in finds("")? {
            let mends = remedy.rsplit(": ").next().context("no remedy")?;
            follow(namespace, mends)?;
        }
        for prefix in [hidden.as_str(), ""] {
            // What is found without that program has its remedy, too.
            for (_, remedy) in finds(prefix)? {
                let mends = remedy.rsplit(": ").next().context("no remedy")?;
                follow(namespace, mends)?;
            }
            let found = finds(prefix)?;
            ensure!(found.is_empty(), "{rule}, {prefix}, mended: {found:?}");
        }
        ensure!(leaves(namespace)?, "{rule}, mended");
    }
    Ok(())
}
