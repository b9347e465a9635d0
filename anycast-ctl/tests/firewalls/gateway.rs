//! A firewall on the gateway itself.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    lab::{
        scenario::{ASK_AGAIN, MIB, SOON},
        stage::Lab,
        topology::{B, CLIENT, S1, S2},
    },
    net::wait,
};

use crate::{
    datagrams,
    nft::{Firewall, connections},
    site::{self, KERNEL, LONG, Setting, TCX, bound, count, finish},
    stage::in_lab,
};

/// What clients may begin, and its answers. `seen` and `hidden` count what passes before all other rules and after
/// them.
const STATEFUL: &str = "
table inet filter {
    counter invalid { }
    counter seen { }
    counter hidden { }
    set members { type ipv6_addr; elements = { 2001:db8:20::c1, 2001:db8:20::c2 } }
    chain first {
        type filter hook prerouting priority raw; policy accept;
        meta l4proto { tcp, udp } ip6 saddr 2001:db8:a::53 counter name seen
        meta l4proto { tcp, udp } ip6 saddr @members counter name hidden
        meta l4proto { tcp, udp } ip6 daddr @members counter name hidden
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state invalid counter name invalid drop
        ct state established,related accept
        iifname \"clients0\" accept
    }
    chain last {
        type filter hook postrouting priority srcnat; policy accept;
        meta l4proto { tcp, udp } ip6 daddr 2001:db8:a::53 counter name seen
        meta l4proto { tcp, udp } ip6 saddr @members counter name hidden
        meta l4proto { tcp, udp } ip6 daddr @members counter name hidden
    }
}";

/// Nobody is to log in at B.
const NO_LOGIN: &str = "
table inet filter {
    counter refused { }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ip6 daddr 2001:db8:a::53 tcp dport 22 counter name refused drop
    }
}";

const AMOUNT: u64 = 50 * MIB;
const FEW: u64 = 512;
const LOGIN: u16 = 22;
const OTHER: u16 = 2222;

pub fn tests(suite: Suite) -> Suite {
    let both = [("TCX", TCX), ("native, forwarded by the kernel", KERNEL)];
    both.into_iter().fold(suite, |suite, (name, setting)| {
        suite
            .test(
                format!("{name}: a stateful firewall sees A and B, and lets bound sessions pass"),
                move || stateful(setting),
            )
            .test(
                format!("{name}: a rule about B holds for bound flows"),
                move || blocked(setting),
            )
    })
}

/// A session of so many octets each way, which ends in order.
fn carries(lab: &Lab, name: &'static str, octets: u64) -> Result<()> {
    let mut visitor = lab.visit(name, true)?;
    visitor.transfer(octets, octets, LONG)?;
    finish(visitor)
}

fn stateful(setting: Setting) -> Result<()> {
    in_lab(None, |lab, _| {
        site::plain(lab)?;
        Firewall::load(&lab.network.gateway, STATEFUL)?;
        carries(lab, "control", AMOUNT)?;
        datagrams::exchange(lab, 5000)?;

        // It begins before there is a gateway, and so before any binding: its member leads it, by a packet that is not
        // merged of many.
        let mut first = lab.visit("first", true)?;
        site::gateway(lab, setting)?;
        wait::poll(SOON, ASK_AGAIN, "the session is led to C", || {
            first.transfer(FEW, FEW, SOON)?;
            Ok((count(lab, "flow_led")? > 0).then_some(()))
        })?;
        first.transfer(AMOUNT, AMOUNT, LONG)?;
        for name in ["second", "third"] {
            carries(lab, name, MIB)?;
        }
        carries(lab, "fourth", AMOUNT)?;
        datagrams::exchange(lab, 5001)?;
        first.transfer(MIB, MIB, LONG)?;
        finish(first)?;

        for name in ["flow_led", "flow_pinned"] {
            ensure!(count(lab, name)? > 0, "no {name}");
        }
        ensure!(count(lab, "fragment_followed")? > 0);
        let firewall = Firewall::load(&lab.network.gateway, "")?;
        let [seen, hidden, invalid] =
            ["seen", "hidden", "invalid"].map(|name| firewall.count(name));
        ensure!(seen? > 0, "nothing was counted");
        ensure!(hidden? == 0, "the firewall has seen members' addresses");
        ensure!(invalid? == 0, "segments of no connection");
        only_anycast(lab)
    })
}

/// The kernel's table of connections knows B alone.
fn only_anycast(lab: &Lab) -> Result<()> {
    let lines = connections(&lab.network.gateway)?;
    let client = format!("src={}", long(CLIENT));
    let of_client: Vec<_> = lines
        .iter()
        .filter(|line| line.contains(" tcp ") || line.contains(" udp "))
        .filter(|line| line.contains(&client))
        .collect();
    ensure!(of_client.len() >= 5, "{lines:#?}");
    for line in of_client {
        ensure!(line.contains(&format!("dst={}", long(B))), "{line}");
        for server in [S1, S2] {
            let care_of = server.care_of.context("a member")?;
            ensure!(!line.contains(&long(care_of)), "{line}");
        }
    }
    Ok(())
}

/// An address as that table shows it.
fn long(address: std::net::Ipv6Addr) -> String {
    let groups = address.segments().map(|group| format!("{group:04x}"));
    groups.join(":")
}

/// Whether the client can open a connection to this port of B.
fn reaches(lab: &Lab, port: u16) -> Result<bool> {
    lab.network.client.run(|| {
        let limit = wait::patience(Duration::from_millis(700));
        Ok(TcpStream::connect_timeout(&SocketAddr::from((B, port)), limit).is_ok())
    })
}

fn blocked(setting: Setting) -> Result<()> {
    in_lab(None, |lab, _| {
        site::plain(lab)?;
        let listeners = [S1, S2].map(|server| {
            lab.network.server(server).run(|| {
                let open = |port| TcpListener::bind(SocketAddr::from((B, port)));
                Ok([open(LOGIN)?, open(OTHER)?])
            })
        });
        let _listeners = listeners.into_iter().collect::<Result<Vec<_>>>()?;
        ensure!(reaches(lab, LOGIN)?, "nobody listens");
        let firewall = Firewall::load(&lab.network.gateway, NO_LOGIN)?;
        ensure!(
            !reaches(lab, LOGIN)? && reaches(lab, OTHER)?,
            "plain anycast"
        );
        let refused = firewall.count("refused")?;

        site::gateway(lab, setting)?;
        let session = lab.visit("client", true)?;
        bound(lab)?;
        let pinned = count(lab, "flow_pinned")?;
        ensure!(reaches(lab, OTHER)?, "the other port");
        ensure!(count(lab, "flow_pinned")? > pinned, "it was not bound");
        ensure!(!reaches(lab, LOGIN)?, "a rule was by-passed");
        let firewall = Firewall::load(&lab.network.gateway, "")?;
        ensure!(firewall.count("refused")? > refused);
        finish(session)
    })
}
