//! Fragments on a gateway's own interfaces that the way to C does not carry, and what its kernel says of them.

use anycast_common::abi::roles::CORRESPONDENT;
use anyhow::Result;
use xtask::{kernel_tests::Suite, net::netlink};

use crate::{
    forward::{self, gateway},
    harness::{At, Bench, Hook, Row, Verdict},
    icmp_error::{A, B, C, HOP, PORTS, TOO_BIG, error, row},
    icmp_fragment::pieces,
    packets::Packet,
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("fragments that are too big for the way to C", || {
            too_big(Hook::Xdp)
        })
        .test("TCX: fragments that are too big for the way to C", || {
            too_big(Hook::Tcx)
        })
        .test(
            "TCX: the kernel's errors about fragments to C",
            kernel_errors,
        )
}

/// The way to B may be wider, but leads to whoever is there now. The kernel gets them for C.
fn too_big(hook: Hook) -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let _at = At::new(hook);
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        bench.ingress = netlink::index(&gateway.namespace, "clients0")?;
        forward::set(&mut bench, C)?;
        let big = |source, destination, ports| {
            let whole = Packet::udp(source, destination, ports, &[0x33; 48]);
            pieces(&whole, 1).map(|piece| piece.with(|p| p.payload.resize(1456, 7)))
        };
        let (sent, seen) = (big(A, B, PORTS), big(A, C, PORTS));
        bench.table(&[
            row(
                "the first",
                &sent[0],
                &seen[0],
                &[
                    ("flow_pinned", 1),
                    ("correspondent_to_care_of", 1),
                    ("too_big_for_care_of", 1),
                    ("forwarded_by_kernel", 1),
                ],
            ),
            row(
                "a later one",
                &sent[1],
                &seen[1],
                &[
                    ("fragment_followed", 1),
                    ("too_big_for_care_of", 1),
                    ("forwarded_by_kernel", 1),
                ],
            ),
        ])?;
        // The member itself is told, and quotes C.
        let back = big(C, A, (PORTS.1, PORTS.0));
        if hook == Hook::Xdp {
            let followed = &[("fragment_followed", 1)];
            bench.table(&[
                row("the first to the client", &back[0], &back[0], &[]),
                row("a later one to the client", &back[1], &back[1], followed),
            ])?;
        } else {
            // The kernel tells B, by the program on the way out.
            let shown = big(B, A, (PORTS.1, PORTS.0));
            bench.table(&[
                row(
                    "the first to the client",
                    &back[0],
                    &shown[0],
                    &[
                        ("correspondent_from_care_of", 1),
                        ("forwarded_by_kernel", 1),
                    ],
                ),
                row(
                    "a later one to the client",
                    &back[1],
                    &shown[1],
                    &[("fragment_followed", 1), ("forwarded_by_kernel", 1)],
                ),
            ])?;
        }
        forward::set(&mut bench, forward::NOWHERE)?;
        // Nor has the kernel one to B.
        bench.ends = true;
        let other = pieces(&Packet::udp(A, B, (40001, 80), &[0x33; 48]), 2);
        let lost = &[("fragment_guessed", 1), ("no_route_to_care_of", 1)];
        bench.table(&[row("no way to C: better by B", &other[1], &other[1], lost)])
    })
}

/// The kernel forwards A -> C, and quotes that: the egress program puts it right.
fn kernel_errors() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let _at = At::new(Hook::TcxOut);
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        bench.ingress = netlink::index(&gateway.namespace, "clients0")?;
        forward::set(&mut bench, C)?;
        let packet = |destination| pieces(&Packet::udp(A, destination, PORTS, &[0x33; 48]), 1);
        let (sent, seen) = (packet(B), packet(C));
        bench.run(&sent[0].frame())?;
        for (sent, seen) in sent.iter().zip(&seen) {
            bench.table(&[Row {
                verdict: Verdict::Redirect,
                ..row(
                    "Packet Too Big to the client",
                    &error(HOP, A, TOO_BIG, seen),
                    &error(HOP, A, TOO_BIG, sent),
                    &[("correspondent_icmp_error", 1), ("forwarded", 1)],
                )
            }])?;
        }
        Ok(())
    })
}
