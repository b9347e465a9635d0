//! The system by TCX, on links as the kernel makes them: segments are merged on their way, and
//! checksums are open.

use std::{
    net::{SocketAddr, SocketAddrV6, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{
        report::Report,
        scenario::{MIB, SOON, Session, transfer},
        stage::Lab,
        topology::{B, CLIENT},
    },
    net::{
        Direction, Sender, TcxCounter, Which,
        ethtool::{self, Offload},
        netlink,
        packet::forge,
        wait,
    },
};

use super::{datagrams, paths, sessions::bound, stage::in_lab};

const LONG: Duration = Duration::from_secs(60);
/// Octets of the largest packet that a link carries.
const MTU: u64 = 1500;
/// Packets of a megabyte, when each is as large as one can be.
const FEWEST: u64 = MIB / 65536;

/// A bound session, with TCX everywhere.
fn bound_by_tcx(lab: &mut Lab, report: &mut Report) -> Result<Session> {
    for node in ["router", "gateway", "s1", "s2"] {
        lab.configure(node, "mode = \"auto\"", "mode = \"tcx\"")?;
    }
    let session = bound(lab, report)?;
    lab.network.offload()?;
    Ok(session)
}

pub(super) fn modes(lab: &Lab, node: &str) -> Result<Vec<(String, String)>> {
    let status = lab.daemon(node)?.ask("status")?;
    let interfaces = status["interfaces"].as_array().context("no interfaces")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(interfaces
        .iter()
        .map(|interface| (text(&interface["mode"]), text(&interface["mode_reason"])))
        .collect())
}

/// Links of programs that are pinned at a node, without the interface's index.
pub(super) fn pinned(lab: &Lab) -> Result<Vec<String>> {
    let names = lab.network.gateway.pinned()?;
    let mut hooks: Vec<String> = names
        .iter()
        .filter_map(|name| name.split_once('-'))
        .filter(|(ifindex, _)| ifindex.bytes().all(|octet| octet.is_ascii_digit()))
        .map(|(_, hook)| hook.to_owned())
        .collect();
    hooks.sort();
    Ok(hooks)
}

/// TCP and UDP, there and back.
pub(super) fn offloads() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound_by_tcx(lab, report)?;
        for node in ["router", "gateway", "s1", "s2"] {
            let configured = ("tcx".to_owned(), "configured".to_owned());
            let modes = modes(lab, node)?;
            ensure!(modes.iter().all(|mode| *mode == configured), "{modes:?}");
        }
        let (_, [core]) = transfer(lab, &mut session, 64 * MIB, LONG, ["gateway-router"])?;
        core.must_be_by_care_of("gateway-router")?;
        ensure!(core.resets() == 0, "resets: {core:?}");
        for tally in core.by_care_of {
            let each = tally.octets / tally.packets;
            ensure!(each > 2 * MTU, "nothing was merged: {core:?}");
        }
        paths::datagrams(lab)?;
        let unreadable = "extension_chain_not_parsed";
        ensure!(paths::count(lab, "gateway", unreadable)? == 0);
        session.visitor.tell("finish")?;
        session.visitor.event("finished", SOON)?;
        Ok(())
    })
}

pub(super) fn small_mtu() -> Result<()> {
    in_lab(None, |lab, report| {
        let session = bound_by_tcx(lab, report)?;
        paths::becomes_small(lab, session)
    })
}

pub(super) fn datagrams() -> Result<()> {
    in_lab(None, |lab, report| {
        bound_by_tcx(lab, report)?;
        datagrams::become_small(lab)
    })
}

pub(super) fn fragments() -> Result<()> {
    in_lab(None, |lab, report| {
        bound_by_tcx(lab, report)?;
        datagrams::fragments_become_small(lab)
    })
}

pub(super) fn narrow_care_of() -> Result<()> {
    in_lab(None, |lab, report| {
        let session = bound_by_tcx(lab, report)?;
        paths::becomes_narrow(lab, session)
    })
}

/// The next daemon takes programs over as they are, or puts those of another mode in their place.
pub(super) fn other_mode() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound_by_tcx(lab, report)?;
        session.visitor.tell("beat")?;
        let tcx = ["egress", "egress", "tcx", "tcx"];
        ensure!(pinned(lab)? == tcx, "{:?}", pinned(lab)?);
        lab.restart("gateway")?;
        ensure!(pinned(lab)? == tcx, "{:?}", pinned(lab)?);
        transfer(lab, &mut session, MIB, LONG, ["gateway-router"])?;

        // Open checksums are not for XDP.
        lab.network.wire()?;
        lab.configure("gateway", "mode = \"tcx\"", "mode = \"native\"")?;
        lab.restart("gateway")?;
        let native = ["egress", "egress", "native", "native"];
        ensure!(pinned(lab)? == native, "{:?}", pinned(lab)?);
        let (_, [core]) = transfer(lab, &mut session, MIB, LONG, ["gateway-router"])?;
        core.must_be_by_care_of("gateway-router")?;

        lab.configure("gateway", "mode = \"native\"", "mode = \"tcx\"")?;
        lab.restart("gateway")?;
        ensure!(pinned(lab)? == tcx, "{:?}", pinned(lab)?);
        let (_, [core]) = transfer(lab, &mut session, MIB, LONG, ["gateway-router"])?;
        core.must_be_by_care_of("gateway-router")?;
        ensure!(core.resets() == 0, "resets: {core:?}");

        lab.kill("gateway")?;
        let said = lab.detach("gateway")?;
        ensure!(said.contains('4'), "{said}");
        ensure!(pinned(lab)?.is_empty(), "{:?}", pinned(lab)?);
        let (_, [core]) = transfer(lab, &mut session, MIB, LONG, ["gateway-router"])?;
        let [up, down] = core.by_anycast.map(|tally| tally.packets);
        ensure!(up > 0 && down > 0, "not by B: {core:?}");
        Ok(())
    })
}

