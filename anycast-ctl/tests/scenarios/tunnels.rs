//! Devices without Ethernet: every role that works there, and what is said where one does not.

use std::{net::Ipv6Addr, process::Stdio, time::Duration};

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        scenario::{ASK_AGAIN, MIB, SOON},
        stage::Lab,
        topology::{B, CLIENT, S1},
        visitor::Visitor,
    },
    net::{Namespace, Tunnel, netlink, wait},
};

use super::{
    client_host::{carried, daemons},
    paths, stage,
    stage::in_lab,
    tcx::modes,
};

const LONG: Duration = Duration::from_secs(60);
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

const fn end(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x17, host)
}

/// A tunnel by which the first machine, which loses its link, has the address and everything else is reached.
fn tunnel(near: &Namespace, address: Ipv6Addr, far: &Namespace) -> Result<Tunnel> {
    let tunnel = Tunnel::between([(near, "tun0"), (far, "tun0")])?;
    netlink::down(near, "eth0")?;
    netlink::address(near, "tun0", end(1), 64)?;
    netlink::address(far, "tun0", end(2), 64)?;
    netlink::address(near, "tun0", address, 128)?;
    netlink::route(near, ANY, 0, end(2), "tun0")?;
    netlink::route(far, address, 128, end(1), "tun0")?;
    Ok(tunnel)
}

fn by_tcx(lab: &Lab, node: &str) -> Result<()> {
    let modes = modes(lab, node)?;
    let reasons = modes
        .iter()
        .filter(|(mode, reason)| mode == "tcx" && reason.contains("Ethernet"));
    ensure!(reasons.count() == 1, "{modes:?}");
    Ok(())
}

/// A session from the client that `correspondent` binds and that goes by C between the routers.
fn session(lab: &Lab, correspondent: &str) -> Result<()> {
    let mut visitor = lab.visit("client", true)?;
    wait::poll(SOON, ASK_AGAIN, "the client is bound", || {
        Ok(lab
            .daemon(correspondent)?
            .list("bindings")?
            .first()
            .cloned())
    })?;
    paths::led(lab, &mut visitor, correspondent)?;
    let care_of = S1.care_of.expect("s1 has one");
    let port = visitor.port()?;
    let before = carried(lab, port, care_of)?;
    let event = visitor.transfer(4 * MIB, 4 * MIB, LONG)?;
    ensure!(Visitor::shows_anycast(&event, CLIENT), "{event}");
    // The capture is behind what the sockets have.
    let by_b = wait::poll(SOON, ASK_AGAIN, "all of it goes by C", || {
        let [by_c, by_b] = carried(lab, port, care_of)?;
        let mut ways = by_c.iter().zip(&before[0]);
        let all = ways.all(|(now, before)| now.octets - before.octets > 4 * MIB);
        Ok(all.then_some(by_b))
    })?;
    for (now, before) in by_b.iter().zip(&before[1]) {
        ensure!(now.packets == before.packets, "by B: {by_b:?}");
    }
    visitor.tell("finish")?;
    visitor.event("finished", SOON)?;
    Ok(())
}

/// The uplink of a client that is its own correspondent.
pub(super) fn client_host() -> Result<()> {
    in_lab(None, |lab, _| {
        let network = &lab.network;
        let _tunnel = tunnel(&network.client, CLIENT, &network.gateway)?;
        lab.configure("client", "\"eth0\"", "\"tun0\"")?;
        lab.configure("s2", "join = \"start\"", "join = \"manual\"")?;
        daemons(lab, 1)?;
        session(lab, "client")
    })
}

/// The clients of a gateway, whose uplink is an Ethernet by native XDP.
pub(super) fn gateway() -> Result<()> {
    in_lab(None, |lab, _| {
        let network = &lab.network;
        let _tunnel = tunnel(&network.client, CLIENT, &network.gateway)?;
        lab.configure("gateway", "\"clients0\"", "\"tun0\"")?;
        lab.start(&["router"])?;
        lab.start(&["s1", "gateway"])?;
        lab.routes.wait(SOON, "a route to B", (B, 128), |routes| {
            (!routes.is_empty()).then_some(())
        })?;
        by_tcx(lab, "gateway")?;
        session(lab, "gateway")
    })
}

/// A member, which an administrator has routed: it is behind a router that has no members there.
pub(super) fn member() -> Result<()> {
    in_lab(None, |lab, _| {
        let network = &lab.network;
        let (s1, router) = (network.server(S1), &network.router);
        let care_of = S1.care_of.expect("s1 has one");
        netlink::down(s1, "eth0")?;
        let _tunnel = Tunnel::between([(s1, "tun0"), (router, "tun0")])?;
        netlink::address(s1, "tun0", end(1), 64)?;
        netlink::address(router, "tun0", end(2), 64)?;
        netlink::deprecated_address(s1, "tun0", care_of, 128)?;
        netlink::route(s1, ANY, 0, end(2), "tun0")?;
        for address in [B, care_of] {
            netlink::route(router, address, 128, end(1), "tun0")?;
        }
        lab.configure("s1", "\"eth0\"", "\"tun0\"")?;
        lab.start(&["gateway", "s1"])?;
        by_tcx(lab, "s1")?;
        session(lab, "gateway")
    })
}

/// What is wrong there is refused with the reason.
pub(super) fn refused() -> Result<()> {
    in_lab(None, |lab, _| {
        let network = &lab.network;
        let _tunnel = Tunnel::between([(&network.router, "tun0"), (&network.gateway, "tun0")])?;
        let directory = network.site().directory();
        let allow = "client_prefixes = [\"2001:db8:1::/64\"]";
        for (name, config, words) in [
            (
                "router",
                "[router]\ninterfaces = [\"tun0\"]\n".to_owned(),
                "a router needs Ethernet",
            ),
            (
                "native",
                format!("[correspondent]\ninterfaces = [\"tun0\"]\nmode = \"native\"\n{allow}\n"),
                "have no Ethernet header",
            ),
            (
                "generic",
                format!("[correspondent]\ninterfaces = [\"tun0\"]\nmode = \"generic\"\n{allow}\n"),
                "have no Ethernet header",
            ),
        ] {
            let file = directory.join(format!("{name}.toml"));
            std::fs::write(&file, config)?;
            let mut command = network.router.command(stage::DAEMON);
            command.arg("--socket").arg(directory.join("refused.sock"));
            command.arg("run").arg("--config").arg(&file);
            let output = command.stdin(Stdio::null()).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let last = said.lines().last().unwrap_or_default();
            ensure!(!output.status.success(), "{name} runs: {said}");
            ensure!(
                last.contains("tun0") && last.contains(words),
                "{name}: {said}"
            );
        }
        Ok(())
    })
}
