//! What `check --host` finds of packet filters that drop what this machine forwards, beside what the kernel does.

use std::net::SocketAddrV6;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{
    lab::scenario::{ASK_AGAIN, SOON},
    net::{Sender, netlink, packet::forge, wait},
    process,
};

use crate::host::{GATEWAY, Machine, ROUTER, follow, ip, load};

const ANYCAST: &str = "[2001:db8:a::53]:7777";
const CLIENT: &str = "[2001:db8:1::100]:7777";
/// Where the protocol is in an Ethernet frame with an IPv6 header.
const NEXT_HEADER: usize = 14 + 6;
/// What came in, and what was forwarded and left.
const COUNTS: &str = "table ip6 counts {\n\
    chain came { type filter hook prerouting priority -500; policy accept; ip6 saddr 2001:db8:a::53 counter; }\n\
    chain left { type filter hook postrouting priority 500; policy accept; ip6 saddr 2001:db8:a::53 counter; }\n}\n";

/// A machine that has a way to the client by `clients0`, and whose route of the anycast address leads by `anycast`.
fn machine(anycast: &str) -> Result<Machine> {
    let machine = Machine::new()?;
    let namespace = &machine.namespace;
    ip(namespace, "route add 2001:db8:1::/64 dev clients0")?;
    ip(
        namespace,
        &format!("route add 2001:db8:a::/48 dev {anycast}"),
    )?;
    let client: SocketAddrV6 = CLIENT.parse()?;
    netlink::neighbour(namespace, "clients0", *client.ip(), [2, 0, 0, 0, 0, 1])?;
    Ok(machine)
}

/// Packets that came in and that left.
fn counts(machine: &Machine) -> Result<(u64, u64)> {
    let mut command = machine.namespace.command("nft");
    command.args(["--json", "list", "table", "ip6", "counts"]);
    let listed = process::capture_ok(&mut command, "nft", SOON)?;
    let listed: Value = serde_json::from_str(&listed)?;
    let rules = listed["nftables"].as_array().context("no list")?;
    let of = |chain: &str| {
        let rule = rules.iter().find(|it| it["rule"]["chain"] == chain);
        let expressions = rule?["rule"]["expr"].as_array()?;
        let counter = expressions.iter().find_map(|it| it.get("counter"))?;
        counter["packets"].as_u64()
    };
    of("came")
        .zip(of("left"))
        .context("the counters are not there")
}

/// Whether a message of the Mobility Header that the anycast address sends to the client is forwarded. It comes in by
/// `up0`.
fn forwards(machine: &Machine) -> Result<bool> {
    let way = [
        netlink::mac(&machine.far, "up0")?,
        netlink::mac(&machine.namespace, "up0")?,
    ];
    let mut frame = forge::udp(way, ANYCAST.parse()?, CLIENT.parse()?, &[0; 8]);
    frame[NEXT_HEADER] = 135;
    let sender = Sender::open(&machine.far, "up0")?;
    let (before, left_before) = counts(machine)?;
    // When the second has come in, the first has gone all the way that there is for it.
    for number in 1..=2 {
        ensure!(sender.send(&frame)?, "the link is full");
        wait::poll(SOON, ASK_AGAIN, "the packet comes in", || {
            Ok((counts(machine)?.0 == before + number).then_some(()))
        })?;
    }
    Ok(counts(machine)?.1 > left_before)
}

/// What is found is what the kernel does, and the remedy mends it.
fn agrees(machine: &Machine, config: &str, code: &str, stops: bool, rules: &str) -> Result<()> {
    load(
        &machine.namespace,
        &format!("flush ruleset\n{COUNTS}{rules}"),
    )?;
    let finds = || {
        machine.finds(
            config,
            &["protocol_135", "protocol_135_unread", "reverse_path"],
        )
    };
    let (found, forwarded) = (finds()?, forwards(machine)?);
    let codes: Vec<&str> = found.iter().map(|(code, _)| code.as_str()).collect();
    let expected: &[&str] = if stops { &[code] } else { &[] };
    ensure!(
        forwarded != stops && codes == expected,
        "{rules}: forwards {forwarded}, {found:?}"
    );
    for (_, remedy) in found {
        follow(&machine.namespace, &remedy)?;
    }
    let found = finds()?;
    ensure!(
        forwards(machine)? && found.is_empty(),
        "{rules}, mended: {found:?}"
    );
    Ok(())
}

pub fn of_router() -> Result<()> {
    let machine = machine("up0")?;
    for (hook, policy, rules, stops) in [
        ("forward", "accept", "", false),
        ("forward", "drop", "", true),
        ("forward", "accept", "meta l4proto 135 drop", true),
        (
            "forward",
            "accept",
            "iifname \"up0\" ip6 nexthdr 135 reject",
            true,
        ),
        (
            "forward",
            "accept",
            "iifname \"clients0\" oifname \"up0\" drop",
            false,
        ),
        (
            "forward",
            "drop",
            "iifname \"up0\" oifname \"clients0\" accept\nmeta l4proto 135 accept",
            false,
        ),
        ("postrouting", "accept", "meta l4proto 135 drop", true),
        // What this machine itself gets and sends is nothing to a router.
        ("input", "drop", "", false),
        ("output", "drop", "", false),
    ] {
        let table = format!(
            "table inet f {{\nchain c {{\ntype filter hook {hook} priority 0; policy {policy};\n{rules}\n}}\n}}\n"
        );
        agrees(&machine, ROUTER, "protocol_135", stops, &table)?;
    }
    // A gateway forwards none: its programs take what is for its clients.
    let table = "flush ruleset\ntable inet f {\nchain c {\ntype filter hook forward priority 0; policy drop;\n}\n}\n";
    load(&machine.namespace, table)?;
    let found = machine.finds(GATEWAY, &["protocol_135"])?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

/// As firewalld and the manual of nft have it.
pub fn reverse_path() -> Result<()> {
    let strict = "meta nfproto ipv6 fib saddr . mark . iif oif missing drop";
    let cases = [
        (strict, true),
        ("fib saddr . iif oif missing log drop", true),
        ("fib saddr . iif oif eq 0 drop", true),
        ("fib saddr oif missing drop", false),
        ("fib saddr . iif oif missing counter", false),
        (
            "iifname \"clients0\" fib saddr . iif oif missing drop",
            false,
        ),
    ];
    let table = |rules: &str| {
        format!(
            "table inet f {{\nchain c {{\ntype filter hook prerouting priority 10; policy accept;\n{rules}\n}}\n}}\n"
        )
    };
    let astray = machine("clients0")?;
    for config in [ROUTER, GATEWAY] {
        for (rules, stops) in cases {
            agrees(&astray, config, "reverse_path", stops, &table(rules))?;
        }
    }
    // Where its route leads back by the same interface the kernel lets it pass; the finding is about what may come.
    let straight = machine("up0")?;
    load(
        &straight.namespace,
        &format!("flush ruleset\n{COUNTS}{}", table(strict)),
    )?;
    ensure!(forwards(&straight)?, "it does not come astray");
    let found = straight.finds(ROUTER, &["reverse_path"])?;
    ensure!(found.len() == 1, "{found:?}");
    // A client host has one way to all addresses.
    let client = GATEWAY.replace("mode = \"auto\"", "mode = \"tcx\"\nlocal = true");
    let found = straight.finds(&client, &["reverse_path"])?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}
