//! The member's half of the data plane: A -> C, A -> B, and the answers.

use std::time::{Duration, Instant};

use anycast_common::{
    abi::{event::kind, roles::MEMBER},
    wire::ipv6::MAX_EXTENSIONS,
};
use anycast_ctl::core::{MapAction, Time};
use anyhow::{Result, ensure};
use xtask::{kernel_tests::Suite, net::wait};

use crate::{
    harness::{Bench, Row, Verdict},
    packets::{ACK, FIN, MOBILITY, Packet, RST, SCTP, SYN, address},
};

pub const A: &str = "2001:db8:1::100";
pub const B: &str = "2001:db8:a::53";
pub const C: &str = "2001:db8:20::c1";
pub const OTHER: &str = "2001:db8:20::11";
/// Until something happens that the programs time by themselves.
pub const LONGEST: Duration = Duration::from_secs(10);
pub const PORTS: (u16, u16) = (40000, 80);
pub const BACK: (u16, u16) = (80, 40000);
const SCTP_HEADER: [u8; 12] = [0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8];
const SCTP_BACK: [u8; 12] = [0, 80, 0x9c, 0x40, 1, 2, 3, 4, 5, 6, 7, 8];

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("member: packets to C become packets to B", inbound)
        .test("member: what is never rewritten", untouched)
        .test("member: answers mirror the address used last", mirror)
        .test("member: a new client is reported once", new_client)
        .test("member: messages of the handshake", control)
        .test(
            "member: a bare reset by C moves the flow back to B",
            held_reset,
        )
}

pub fn bench() -> Result<Bench> {
    let mut bench = Bench::new(MEMBER, true)?;
    bench
        .dataplane
        .maps()
        .set_local_care_of(address(C), address(B))?;
    serve(&mut bench, false)?;
    Ok(bench)
}

pub fn serve(bench: &mut Bench, report_clients: bool) -> Result<()> {
    bench.dataplane.maps().apply(&MapAction::SetLocalAnycast {
        anycast: address(B),
        report_clients,
    })?;
    Ok(())
}

