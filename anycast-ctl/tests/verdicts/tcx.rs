//! What differs at TCX: the kernel forwards, segments are merged, and there is a way out.

use anycast_common::abi::{event::kind, roles::CORRESPONDENT};
use anyhow::Result;
use xtask::{kernel_tests::Suite, net::netlink};

use crate::{
    forward::{
        A, B, BACK, BEYOND_MTU, C, Gateway, NEAR, NOWHERE, PORTS, ROUTER, UP, gateway, row, set,
    },
    harness::{At, Bench, Hook, Row, Verdict, bind},
    icmp_error::{ADDRESS, HOP, TOO_BIG, UNREACHABLE, coded, error},
    packets::{ACK, Packet, SYN, address},
};

const FIRST: &[(&str, u64)] = &[
    ("flow_pinned", 1),
    ("correspondent_to_care_of", 1),
    ("forwarded_by_kernel", 1),
];
const FIRST_BEYOND_MTU: &[(&str, u64)] = &[
    ("flow_pinned", 1),
    ("correspondent_to_care_of", 1),
    ("forwarded_by_kernel", 1),
    ("too_big_for_care_of", 1),
];
const NEXT: &[(&str, u64)] = &[("correspondent_to_care_of", 1), ("forwarded_by_kernel", 1)];
const BACKWARD: &[(&str, u64)] = &[
    ("correspondent_from_care_of", 1),
    ("forwarded_by_kernel", 1),
];
const REDIRECTED: &[(&str, u64)] = &[("correspondent_to_care_of", 1), ("forwarded", 1)];
/// Of the gateway, among its clients.
const ON_LINK: &str = "2001:db8:1::1";
pub(super) const OTHER_ROUTER: [u8; 6] = [2, 0, 0, 0, 2, 9];

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "TCX: a gateway leaves it to the kernel to forward",
            forwards,
        )
        .test(
            "TCX: a gateway's packets to B are changed behind its filters",
            behind_filters,
        )
        .test("TCX: what is merged is measured by its segments", merged)
        .test(
            "TCX: a client host's own packets leave by the way to C",
            leaves,
        )
        .test("TCX: what is forwarded to another than B", forwarded)
        .test("TCX: errors of this host itself", own_errors)
}

/// A bench on an interface of a gateway.
pub(super) fn bench(gateway: &Gateway, hook: Hook, interface: &str) -> Result<Bench> {
    let _at = At::new(hook);
    let mut bench = Bench::new(CORRESPONDENT, true)?;
    bench.ingress = netlink::index(&gateway.namespace, interface)?;
    set(&mut bench, C)?;
    Ok(bench)
}

fn becomes(
    name: &'static str,
    before: &Packet,
    after: &Packet,
    counts: &'static [(&'static str, u64)],
) -> Row {
    Row {
        becomes: Some(after.frame()),
        counts,
        ..row(name, before, Verdict::Pass)
    }
}

pub(super) fn to(care_of: &str, packet: &Packet) -> Packet {
    packet.clone().with(|p| p.destination = address(care_of))
}

fn expiring(packet: &Packet) -> Packet {
    packet.clone().with(|p| p.hop_limit = 1)
}

fn forwards() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = bench(&gateway, Hook::Tcx, "clients0")?;
        let out = Packet::tcp(A, B, PORTS, ACK);
        let back = Packet::tcp(C, A, BACK, ACK);
        let from_b = back.clone().with(|p| p.source = address(B));
        let tagged = out.clone().with(|p| p.vlans = vec![9]);
        let big = out.clone().with(|p| p.payload.resize(1461, 0));
        let opens = Packet::tcp(A, B, PORTS, SYN);
        bench.table(&[
            becomes("to the servers' side", &opens, &to(C, &opens), FIRST),
            becomes("to the client", &back, &from_b, BACKWARD),
            becomes("a tagged frame", &tagged, &to(C, &tagged), NEXT),
            becomes(
                "more than the MTU, for the kernel to answer",
                &big,
                &to(C, &big),
                BEYOND_MTU,
            ),
        ])?;
        bench.ends = true;
        bench.table(&[
            row(
                "hop limit 1, for the kernel to answer",
                &expiring(&out),
                Verdict::Pass,
            ),
            becomes(
                "likewise to the client",
                &expiring(&back),
                &expiring(&from_b),
                BACKWARD,
            ),
        ])?;
        // Nor has the kernel one to B.
        set(&mut bench, NOWHERE)?;
        let new = Packet::udp(A, B, (40001, 80), b"query");
        bench.table(&[Row {
            counts: &[("flow_pinned", 1), ("no_route_to_care_of", 1)],
            ..row("no way to C: better by B", &new, Verdict::Pass)
        }])?;
        bench.ends = false;
        set(&mut bench, NEAR)?;
        let new = Packet::udp(A, B, PORTS, b"query");
        let to_near = to(NEAR, &new);
        bench.table(&[becomes(
            "a neighbour that is not known yet",
            &new,
            &to_near,
            FIRST,
        )])?;
        bench.ends = true;
        bench.table(&[row("hop limit 1 there", &expiring(&new), Verdict::Pass)])
    })
}

