//! Where a rewritten packet goes: a gateway with a link to its clients and one to the servers.

use std::{collections::BTreeSet, time::Duration};

use anycast_common::abi::roles::CORRESPONDENT;
use anycast_ctl::core::Time;
use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{
        Pass, Site,
        namespace::Namespace,
        netlink::{self, End},
        sysctl, wait,
    },
};

use crate::{
    harness::{Bench, Row, Verdict, bind},
    packets::{ACK, Packet, SYN, UDP, address},
};

pub(super) const A: &str = "2001:db8:1::100";
pub(super) const NEAR: &str = "2001:db8:1::200";
pub(super) const B: &str = "2001:db8:a::53";
pub(super) const C: &str = "2001:db8:20::c1";
pub(super) const NOWHERE: &str = "2001:db8:dead::c1";
pub(super) const PORTS: (u16, u16) = (40000, 80);
pub(super) const BACK: (u16, u16) = (80, 40000);
const CLIENTS: [u8; 6] = [2, 0, 0, 0, 1, 1];
const CLIENT: [u8; 6] = [2, 0, 0, 0, 1, 2];
pub(super) const UP: [u8; 6] = [2, 0, 0, 0, 2, 1];
pub(super) const ROUTER: [u8; 6] = [2, 0, 0, 0, 2, 2];
const NEW_ROUTER: [u8; 6] = [2, 0, 0, 0, 2, 3];
pub(super) const BEYOND_MTU: &[(&str, u64)] = &[
    ("correspondent_to_care_of", 1),
    ("forwarded_by_kernel", 1),
    ("too_big_for_care_of", 1),
];
/// Many times as long as a next hop is held.
pub(super) const SOON: Duration = Duration::from_secs(10);

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "forwarding: next hop, hop limit, size, neighbours",
            forwarding,
        )
        .test("forwarding: a running flow", running_flow)
        .test("forwarding: frames of several buffers", several_buffers)
        .test("forwarding: frames to a group", to_a_group)
}

/// The kernel forwards none of them, since each host that heard it would.
fn to_a_group() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = gateway.bound()?;
        let opens = Packet::tcp(A, B, PORTS, SYN);
        let (verdict, _) = bench.run(&opens.frame())?;
        ensure!(verdict == Verdict::Redirect, "{verdict:?}");
        let to_c = |packet: &Packet| packet.clone().with(|p| p.destination = address(C));
        let groups = [
            ("for all", [0xff; 6]),
            ("for a group", [0x33, 0x33, 0, 0, 0, 1]),
        ];
        for (name, group) in groups {
            let packet = Packet::tcp(A, B, PORTS, ACK);
            let send = |packet: &Packet| {
                let mut frame = packet.frame();
                frame[..6].copy_from_slice(&group);
                frame
            };
            bench.table(&[Row {
                frame: send(&packet),
                becomes: Some(send(&to_c(&packet))),
                counts: &[("correspondent_to_care_of", 1), ("forwarded_by_kernel", 1)],
                ..row(name, &packet, Verdict::Pass)
            }])?;
            let (verdict, _) = bench.run(&packet.frame())?;
            ensure!(verdict == Verdict::Redirect, "for us: {verdict:?}");
        }
        Ok(())
    })
}

pub(super) struct Gateway {
    pub namespace: Namespace,
    _client: Namespace,
    _router: Namespace,
    _napi: Pass,
    _site: Site,
}

impl Gateway {
    /// The interfaces to which XDP may send.
    pub(super) fn targets(&self) -> Result<BTreeSet<u32>> {
        let targets = ["clients0", "up0"].map(|name| netlink::index(&self.namespace, name));
        targets.into_iter().collect()
    }

    /// A bench where the client is bound to C, and packets go by XDP.
    fn bound(&self) -> Result<Bench> {
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        bench.ingress = netlink::index(&self.namespace, "clients0")?;
        set(&mut bench, C)?;
        let maps = bench.dataplane.maps();
        maps.set_redirect_targets(&self.targets()?, &BTreeSet::new())?;
        Ok(bench)
    }
}