pub fn row(name: &'static str, packet: &Packet, counts: &'static [(&'static str, u64)]) -> Row {
    Row {
        name,
        frame: packet.frame(),
        verdict: Verdict::Pass,
        becomes: None,
        counts,
        events: &[],
    }
}

/// The packet to C that must become the same packet to B.
pub fn rewritten(name: &'static str, packet: &Packet) -> Row {
    let after = packet.clone().with(|p| p.destination = address(B));
    Row {
        becomes: Some(after.frame()),
        ..row(name, packet, &[("member_from_care_of", 1)])
    }
}

fn inbound() -> Result<()> {
    let mut zero_udp = Packet::udp(A, C, PORTS, b"no checksum").frame();
    zero_udp[14 + 40 + 6..14 + 40 + 8].fill(0);
    let mut zero_udp_after = zero_udp.clone();
    zero_udp_after[14 + 24..14 + 40].copy_from_slice(&address(B).octets());
    let options = (60, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    let tcp = |flags| Packet::tcp(A, C, PORTS, flags);
    bench()?.table(&[
        rewritten("TCP", &tcp(ACK)),
        rewritten("TCP SYN", &tcp(SYN)),
        rewritten("TCP FIN", &tcp(FIN | ACK)),
        rewritten("UDP", &Packet::udp(A, C, PORTS, b"query")),
        rewritten("UDP without data", &Packet::udp(A, C, PORTS, b"")),
        rewritten("ICMPv6 echo", &Packet::echo(A, C, false, 77)),
        rewritten("SCTP", &Packet::new(A, C, SCTP, SCTP_HEADER.to_vec())),
        rewritten("GRE, by address alone", &Packet::new(A, C, 47, vec![0; 8])),
        rewritten("TCP in two VLANs", &tcp(ACK).with(|p| p.vlans = vec![5, 6])),
        rewritten(
            "TCP behind Destination Options",
            &tcp(ACK).with(|p| p.extensions = vec![options.clone()]),
        ),
        rewritten(
            "TCP behind as many extension headers as are walked",
            &tcp(ACK).with(|p| p.extensions = vec![options; MAX_EXTENSIONS]),
        ),
        Row {
            frame: zero_udp,
            becomes: Some(zero_udp_after),
            ..rewritten(
                "UDP with the illegal zero checksum, which stays",
                &Packet::udp(A, C, PORTS, b""),
            )
        },
    ])
}

fn untouched() -> Result<()> {
    let tcp = || Packet::tcp(A, C, PORTS, ACK);
    let options = (60, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    bench()?.table(&[
        row(
            "TCP to another address",
            &Packet::tcp(A, OTHER, PORTS, ACK),
            &[],
        ),
        row("TCP to B", &Packet::tcp(A, B, PORTS, ACK), &[]),
        row(
            "a Neighbor Solicitation for C",
            &Packet::icmpv6(OTHER, C, 135, &[0; 20]).with(|p| p.hop_limit = 255),
            &[],
        ),
        row(
            "a Neighbor Advertisement",
            &Packet::icmpv6(OTHER, C, 136, &[0; 20]),
            &[],
        ),
        row(
            "a link-local source",
            &Packet::tcp("fe80::1", C, PORTS, ACK),
            &[],
        ),
        row(
            "TCP cut short",
            &tcp().with(|p| p.payload.truncate(12)),
            &[],
        ),
        row(
            "a fragment to another address",
            &Packet::udp(A, OTHER, PORTS, b"x").fragment(8, false),
            &[],
        ),
        row(
            "a routing header",
            &tcp().with(|p| p.extensions = vec![(43, vec![0; 8])]),
            &[("extension_chain_not_parsed", 1)],
        ),
        row(
            "more extension headers than are walked",
            &tcp().with(|p| p.extensions = vec![options; MAX_EXTENSIONS + 1]),
            &[("extension_chain_not_parsed", 1)],
        ),
        row("multicast", &Packet::udp(A, "ff02::1:2", PORTS, b"x"), &[]),
    ])
}

/// An answer of this host at egress: it leaves from C, or as it is.
pub fn out(name: &'static str, packet: &Packet, by_care_of: bool) -> Row {
    let after = packet.clone().with(|p| {
        if by_care_of {
            p.source = address(C);
        }
    });
    Row {
        verdict: Verdict::Next,
        becomes: Some(after.frame()),
        counts: if by_care_of {
            &[("member_to_care_of", 1)]
        } else {
            &[]
        },
        ..row(name, packet, &[])
    }
}

fn mirror() -> Result<()> {
    let mut bench = bench()?;
    let tcp = Packet::tcp(B, A, BACK, ACK);
    bench.egress_row(&out("before anything came", &tcp, false))?;
    bench.run(&Packet::tcp(A, C, PORTS, ACK).frame())?;
    for row in [
        out("after a packet by C", &tcp, true),
        out("FIN", &Packet::tcp(B, A, BACK, FIN | ACK), true),
        out("in a VLAN", &tcp.clone().with(|p| p.vlans = vec![5]), true),
        out("another flow", &Packet::tcp(B, A, (80, 40001), ACK), false),
        out(
            "another client",
            &Packet::tcp(B, "2001:db8:1::101", BACK, ACK),
            false,
        ),
        out("another source", &Packet::tcp(OTHER, A, BACK, ACK), false),
        out("mobility", &Packet::mobility(B, A, 5), false),
    ] {
        bench.egress_row(&row)?;
    }
    for (name, inbound, outbound) in [
        (
            "UDP",
            Packet::udp(A, C, PORTS, b"q"),
            Packet::udp(B, A, BACK, b"answer"),
        ),
        (
            "UDP-Lite with a checksum of zero",
            Packet::udp_lite_zero(A, C, PORTS),
            Packet::udp_lite_zero(C, A, BACK).with(|p| p.source = address(B)),
        ),
        (
            "echo",
            Packet::echo(A, C, false, 5),
            Packet::echo(B, A, true, 5),
        ),
        (
            "SCTP",
            Packet::new(A, C, SCTP, SCTP_HEADER.to_vec()),
            Packet::new(B, A, SCTP, SCTP_BACK.to_vec()),
        ),
    ] {
        bench.egress_row(&out(name, &outbound, false))?;
        bench.run(&inbound.frame())?;
        bench.egress_row(&out(name, &outbound, true))?;
    }
    bench.table(&[row(
        "a packet of the flow by B",
        &Packet::tcp(A, B, PORTS, ACK),
        &[("member_flow_returned", 1)],
    )])?;
    bench.egress_row(&out("after a packet by B", &tcp, false))?;
    bench.table(&[
        row("more by B", &Packet::tcp(A, B, PORTS, ACK), &[]),
        Row {
            verdict: Verdict::Drop,
            ..row(
                "a bare reset by C, caused before the flow went back",
                &Packet::tcp(A, C, PORTS, RST),
                &[("member_reset_held", 1)],
            )
        },
        row(
            "a reset by B is believed",
            &Packet::tcp(A, B, PORTS, RST).numbered(2, 0, b""),
            &[],
        ),
        rewritten("data by C, under way", &Packet::tcp(A, C, PORTS, ACK)),
    ])?;
    bench.egress_row(&out("which changes nothing yet", &tcp, false))
}

fn new_client() -> Result<()> {
    let mut bench = bench()?;
    let syn = Packet::tcp(A, B, PORTS, SYN);
    let reported = |name, packet: &Packet| Row {
        events: &[kind::NEW_CLIENT],
        ..row(name, packet, &[("member_new_client", 1)])
    };
    bench.table(&[row("while the member does not ask for clients", &syn, &[])])?;
    serve(&mut bench, true)?;
    bench.table(&[
        reported("the first packet", &syn),
        row("the second", &syn, &[]),
        row(
            "another flow of the client",
            &Packet::udp(A, B, (1, 2), b"q"),
            &[],
        ),
        reported(
            "another client",
            &Packet::echo("2001:db8:1::101", B, false, 1),
        ),
        row(
            "a reset starts nothing",
            &Packet::tcp("2001:db8:1::102", B, PORTS, RST),
            &[],
        ),
        row(
            "another address of the host",
            &Packet::tcp("2001:db8:1::103", OTHER, PORTS, SYN),
            &[],
        ),
    ])?;
    let quiet = |until| MapAction::QuietClient {
        client: address(A),
        anycast: address(B),
        until,
    };
    bench.dataplane.maps().apply(&quiet(Time::ZERO))?;
    bench.table(&[reported("after the quiet time", &syn)])?;
    let for_ever = quiet(Time::from_nanos(u64::MAX));
    bench.dataplane.maps().apply(&for_ever)?;
    bench.table(&[row("within the quiet time", &syn, &[])])
}

fn control() -> Result<()> {
    let mut bench = bench()?;
    let punted = |name, packet: Packet| Row {
        verdict: Verdict::Drop,
        events: &[kind::MOBILITY],
        ..row(name, &packet, &[("mobility_punted", 1)])
    };
    let quote = |protocol| {
        let mut rest = vec![0, 0, 0, 40];
        rest.extend(Packet::new(B, A, protocol, vec![59, 1, 1, 0, 0, 0, 0, 0]).bytes());
        rest
    };
    bench.table(&[
        punted("a Home Test to B", Packet::mobility(A, B, 3)),
        punted("a Care-of Test to C", Packet::mobility(A, C, 4)),
        punted("a Binding Acknowledgement", Packet::mobility(A, B, 6)),
        punted("a Binding Error", Packet::mobility(A, B, 7)),
        punted("a Binding Refresh Request", Packet::mobility(A, B, 0)),
        row(
            "a Home Test Init, which is for a correspondent",
            &Packet::mobility(A, B, 1),
            &[("mobility_other_role", 1)],
        ),
        row(
            "a Home Test to another address",
            &Packet::mobility(A, OTHER, 3),
            &[],
        ),
        Row {
            events: &[kind::ICMP_ERROR],
            ..row(
                "a Parameter Problem about our Mobility Header",
                &Packet::icmpv6(A, B, 4, &quote(MOBILITY)),
                &[("member_mobility_refused", 1)],
            )
        },
        row(
            "a Parameter Problem about TCP",
            &Packet::icmpv6(A, B, 4, &quote(6)),
            &[],
        ),
    ])
}

/// A gateway reboots: what it had pinned now reaches the client from C, and the client resets it.
fn held_reset() -> Result<()> {
    let answer = Packet::tcp(B, A, BACK, ACK);
    let reset = Packet::tcp(A, C, PORTS, RST);
    let held = |name, counts| Row {
        verdict: Verdict::Drop,
        ..row(name, &reset, counts)
    };
    bench()?.table(&[rewritten("a reset of a flow that is not known", &reset)])?;
    bench_with_flow()?.table(&[rewritten(
        "a reset with ACK is an application's",
        &Packet::tcp(A, C, PORTS, RST | ACK).numbered(2, 24, b""),
    )])?;

    let mut bench = bench_with_flow()?;
    let first = Instant::now();
    bench.table(&[held(
        "the first bare reset",
        &[("member_reset_held", 1), ("member_flow_returned", 1)],
    )])?;
    bench.egress_row(&out("answers leave from B", &answer, false))?;
    bench.table(&[
        held("more of them", &[("member_reset_held", 1)]),
        rewritten("data by C still arrives", &Packet::tcp(A, C, PORTS, ACK)),
    ])?;
    bench.egress_row(&out("and answers still leave from B", &answer, false))?;

    // The programs have the kernel's clock alone, so the time is waited for by trying.
    while bench.run(&reset.frame())?.0 == Verdict::Drop {
        ensure!(
            first.elapsed() < wait::patience(LONGEST),
            "resets are held for ever"
        );
    }
    let waited = first.elapsed();
    ensure!(
        waited > Duration::from_secs(2),
        "the client had only {waited:?} to answer by B"
    );
    Ok(())
}

fn bench_with_flow() -> Result<Bench> {
    let mut bench = bench()?;
    bench.table(&[rewritten("a flow by C", &Packet::tcp(A, C, PORTS, ACK))])?;
    bench.egress_row(&out("its answers", &Packet::tcp(B, A, BACK, ACK), true))?;
    Ok(bench)
}