/// With a way to B, packets stay packets to B until they are behind the kernel's forwarding and its filters.
fn behind_filters() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let router = address("2001:db8:ff::1");
        netlink::route(&gateway.namespace, address(B), 128, router, "up0")?;
        let mut bench = bench(&gateway, Hook::Tcx, "clients0")?;
        let opens = Packet::tcp(A, B, PORTS, SYN);
        let out = Packet::tcp(A, B, PORTS, ACK);
        let big = out.clone().with(|p| p.payload.resize(1461, 0));
        bench.ends = true;
        bench.table(&[
            row("the first, on its way in", &opens, Verdict::Pass),
            row("a next one", &out, Verdict::Pass),
            row("one that is too big", &big, Verdict::Pass),
            row("one that expires", &expiring(&out), Verdict::Pass),
        ])?;
        bench.ends = false;
        bench.leaves = netlink::index(&gateway.namespace, "up0")?;
        let by = |name, packet, verdict, counts| Row {
            name,
            frame: leaving(packet, ROUTER),
            verdict,
            becomes: Some(leaving(&to(C, packet), ROUTER)),
            counts,
            events: &[],
        };
        let mut returned = leaving(&to(C, &big), ROUTER);
        returned[..6].copy_from_slice(&UP);
        bench.table(&[
            by(
                "the first, to the same router",
                &opens,
                Verdict::Pass,
                FIRST,
            ),
            by("a next one", &out, Verdict::Pass, NEXT),
            Row {
                becomes: Some(returned),
                ..by(
                    "one that is too big for the way to C comes in again",
                    &big,
                    Verdict::Redirect,
                    BEYOND_MTU,
                )
            },
        ])?;
        let mut other = leaving(&out, OTHER_ROUTER);
        let mut sent = leaving(&to(C, &out), OTHER_ROUTER);
        other[6..12].copy_from_slice(&UP);
        sent[6..12].copy_from_slice(&UP);
        bench.table(&[Row {
            name: "to another router",
            frame: other,
            verdict: Verdict::Redirect,
            becomes: Some(sent),
            counts: REDIRECTED,
            events: &[],
        }])?;
        let back = Packet::tcp(C, A, BACK, ACK);
        let from_b = back.clone().with(|p| p.source = address(B));
        bench.ends = true;
        bench.ingress = netlink::index(&gateway.namespace, "up0")?;
        bench.table(&[becomes(
            "an answer, on its way in",
            &back,
            &from_b,
            BACKWARD,
        )])
    })
}

fn merged() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = bench(&gateway, Hook::Tcx, "clients0")?;
        let long = Packet::tcp(A, B, PORTS, ACK).with(|p| p.payload.resize(3000, 7));
        let opens = Packet::tcp(A, B, PORTS, SYN).with(|p| p.payload.resize(3000, 7));
        bench.table(&[becomes(
            "not merged, it is too big",
            &opens,
            &to(C, &opens),
            FIRST_BEYOND_MTU,
        )])?;
        bench.segment = 1440;
        bench.table(&[becomes("of segments that fit", &long, &to(C, &long), NEXT)])?;
        bench.segment = 1441;
        bench.table(&[becomes(
            "of segments that do not",
            &long,
            &to(C, &long),
            BEYOND_MTU,
        )])
    })
}

/// The frame of a packet of this host that is on its way to a router.
pub(super) fn leaving(packet: &Packet, router: [u8; 6]) -> Vec<u8> {
    let mut frame = packet.frame();
    frame[..6].copy_from_slice(&router);
    frame[6..12].copy_from_slice(&UP);
    frame
}