pub(super) fn gateway() -> Result<Gateway> {
    let site = Site::claim("acv")?;
    let (namespace, client, router) = (
        site.namespace("gateway")?,
        site.namespace("client")?,
        site.namespace("router")?,
    );
    let end = |namespace, name, mac| End {
        namespace,
        name,
        mac: Some(mac),
    };
    netlink::veth(
        end(&namespace, "clients0", CLIENTS),
        end(&client, "eth0", CLIENT),
    )?;
    netlink::veth(end(&namespace, "up0", UP), end(&router, "gw0", ROUTER))?;
    sysctl::set(&namespace, &[("ipv6/conf/all/forwarding", "1")])?;
    for (place, name) in [
        (&namespace, "clients0"),
        (&namespace, "up0"),
        (&client, "eth0"),
        (&router, "gw0"),
    ] {
        netlink::up(place, name)?;
    }
    netlink::address(&namespace, "clients0", address("2001:db8:1::1"), 64)?;
    netlink::address(&namespace, "up0", address("2001:db8:ff::2"), 64)?;
    netlink::neighbour(&namespace, "clients0", address(A), CLIENT)?;
    netlink::neighbour(&namespace, "up0", address("2001:db8:ff::1"), ROUTER)?;
    netlink::route(
        &namespace,
        address("2001:db8:20::"),
        64,
        address("2001:db8:ff::1"),
        "up0",
    )?;
    // The kernel makes frames for a test only on an interface with a receive queue of XDP.
    let napi = Pass::attach(&namespace, "clients0")?;
    Ok(Gateway {
        namespace,
        _client: client,
        _router: router,
        _napi: napi,
        _site: site,
    })
}

pub(super) fn set(bench: &mut Bench, care_of: &str) -> Result<()> {
    bind(bench, (A, B), care_of, Time::from_nanos(u64::MAX / 2))
}

/// The frame as it leaves: other addresses, a hop less, the next hop's Ethernet addresses.
fn sent(packet: &Packet, source: [u8; 6], destination: [u8; 6]) -> Vec<u8> {
    let mut frame = packet.clone().with(|p| p.hop_limit -= 1).frame();
    frame[..6].copy_from_slice(&destination);
    frame[6..12].copy_from_slice(&source);
    frame
}

pub(super) fn row(name: &'static str, packet: &Packet, verdict: Verdict) -> Row {
    Row {
        name,
        frame: packet.frame(),
        verdict,
        becomes: None,
        counts: &[],
        events: &[],
    }
}

fn forwarding() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = gateway.bound()?;
        let out = Packet::tcp(A, B, PORTS, ACK);
        let to_c = out.clone().with(|p| p.destination = address(C));
        let opens = Packet::tcp(A, B, PORTS, SYN);
        let opens_to_c = opens.clone().with(|p| p.destination = address(C));
        let back = Packet::tcp(C, A, BACK, ACK);
        let from_b = back.clone().with(|p| p.source = address(B));
        let big = out.clone().with(|p| p.payload.resize(1461, 0));
        bench.table(&[
            Row {
                becomes: Some(sent(&opens_to_c, UP, ROUTER)),
                counts: &[
                    ("flow_pinned", 1),
                    ("correspondent_to_care_of", 1),
                    ("forwarded", 1),
                ],
                ..row("the first to the servers' side", &opens, Verdict::Redirect)
            },
            Row {
                becomes: Some(sent(&to_c, UP, ROUTER)),
                counts: &[("correspondent_to_care_of", 1), ("forwarded", 1)],
                ..row("to the servers' side", &out, Verdict::Redirect)
            },
            Row {
                becomes: Some(sent(&from_b, CLIENTS, CLIENT)),
                counts: &[("correspondent_from_care_of", 1), ("forwarded", 1)],
                ..row(
                    "to the client, out of the interface it came by",
                    &back,
                    Verdict::Tx,
                )
            },
            Row {
                becomes: Some(to_c.clone().with(|p| p.vlans = vec![9]).frame()),
                counts: &[("correspondent_to_care_of", 1), ("forwarded_by_kernel", 1)],
                ..row(
                    "tagged frames are the kernel's",
                    &out.clone().with(|p| p.vlans = vec![9]),
                    Verdict::Pass,
                )
            },
            row(
                "hop limit 1, for the kernel to answer",
                &out.clone().with(|p| p.hop_limit = 1),
                Verdict::Pass,
            ),
            too_big(&big, &big.clone().with(|p| p.destination = address(C))),
        ])?;
        // A bridge, a tunnel, a veth whose far end takes no frames: a redirect would lose it.
        let only_clients = BTreeSet::from([bench.ingress]);
        bench
            .dataplane
            .maps()
            .set_redirect_targets(&only_clients, &BTreeSet::new())?;
        bench.table(&[Row {
            becomes: Some(to_c.frame()),
            counts: &[("correspondent_to_care_of", 1), ("forwarded_by_kernel", 1)],
            ..row(
                "to a device that takes no redirected frames",
                &out,
                Verdict::Pass,
            )
        }])?;
        set(&mut bench, NOWHERE)?;
        let new = Packet::udp(A, B, (40001, 80), b"query");
        bench.table(&[Row {
            counts: &[("flow_pinned", 1), ("no_route_to_care_of", 1)],
            ..row("no way to C: better by B", &new, Verdict::Pass)
        }])?;
        set(&mut bench, NEAR)?;
        let new = Packet::udp(A, B, PORTS, b"query");
        bench.table(&[Row {
            becomes: Some(new.clone().with(|p| p.destination = address(NEAR)).frame()),
            counts: &[
                ("flow_pinned", 1),
                ("correspondent_to_care_of", 1),
                ("forwarded_by_kernel", 1),
            ],
            ..row("a neighbour that is not known yet", &new, Verdict::Pass)
        }])
    })
}

