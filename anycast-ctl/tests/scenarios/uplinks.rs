//! A client host with two uplinks, whose routes tell members' addresses from the anycast address.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{
        scenario::{ASK_AGAIN, MIB, SOON},
        stage::Lab,
        topology::{B, CLIENT, S1, S2, SERVICE},
        visitor::Visitor,
    },
    net::{
        Capture,
        capture::{Flow, Tally, now},
        netlink::{self, End},
        sysctl, wait,
    },
};

use super::{
    client_host,
    paths::{count, datagrams, led},
    stage::in_lab,
};

const LONG: Duration = Duration::from_secs(60);
/// Each way, in a transfer.
const AMOUNT: u64 = 16 * MIB;

/// The client's end of the second uplink, and the router's.
const NEAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x100);
const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 1);
/// The members' own addresses.
const MEMBERS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0);

/// From the client to the router, past the gateway: for packets to members' own addresses.
fn second_uplink(lab: &Lab) -> Result<()> {
    let end = |namespace, name| End {
        namespace,
        name,
        mac: None,
    };
    let near = end(&lab.network.client, "eth1");
    let far = end(&lab.network.router, "client0");
    netlink::veth(near, far)?;
    netlink::connect(near, far)?;
    for (end, address, host) in [(near, NEAR, 0x201), (far, FAR, 0x202)] {
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host);
        netlink::address(end.namespace, end.name, address, 64)?;
        netlink::address(end.namespace, end.name, link_local, 64)?;
    }
    netlink::route(near.namespace, MEMBERS, 64, FAR, near.name)
}

/// What an uplink has carried of a session by this address of the server, up and down.
fn carried(uplink: &Capture, port: u16, server: Ipv6Addr) -> [Tally; 2] {
    let (client, server) = ((CLIENT, port), (server, SERVICE));
    uplink.ledger().read(|ledger| {
        [(client, server), (server, client)].map(|(source, destination)| {
            let flow = Flow {
                source,
                destination,
            };
            ledger.flows.get(&flow).copied().unwrap_or_default()
        })
    })
}

/// Packets to C leave by the way of those to B until the kernel answers about routes, then by their
/// own; what comes in is understood on both.
pub(super) fn session() -> Result<()> {
    in_lab(None, |lab, _| {
        second_uplink(lab)?;
        lab.configure("client", "[\"eth0\"]", "[\"eth0\", \"eth1\"]")?;
        client_host::daemons(lab, 2)?;
        let second = Capture::start("client-router", &lab.network.router, "client0", None)?;
        let first = lab.capture("gateway-router")?;
        let mut visitor = lab.visit("client", true)?;
        wait::poll(SOON, ASK_AGAIN, "the client is bound", || {
            Ok(lab.daemon("client")?.list("bindings")?.first().cloned())
        })?;
        let here = if visitor.server() == S1.name { S1 } else { S2 };
        let care_of = here.care_of.context("no care-of address")?;
        let port = visitor.port()?;
        led(lab, &mut visitor, "client")?;
        let mut transfer = || -> Result<()> {
            let event = visitor.transfer(AMOUNT, AMOUNT, LONG)?;
            ensure!(Visitor::shows_anycast(&event, CLIENT), "{event}");
            Ok(())
        };
        let by_second = |way: usize, octets: u64| {
            let what = format!("{octets} octets by the second uplink");
            wait::poll(SOON, ASK_AGAIN, &what, || {
                let tally = carried(&second, port, care_of)[way];
                Ok((tally.octets >= octets).then_some(()))
            })
        };

        transfer()?;
        let [up, down] = carried(&second, port, care_of);
        ensure!((up.packets, down.packets) == (0, 0), "{up:?} {down:?}");
        ensure!(count(lab, "client", "forwarded")? == 0);

        let settings = [("ipv6/conf/lo/forwarding", "1")];
        sysctl::set(&lab.network.client, &settings)?;
        let since = now();
        transfer()?;
        by_second(0, AMOUNT)?;
        let [_, down] = carried(&second, port, care_of);
        ensure!(down.packets == 0, "nobody routes that way: {down:?}");
        ensure!(count(lab, "client", "forwarded")? > 0);

        netlink::route(&lab.network.router, CLIENT, 128, NEAR, "client0")?;
        let back = now();
        transfer()?;
        by_second(0, 2 * AMOUNT)?;
        by_second(1, AMOUNT)?;
        datagrams(lab)?;

        // Nothing went astray.
        let [up, down] = carried(first, port, care_of);
        ensure!(
            up.packets > 0 && up.last < since,
            "still by the first: {up:?}"
        );
        ensure!(
            down.packets > 0 && down.last < back,
            "still by the first: {down:?}"
        );
        for uplink in [first, &second] {
            let [up, _] = carried(uplink, port, B);
            ensure!(up.last < since, "by B, on {}: {up:?}", uplink.name());
        }
        visitor.tell("finish")?;
        visitor.event("finished", SOON)?;
        Ok(())
    })
}
