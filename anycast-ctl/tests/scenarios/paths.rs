//! Bound flows on paths that are not ideal: small MTUs, fragments, a gateway that dies in full flow.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{
        scenario::{ASK_AGAIN, MIB, SOON, Session, transfer},
        stage::Lab,
        topology::{B, CLIENT},
        visitor::Visitor,
    },
    net::{Namespace, capture::Ledger, netlink, wait},
};

use super::{sessions::bound, stage::in_lab};

/// A stalled connection would need far longer to give up.
const LONG: Duration = Duration::from_secs(60);
const SMALL_MTU: u32 = 1400;
const GATEWAYS_ROUTER: &str = "2001:db8:ff::1";
/// The port at which members answer every datagram with itself.
pub(super) const ECHO: u16 = 5353;
/// The client's port in [`datagrams`].
pub(super) const DATAGRAMS: u16 = 5000;

pub(super) fn count(lab: &Lab, node: &str, name: &str) -> Result<u64> {
    lab.daemon(node)?.counter("data_plane", name)
}

/// Exchanges a few octets at a time until this correspondent has bound the only flow: it began before its binding, so
/// its member leads it to C. The last exchange goes by C both ways.
pub(super) fn led(lab: &Lab, visitor: &mut Visitor, correspondent: &str) -> Result<()> {
    const FEW: u64 = 512;
    wait::poll(SOON, ASK_AGAIN, "the session is led to C", || {
        visitor.transfer(FEW, FEW, SOON)?;
        let flows = lab.daemon(correspondent)?.list("flows")?;
        Ok((!flows.is_empty()).then_some(()))
    })?;
    visitor.transfer(FEW, FEW, SOON).map(drop)
}

/// TCP with full-sized segments, on links that became smaller than the far end believes. Nothing
/// but ICMPv6 Packet Too Big tells it, and that quotes addresses which it did not use.
pub(super) fn small_mtu() -> Result<()> {
    in_lab(None, |lab, report| {
        let session = bound(lab, report)?;
        becomes_small(lab, session)
    })
}

/// The links of a bound session become small, one after the other.
pub(super) fn becomes_small(lab: &Lab, mut session: Session) -> Result<()> {
    let member = session.server.name;

    // The LAN of the servers: the router answers the client, quoting A -> C.
    let before = count(lab, "gateway", "correspondent_icmp_error")?;
    let server = lab.network.server(session.server);
    netlink::mtu(server, "eth0", SMALL_MTU)?;
    netlink::mtu(&lab.network.lan, member, SMALL_MTU)?;
    netlink::mtu(&lab.network.lan, "router", SMALL_MTU)?;
    netlink::mtu(&lab.network.router, "lan0", SMALL_MTU)?;
    let (_, [core]) = transfer(lab, &mut session, 8 * MIB, LONG, ["gateway-router"])?;
    core.must_be_by_care_of("gateway-router")?;
    let errors = count(lab, "gateway", "correspondent_icmp_error")?;
    ensure!(errors > before, "the gateway has translated no error");

    // The link of the client: the gateway answers the member, quoting C -> A.
    let before = count(lab, member, "member_icmp_error")?;
    netlink::mtu(&lab.network.client, "eth0", SMALL_MTU - 20)?;
    netlink::mtu(&lab.network.gateway, "clients0", SMALL_MTU - 20)?;
    let (_, [core]) = transfer(lab, &mut session, 8 * MIB, LONG, ["gateway-router"])?;
    core.must_be_by_care_of("gateway-router")?;
    let errors = count(lab, member, "member_icmp_error")?;
    ensure!(errors > before, "the member has translated no error");
    ensure!(core.resets() == 0, "resets: {core:?}");
    session.visitor.tell("finish")?;
    session.visitor.event("finished", SOON)?;
    Ok(())
}

/// The way to C has a smaller MTU than the way to B: the gateway's own kernel tells the client.
pub(super) fn narrow_care_of() -> Result<()> {
    in_lab(None, |lab, report| {
        let session = bound(lab, report)?;
        becomes_narrow(lab, session)
    })
}