/// A megabyte each way, by C; each of the other programs sees packets of it.
fn passes_by(lab: &Lab, session: &mut Session, others: &[&TcxCounter]) -> Result<()> {
    let count = |others: &[&TcxCounter]| -> Result<Vec<u64>> {
        others.iter().map(|other| other.count()).collect()
    };
    let before = count(others)?;
    let (_, [core]) = transfer(lab, session, MIB, LONG, ["gateway-router"])?;
    core.must_be_by_care_of("gateway-router")?;
    ensure!(core.resets() == 0, "resets: {core:?}");
    let after = count(others)?;
    let mut growth = after.iter().zip(&before);
    ensure!(
        growth.all(|(after, before)| after - before >= FEWEST),
        "of a transfer, others have seen only {before:?} to {after:?}"
    );
    Ok(())
}

/// Programs of somebody else at the gateway's uplink, one for each direction.
fn others(lab: &Lab) -> Result<[TcxCounter; 2]> {
    let attach = |direction| TcxCounter::attach(&lab.network.gateway, "up0", direction, Which::All);
    Ok([attach(Direction::Ingress)?, attach(Direction::Egress)?])
}

/// Programs of somebody else, before ours and after.
pub(super) fn beside_others() -> Result<()> {
    in_lab(None, |lab, report| {
        let early = others(lab)?;
        let mut session = bound_by_tcx(lab, report)?;
        let late = others(lab)?;
        let all: Vec<_> = early.iter().chain(&late).collect();
        passes_by(lab, &mut session, &all)?;
        lab.restart("gateway")?;
        passes_by(lab, &mut session, &all)?;

        // Theirs go, ours stay.
        drop(early);
        let ours = ["egress", "egress", "tcx", "tcx"];
        ensure!(pinned(lab)? == ours, "{:?}", pinned(lab)?);
        passes_by(lab, &mut session, &late.each_ref())?;

        // Ours go, theirs stay.
        lab.kill("gateway")?;
        lab.detach("gateway")?;
        let before = late.each_ref().map(TcxCounter::count);
        let (_, [core]) = transfer(lab, &mut session, MIB, LONG, ["gateway-router"])?;
        let [up, down] = core.by_anycast.map(|tally| tally.packets);
        ensure!(up > 0 && down > 0, "not by B: {core:?}");
        for (other, before) in late.iter().zip(before) {
            let seen = other.count()? - before?;
            ensure!(seen >= FEWEST, "only {seen}: another program was detached");
        }
        Ok(())
    })
}

/// A packet socket leaves all but the Ethernet header of a large frame in pages, outside of what a
/// program may read.
pub(super) fn not_linear() -> Result<()> {
    const JUMBO: u32 = 9000;
    const PORT: u16 = 5001;
    in_lab(None, |lab, report| {
        let _session = bound_by_tcx(lab, report)?;
        let gateway = &lab.network.gateway;
        let (interface, ingress, which) = ("clients0", Direction::Ingress, Which::NotLinear);
        let before = TcxCounter::attach_first(gateway, interface, ingress, which)?;
        let after = TcxCounter::attach(gateway, interface, ingress, which)?;
        for (namespace, interface) in lab.network.ends() {
            netlink::mtu(namespace, interface, JUMBO)?;
        }
        // Who would merge packets makes headers linear.
        ethtool::set(gateway, "clients0", Offload::Merge, false)?;
        let way = [
            netlink::mac(&lab.network.client, "eth0")?,
            netlink::mac(gateway, "clients0")?,
        ];
        let sender = Sender::open(&lab.network.client, "eth0")?;
        let bound = paths::count(lab, "gateway", "correspondent_to_care_of")?;
        let [client, server] =
            [(CLIENT, PORT), (B, paths::ECHO)].map(|(ip, port)| SocketAddrV6::new(ip, port, 0, 0));
        paths::with_echo(lab, || {
            let socket = UdpSocket::bind(SocketAddr::from(client))?;
            socket.connect(SocketAddr::from(server))?;
            socket.set_read_timeout(Some(wait::patience(SOON)))?;
            for size in [4500, 6000, 8900] {
                let sent = paths::content(size);
                ensure!(
                    sender.send(&forge::udp(way, client, server, &sent))?,
                    "dropped"
                );
                paths::comes_back(&socket, &sent)?;
            }
            Ok(())
        })?;
        let met = [before.count()?, after.count()?];
        ensure!(met == [3, 0], "not linear before and after ours: {met:?}");
        ensure!(paths::count(lab, "gateway", "correspondent_to_care_of")? >= bound + 3);
        Ok(())
    })
}