/// An answered flow that XDP has just sent goes the short way. What is unusual about a packet is seen there
/// too, and a next hop that changes is followed.
fn running_flow() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        let inside = netlink::index(&gateway.namespace, "clients0")?;
        let up = netlink::index(&gateway.namespace, "up0")?;
        bench.ingress = inside;
        set(&mut bench, C)?;
        let maps = bench.dataplane.maps();
        maps.set_redirect_targets(&BTreeSet::from([inside, up]), &BTreeSet::new())?;
        let out = Packet::udp(A, B, PORTS, b"query");
        let to_c = out.clone().with(|p| p.destination = address(C));
        bench.run(&out.frame())?;
        // Only what was answered goes the short way.
        bench.run(&Packet::udp(C, A, BACK, b"answer").frame())?;
        bench.run(&out.frame())?;

        let router = address("2001:db8:ff::1");
        netlink::neighbour(&gateway.namespace, "up0", router, NEW_ROUTER)?;
        let expected = sent(&to_c, UP, NEW_ROUTER);
        wait::poll(SOON, Duration::ZERO, "the new next hop is used", || {
            let (verdict, frame) = bench.run(&out.frame())?;
            ensure!(verdict == Verdict::Redirect, "{verdict:?}");
            Ok((frame == expected).then_some(()))
        })?;

        // At once, where the controller has heard of it.
        for mac in [ROUTER, NEW_ROUTER] {
            netlink::neighbour(&gateway.namespace, "up0", router, mac)?;
            bench.dataplane.maps().next_hops_changed()?;
            let (verdict, frame) = bench.run(&out.frame())?;
            ensure!(verdict == Verdict::Redirect && frame == sent(&to_c, UP, mac));
        }

        bench.table(&unusual(&out, &to_c))?;
        // Which way it goes may depend on where it came from.
        bench.ingress = up;
        bench.table(&[goes(&out, &to_c, Verdict::Tx)])?;
        bench.ingress = inside;
        bench.table(&[goes(&out, &to_c, Verdict::Redirect)])?;
        // At once.
        let maps = bench.dataplane.maps();
        maps.set_redirect_targets(&BTreeSet::from([inside]), &BTreeSet::new())?;
        bench.table(&[by_kernel("a device that takes no more frames", &out, &to_c)])
    })
}

