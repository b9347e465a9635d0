//! A client that is its own correspondent: nothing but TCX on its uplink, and programs that know of
//! nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{
        scenario::{self, ASK_AGAIN, MIB, SOON},
        stage::Lab,
        topology::{B, CLIENT, S1, S2, SERVICE},
        visitor::Visitor,
    },
    net::{
        capture::{Flow, Tally},
        wait,
    },
};

use super::{
    datagrams,
    paths::{self, count},
    sessions::LEAVE,
    stage::in_lab,
};

const LONG: Duration = Duration::from_secs(60);

/// What the link between the routers has carried of a session: by C, and by B; up and down.
pub(super) fn carried(
    lab: &Lab,
    port: u16,
    care_of: std::net::Ipv6Addr,
) -> Result<[[Tally; 2]; 2]> {
    let ledger = lab.capture("gateway-router")?.ledger();
    Ok(ledger.read(|ledger| {
        [care_of, B].map(|server| {
            let (client, server) = ((CLIENT, port), (server, SERVICE));
            [(client, server), (server, client)].map(|(source, destination)| {
                let flow = Flow {
                    source,
                    destination,
                };
                ledger.flows.get(&flow).copied().unwrap_or_default()
            })
        })
    }))
}

/// So many members in, by TCX as the client is, on links with all offloads on.
pub(super) fn daemons(lab: &mut Lab, members: usize) -> Result<()> {
    for node in ["router", "s1", "s2"] {
        lab.configure(node, "mode = \"auto\"", "mode = \"tcx\"")?;
    }
    // Reports that nobody hears are not repeated for seconds.
    lab.start(&["router"])?;
    lab.start(&["s1", "s2", "client"])?;
    lab.network.offload()?;
    wait::poll(SOON, ASK_AGAIN, "they are members", || {
        Ok((lab.daemon("router")?.list("members")?.len() == members).then_some(()))
    })?;
    lab.routes.wait(SOON, "a route to B", (B, 128), |routes| {
        (!routes.is_empty()).then_some(())
    })?;
    Ok(())
}

/// Its sessions are bound, stay with their member when the route moves, and go on without a daemon.
pub(super) fn session() -> Result<()> {
    in_lab(None, |lab, _| {
        daemons(lab, 2)?;
        let status = lab.daemon("client")?.ask("status")?;
        ensure!(status["interfaces"][0]["mode"] == "tcx", "{status}");

        let mut visitor = lab.visit("client", true)?;
        let bindings = || lab.daemon("client")?.list("bindings");
        let binding = wait::poll(SOON, ASK_AGAIN, "the client is bound", || {
            Ok(bindings()?.first().cloned())
        })?;
        let here = if visitor.server() == S1.name { S1 } else { S2 };
        let other = if here == S1 { S2 } else { S1 };
        let care_of = here.care_of.context("no care-of address")?;
        ensure!(binding["care_of"] == care_of.to_string(), "{binding}");
        let port = visitor.port()?;

        // The first transfer shows that what is bound in the middle of a connection loses nothing.
        let event = visitor.transfer(16 * MIB, 16 * MIB, LONG)?;
        ensure!(Visitor::shows_anycast(&event, CLIENT), "{event}");
        paths::datagrams(lab)?;

        let before = carried(lab, port, care_of)?;
        lab.daemon(here.name)?.tell(&["leave", &B.to_string()])?;
        lab.routes
            .wait(LEAVE, "the route leads to the other", (B, 128), |routes| {
                matches!(routes, [route] if scenario::is_via(route, other)).then_some(())
            })?;
        let event = visitor.transfer(16 * MIB, 16 * MIB, LONG)?;
        ensure!(Visitor::shows_anycast(&event, CLIENT), "{event}");
        let [by_c, by_b] = carried(lab, port, care_of)?;
        for (now, before) in by_c.iter().zip(&before[0]) {
            ensure!(now.packets > before.packets, "not by C: {by_c:?}");
        }
        for (now, before) in by_b.iter().zip(&before[1]) {
            ensure!(now.packets == before.packets, "by B: {by_b:?}");
        }
        let newcomer = lab.visit("newcomer", true)?;
        let stays = newcomer.server() == other.name || newcomer.server() == here.name;
        ensure!(stays, "served by {}", newcomer.server());

        // What is pinned in the kernel needs no daemon.
        lab.kill("client")?;
        visitor.transfer(4 * MIB, 4 * MIB, LONG)?;
        lab.start(&["client"])?;
        lab.network.offload()?;
        visitor.transfer(4 * MIB, 4 * MIB, LONG)?;
        visitor.tell("finish")?;
        visitor.event("finished", SOON)?;
        Ok(())
    })
}

/// The client's own packets become too large for a link far away, which answers about packets to C.
pub(super) fn small_mtu() -> Result<()> {
    const SMALL: u32 = 1400;
    in_lab(None, |lab, _| {
        daemons(lab, 2)?;
        let mut visitor = lab.visit("client", true)?;
        wait::poll(SOON, ASK_AGAIN, "the client is bound", || {
            Ok(lab.daemon("client")?.list("bindings")?.first().cloned())
        })?;
        paths::led(lab, &mut visitor, "client")?;
        for (namespace, interface) in [(&lab.network.gateway, "up0"), (&lab.network.router, "gw0")]
        {
            xtask::net::netlink::mtu(namespace, interface, SMALL)?;
        }
        visitor.transfer(8 * MIB, 8 * MIB, LONG)?;
        let translated = count(lab, "client", "correspondent_icmp_error")?;
        ensure!(translated > 0, "the client has translated no error");
        visitor.tell("finish")?;
        visitor.event("finished", SOON)?;
        Ok(())
    })
}

/// The same of datagrams, and of their fragments.
pub(super) fn datagrams() -> Result<()> {
    in_lab(None, |lab, _| {
        daemons(lab, 2)?;
        datagrams::of_client_host(lab)
    })
}
