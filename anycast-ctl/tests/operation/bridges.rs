//! What `check --host` finds of bridges, beside where these pass Reports without a daemon.

use std::{
    net::Ipv6Addr,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use anycast_common::wire::{ipv6, mld};
use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    socket::{
        AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
        sockopt,
    },
    time::TimeVal,
};
use xtask::{
    lab::scenario::{ASK_AGAIN, SOON},
    net::{
        Namespace, Sender, netlink,
        packet::forge,
        wait::{patience, poll},
    },
};

use crate::host::{Machine, follow, ip};

const ON_BRIDGE: &str =
    "[member]\ninterfaces = [\"br0\"]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\n";
const ROUTER_ON_BRIDGE: &str = "[router]\ninterfaces = [\"br0\"]\n";

/// Hears frames on an interface.
struct Ear {
    socket: OwnedFd,
    index: usize,
}

impl Ear {
    fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let index = usize::try_from(netlink::index(namespace, interface)?)?;
        let socket = namespace.run(|| {
            let (family, flags) = (AddressFamily::Packet, SockFlag::SOCK_CLOEXEC);
            Ok(socket(family, SockType::Raw, flags, SockProtocol::EthAll)?)
        })?;
        let limit = patience(Duration::from_secs(5)).as_secs();
        setsockopt(
            &socket,
            sockopt::ReceiveTimeout,
            &TimeVal::new(limit.try_into()?, 0),
        )?;
        Ok(Self { socket, index })
    }

    /// Whether a frame arrives that is sent so. One to everybody, which is sent behind it, arrives in any case.
    fn hears(&self, sender: &Sender, frame: &[u8]) -> Result<bool> {
        // Of an Ethertype for experiments.
        let mut marker = vec![0xff; 6];
        marker.extend([2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
        marker.resize(60, 0);
        sender.send(frame)?;
        sender.send(&marker)?;
        let mut heard = false;
        let mut octets = [0; 2048];
        loop {
            let (length, from) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut octets)
                .context("no frame to everybody arrives")?;
            if from.is_none_or(|from| from.ifindex() != self.index) {
                continue;
            }
            let arrived = octets.get(..length).unwrap_or_default();
            if arrived == marker {
                return Ok(heard);
            }
            heard |= arrived == frame;
        }
    }
}

/// A General Query of MLDv1, as a router would send it.
fn query(router: Ipv6Addr) -> Result<Vec<u8>> {
    let query = mld::Message::Query(mld::Query {
        max_response_delay: Duration::from_millis(100),
        address: Ipv6Addr::UNSPECIFIED,
        version: mld::Version::V1,
    });
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    let mut packet = vec![0; mld::PACKET_LEN];
    let length = query.emit(router, ipv6::ALL_NODES, &mut packet)?;
    frame.extend(packet.get(..length).unwrap_or_default());
    Ok(frame)
}

pub fn snooping() -> Result<()> {
    const HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11);
    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let machine = Machine::new()?;
    let (namespace, far) = (&machine.namespace, &machine.far);
    netlink::bridge(namespace, "br0", &["up0"])?;
    // It asks from there.
    netlink::address(namespace, "br0", HOST, 64)?;
    let bridge = |what: &str| ip(namespace, &format!("link set br0 type bridge {what}"));
    let port = |router: &str| {
        ip(
            namespace,
            &format!("link set up0 type bridge_slave mcast_router {router}"),
        )
    };
    // A bridge that begins to ask waits for this time (in hundredths of a second) before it relies on answers.
    bridge("mcast_query_response_interval 100")?;
    let report = forge::mld(131, HOST, [2, 0, 0, 0, 0, 0x11], "2001:db8:a::53".parse()?);
    let out = (Sender::open(namespace, "br0")?, Ear::open(far, "up0")?);
    let within = (Sender::open(far, "up0")?, Ear::open(namespace, "br0")?);
    let state =
        |step: &str, config: &str, (sender, ear): &(Sender, Ear), passes: bool, remedy: &str| {
            poll(SOON, ASK_AGAIN, "Reports pass as they should", || {
                Ok((ear.hears(sender, &report)? == passes).then_some(()))
            })
            .with_context(|| format!("{step}: passes {passes}"))?;
            let found = machine.finds(config, &["snooping"])?;
            ensure!(
                found.len() == usize::from(!passes)
                    && found.iter().all(|(_, it)| it.contains(remedy)),
                "{step}, passes {passes}: {found:?}"
            );
            Ok(())
        };
    // Nobody asks, and a bridge passes Reports as other packets.
    state("nobody asks", ON_BRIDGE, &out, true, "")?;
    bridge("mcast_querier 1")?;
    state(
        "the bridge asks",
        ON_BRIDGE,
        &out,
        false,
        "br0 type bridge mcast_querier 0",
    )?;
    follow(namespace, "bridge link set dev up0 mcast_router 2")?;
    state("a port that is set", ON_BRIDGE, &out, true, "")?;
    port("1")?;
    state(
        "that port is automatic again",
        ON_BRIDGE,
        &out,
        false,
        "bridge link set dev PORT mcast_router 2",
    )?;
    // A Query of a router is as good.
    let query = query(ROUTER)?;
    within.0.send(&query)?;
    state("a router asks", ON_BRIDGE, &out, true, "")?;
    bridge("mcast_querier 0")?;
    port("0")?;
    state(
        "a port that is barred",
        ON_BRIDGE,
        &out,
        false,
        "bridge link set dev up0 mcast_router 1",
    )?;
    follow(namespace, "bridge link set dev up0 mcast_router 1")?;
    within.0.send(&query)?;
    state("the port may lead to a router", ON_BRIDGE, &out, true, "")?;

    // The machine of the bridge is the router.
    bridge("mcast_router 2")?;
    state(
        "the bridge is one of a router",
        ROUTER_ON_BRIDGE,
        &within,
        true,
        "",
    )?;
    bridge("mcast_router 0")?;
    state(
        "it is none",
        ROUTER_ON_BRIDGE,
        &within,
        false,
        "br0 type bridge mcast_router 1",
    )?;
    bridge("mcast_router 1")?;
    let found = machine.finds(ROUTER_ON_BRIDGE, &["snooping"])?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}