/// A frame that is longer than a page is in several buffers, of which a program reads the first in place.
fn several_buffers() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        let inside = netlink::index(&gateway.namespace, "clients0")?;
        let up = netlink::index(&gateway.namespace, "up0")?;
        netlink::mtu(&gateway.namespace, "up0", 9000)?;
        bench.ingress = inside;
        set(&mut bench, C)?;
        let router = address("2001:db8:ff::1");
        netlink::neighbour(&gateway.namespace, "up0", router, NEW_ROUTER)?;
        let targets = BTreeSet::from([inside, up]);
        let maps = bench.dataplane.maps();
        maps.set_redirect_targets(&targets, &BTreeSet::new())?;
        let small = Packet::udp(A, B, PORTS, b"query");
        bench.run(&small.frame())?;
        bench.run(&Packet::udp(C, A, BACK, b"answer").frame())?;
        bench.run(&small.frame())?;
        let small_to_c = small.clone().with(|p| p.destination = address(C));
        let jumbo = Packet::udp(A, B, PORTS, &[7; 8000]);
        let jumbo_to_c = jumbo.clone().with(|p| p.destination = address(C));
        bench.table(&[
            goes(&small, &small_to_c, Verdict::Redirect),
            by_kernel("to a device that takes one buffer", &jumbo, &jumbo_to_c),
            goes(&small, &small_to_c, Verdict::Redirect),
        ])?;
        bench
            .dataplane
            .maps()
            .set_redirect_targets(&targets, &BTreeSet::from([up]))?;
        bench.table(&[
            goes(&jumbo, &jumbo_to_c, Verdict::Redirect),
            goes(&small, &small_to_c, Verdict::Redirect),
            // It goes the short way no more than the first one.
            goes(&jumbo, &jumbo_to_c, Verdict::Redirect),
        ])?;
        // What it quotes lies in the first buffer; its checksum is over all of them.
        let back = Packet::udp(C, A, BACK, &[9; 8000]);
        let from_b = back.clone().with(|p| p.source = address(B));
        netlink::mtu(&gateway.namespace, "clients0", 9000)?;
        let counts = &[
            ("correspondent_from_care_of", 1),
            ("forwarded_by_kernel", 1),
        ];
        bench.table(&[Row {
            becomes: Some(from_b.frame()),
            counts,
            ..row(
                "to a client whose device takes one buffer",
                &back,
                Verdict::Pass,
            )
        }])
    })
}

/// A packet of the flow, sent by XDP.
fn goes(out: &Packet, to_c: &Packet, verdict: Verdict) -> Row {
    Row {
        becomes: Some(sent(to_c, UP, NEW_ROUTER)),
        counts: &[("correspondent_to_care_of", 1), ("forwarded", 1)],
        ..row("a packet of the flow", out, verdict)
    }
}

fn by_kernel(name: &'static str, out: &Packet, to_c: &Packet) -> Row {
    Row {
        becomes: Some(to_c.frame()),
        counts: &[("correspondent_to_care_of", 1), ("forwarded_by_kernel", 1)],
        ..row(name, out, Verdict::Pass)
    }
}

fn too_big(out: &Packet, to_c: &Packet) -> Row {
    Row {
        counts: BEYOND_MTU,
        ..by_kernel("more than the MTU, for the kernel to answer", out, to_c)
    }
}

/// Packets of a running flow that are not like the others.
fn unusual(out: &Packet, to_c: &Packet) -> Vec<Row> {
    let change = |change: fn(&mut Packet)| (out.clone().with(change), to_c.clone().with(change));
    let (old, _) = change(|p| p.hop_limit = 1);
    let (big, big_to_c) = change(|p| p.payload.resize(1461, 0));
    let (tagged, tagged_to_c) = change(|p| p.vlans = vec![9]);
    let mut unsummed = Packet::raw(A, B, UDP, out.payload.clone());
    unsummed.hop_limit = 9;
    let unsummed_to_c = unsummed.clone().with(|p| p.destination = address(C));
    vec![
        goes(out, to_c, Verdict::Redirect),
        row("hop limit 1, for the kernel to answer", &old, Verdict::Pass),
        too_big(&big, &big_to_c),
        by_kernel("tagged frames are the kernel's", &tagged, &tagged_to_c),
        // No checksum is none to be changed.
        goes(&unsummed, &unsummed_to_c, Verdict::Redirect),
    ]
}