/// A bound session goes on where packets of its size go to B, but not to C.
pub(super) fn becomes_narrow(lab: &Lab, mut session: Session) -> Result<()> {
    let care_of = session.server.care_of.context("a member")?;
    let way = format!("{care_of} via {GATEWAYS_ROUTER} dev up0");
    narrow(&lab.network.gateway, &way, SMALL_MTU)?;
    let before =
        ["too_big_for_care_of", "correspondent_icmp_error"].map(|name| count(lab, "gateway", name));
    let (_, [core]) = transfer(lab, &mut session, 8 * MIB, LONG, ["gateway-router"])?;
    core.must_be_by_care_of("gateway-router")?;
    ensure!(core.resets() == 0, "resets: {core:?}");
    for (name, before) in ["too_big_for_care_of", "correspondent_icmp_error"]
        .into_iter()
        .zip(before)
    {
        ensure!(
            count(lab, "gateway", name)? > before?,
            "nothing counted as {name}"
        );
    }
    session.visitor.tell("finish")?;
    session.visitor.event("finished", SOON)?;
    Ok(())
}

/// A way becomes narrower than its link: packets beyond this are answered with Packet Too Big.
pub(super) fn narrow(hop: &Namespace, way: &str, mtu: u32) -> Result<()> {
    let route = format!("-6 route replace {way} mtu lock {mtu}");
    let status = hop.command("ip").args(route.split(' ')).status()?;
    ensure!(status.success(), "ip {route}: {status}");
    Ok(())
}

/// Datagrams of several fragments, there and back, by C.
pub(super) fn fragments() -> Result<()> {
    in_lab(None, |lab, report| {
        let session = bound(lab, report)?;
        let followed = count(lab, "gateway", "fragment_followed")?;
        datagrams(lab)?;
        ensure!(count(lab, "gateway", "fragment_guessed")? == 0);
        // 60,000 octets alone are more than 40 later fragments in each direction.
        ensure!(count(lab, "gateway", "fragment_followed")? > followed + 80);
        ensure!(count(lab, session.server.name, "fragment_followed")? > 80);
        Ok(())
    })
}

/// Datagrams of many sizes from the client to the members' address and back.
pub(super) fn datagrams(lab: &Lab) -> Result<()> {
    with_echo(lab, || {
        let socket = UdpSocket::bind(SocketAddr::from((CLIENT, DATAGRAMS)))?;
        socket.connect(SocketAddr::from((B, ECHO)))?;
        socket.set_read_timeout(Some(wait::patience(SOON)))?;
        for size in [100, 1452, 1453, 4000, 20_000, 60_000] {
            let sent = content(size);
            socket.send(&sent)?;
            comes_back(&socket, &sent)?;
        }
        Ok(())
    })
}

/// So many octets for a datagram.
pub(super) fn content(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// The next datagram is this one.
pub(super) fn comes_back(socket: &UdpSocket, sent: &[u8]) -> Result<()> {
    let mut back = vec![0; 65536];
    let length = socket.recv(&mut back)?;
    let size = sent.len();
    ensure!(
        back[..length] == *sent,
        "{size} octets came back as {length} others"
    );
    Ok(())
}

/// Runs `body` at the client while both members answer datagrams to [`ECHO`].
pub(super) fn with_echo(lab: &Lab, body: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    lab.with_echo(ECHO, || lab.network.client.run(body))
}

/// Waits for so many octets more from a care-of address. Gives how many there were in all.
pub(super) fn more(lab: &Lab, care_of: Ipv6Addr, octets: u64) -> Result<u64> {
    let ledger = lab.capture("gateway-router")?.ledger();
    let count = |ledger: &Ledger| ledger.sum(|flow| flow.source.0 == care_of).octets;
    let enough = ledger.read(count) + octets;
    Ok(ledger.wait(SOON, "megabytes by C", |ledger| {
        Some(count(ledger)).filter(|octets| *octets > enough)
    })?)
}

/// Megabytes are on their way in both directions when the gateway's programs vanish: the client
/// gets segments from C, which it has never heard of, and resets them.
pub(super) fn gone_in_full_flow() -> Result<()> {
    const AMOUNT: u64 = 64 * MIB;
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        let member = session.server.name;
        session
            .visitor
            .tell(&format!("transfer {AMOUNT} {AMOUNT}"))?;
        more(lab, session.care_of, 4 * MIB)?;
        lab.kill("gateway")?;
        lab.detach("gateway")?;
        session.visitor.event("transferred", LONG)?;
        session.visitor.tell("finish")?;
        session.visitor.event("finished", SOON)?;
        let held = count(lab, member, "member_reset_held")?;
        ensure!(
            count(lab, member, "member_flow_returned")? > 0,
            "the flow did not return to B; {held} resets held"
        );
        Ok(())
    })
}