fn leaves() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = bench(&gateway, Hook::TcxOut, "up0")?;
        let out = Packet::tcp(A, B, PORTS, ACK);
        let big = out.clone().with(|p| p.payload.resize(1461, 0));
        let opens = Packet::tcp(A, B, PORTS, SYN);
        let by = |name, packet, router, verdict, counts| Row {
            name,
            frame: leaving(packet, router),
            verdict,
            becomes: Some(leaving(&to(C, packet), router)),
            counts,
            events: &[],
        };
        bench.table(&[
            by("on its way", &opens, ROUTER, Verdict::Pass, FIRST),
            by(
                "to another router",
                &out,
                OTHER_ROUTER,
                Verdict::Redirect,
                REDIRECTED,
            ),
            becomes(
                "hop limit 1, which is for a router to find",
                &expiring(&out),
                &to(C, &expiring(&out)),
                REDIRECTED,
            )
            .redirected(),
            by(
                "one that is too big for the way to C, of which a router will say so",
                &big,
                ROUTER,
                Verdict::Pass,
                BEYOND_MTU,
            ),
            row(
                "the controller's own message",
                &Packet::mobility(A, B, 3),
                Verdict::Pass,
            ),
        ])?;
        bench.ingress = netlink::index(&gateway.namespace, "clients0")?;
        bench.table(&[by(
            "by another interface",
            &out,
            ROUTER,
            Verdict::Redirect,
            REDIRECTED,
        )])?;
        // A C that is an anycast address of its own.
        bind(
            &mut bench,
            (A, C),
            NEAR,
            anycast_ctl::core::Time::from_nanos(u64::MAX / 2),
        )?;
        bench.table(&[
            row(
                "what goes to C already stays so",
                &to(C, &out),
                Verdict::Pass,
            ),
            by(
                "and what goes to B is not sent further",
                &out,
                ROUTER,
                Verdict::Redirect,
                REDIRECTED,
            ),
        ])?;
        set(&mut bench, NOWHERE)?;
        let new = Packet::udp(A, B, (40001, 80), b"query");
        bench.table(&[Row {
            counts: &[("flow_pinned", 1), ("no_route_to_care_of", 1)],
            ..row("no way to C: better by B", &new, Verdict::Pass)
        }])
    })
}

fn forwarded() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = bench(&gateway, Hook::TcxOut, "up0")?;
        let opens = Packet::tcp(A, B, PORTS, SYN);
        bench.run(&opens.frame())?;
        bench.arrived = netlink::index(&gateway.namespace, "clients0")?;
        let back = Packet::tcp(C, A, BACK, ACK);
        bench.table(&[row(
            "an answer of C, which was not changed when it came",
            &back,
            Verdict::Pass,
        )])?;
        bench.arrived = 0;
        let from_b = back.clone().with(|p| p.source = address(B));
        bench.table(&[Row {
            counts: &[("correspondent_from_care_of", 1), ("forwarded", 1)],
            ..becomes("that of a member on this host", &back, &from_b, &[])
        }
        .redirected()])
    })
}

/// The kernel forwards A -> C, and quotes that.
fn own_errors() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = bench(&gateway, Hook::TcxOut, "clients0")?;
        let maps = bench.dataplane.maps();
        maps.set_client_prefixes(&["2001:db8:1::/64".parse()?])?;
        let sent = Packet::tcp(A, B, PORTS, ACK);
        let seen = to(C, &sent);
        bench.run(&Packet::tcp(A, B, PORTS, SYN).frame())?;
        bench.run(&sent.frame())?;
        bench.table(&[
            Row {
                counts: &[("correspondent_icmp_error", 1), ("forwarded", 1)],
                ..becomes(
                    "Packet Too Big to the client",
                    &error(HOP, A, TOO_BIG, &seen),
                    &error(HOP, A, TOO_BIG, &sent),
                    &[],
                )
            }
            .redirected(),
            Row {
                counts: &[("care_of_unreachable", 1)],
                events: &[kind::CARE_OF_UNREACHABLE],
                ..row(
                    "C cannot be reached",
                    &coded(ADDRESS, error(HOP, A, UNREACHABLE, &seen)),
                    Verdict::Drop,
                )
            },
            Row {
                counts: &[("care_of_unreachable", 1)],
                ..row(
                    "the same by the gateway's address on the clients' link",
                    &coded(ADDRESS, error(ON_LINK, A, UNREACHABLE, &seen)),
                    Verdict::Drop,
                )
            },
            // The controller's Home Test, and a Home Test Init of a member on this host.
            row("an answer", &Packet::mobility(A, B, 3), Verdict::Pass),
            row("a message", &Packet::mobility(B, A, 1), Verdict::Pass),
        ])?;
        bench.arrived = netlink::index(&gateway.namespace, "clients0")?;
        bench.table(&[Row {
            counts: &[("care_of_unreachable_from_clients", 1)],
            ..row(
                "what a client says by that address",
                &coded(ADDRESS, error(ON_LINK, A, UNREACHABLE, &seen)),
                Verdict::Drop,
            )
        }])
    })
}

impl Row {
    /// The frame of a table has not the Ethernet addresses that it should have on its way out.
    fn redirected(self) -> Self {
        let counts = match self.counts {
            counts if counts == FIRST => &[
                ("flow_pinned", 1),
                ("correspondent_to_care_of", 1),
                ("forwarded", 1),
            ],
            counts => counts,
        };
        Self {
            verdict: Verdict::Redirect,
            counts,
            ..self
        }
    }
}
