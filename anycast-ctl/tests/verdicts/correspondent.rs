//! The correspondent's half of the data plane: A -> B with a binding, C -> A with a pin.

use anycast_common::abi::{event::kind, maps::FlowKey, roles::CORRESPONDENT};
use anycast_ctl::core::{MapAction, Time};
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    harness::{self, Bench, Hook, Row, Verdict},
    packets::{ACK, FIN, Packet, RST, SCTP, SYN, TCP, address},
};

pub(super) const A: &str = "2001:db8:1::100";
pub(super) const B: &str = "2001:db8:a::53";
pub(super) const C: &str = "2001:db8:20::c1";
pub(super) const C2: &str = "2001:db8:20::c2";
pub(super) const PORTS: (u16, u16) = (40000, 80);
pub(super) const BACK: (u16, u16) = (80, 40000);
/// Long after the test, and long past.
pub(super) const LATER: Time = Time::from_nanos(u64::MAX / 2);
pub(super) const EARLIER: Time = Time::from_nanos(1);

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "correspondent: a live binding steers and pins new flows",
            binding,
        )
        .test(
            "correspondent: an expired binding steers nothing new, pins stay",
            expiry,
        )
        .test(
            "correspondent: packets of C come from B, for pinned flows only",
            from_member,
        )
        .test("correspondent: what is never rewritten", untouched)
        .test("correspondent: mobility messages for its clients", mobility)
}

pub(super) fn bench() -> Result<Bench> {
    prepared(Bench::new(CORRESPONDENT, true)?)
}

/// With the prefixes of the tests.
pub(super) fn prepared(mut bench: Bench) -> Result<Bench> {
    let maps = bench.dataplane.maps();
    maps.set_client_prefixes(&["2001:db8:1::/64".parse()?])?;
    maps.set_anycast_prefixes(&["2001:db8:a::/48".parse()?])?;
    Ok(bench)
}

pub(super) fn bind(bench: &mut Bench, care_of: &str, expires: Time) -> Result<()> {
    harness::bind(bench, (A, B), care_of, expires)
}

pub(super) fn row(
    name: &'static str,
    packet: &Packet,
    counts: &'static [(&'static str, u64)],
) -> Row {
    Row {
        name,
        frame: packet.frame(),
        verdict: Verdict::Pass,
        becomes: None,
        counts,
        events: &[],
    }
}

// There is no route here, so that what was rewritten is left to the kernel to forward.

pub(super) const PINS: &[(&str, u64)] = &[
    ("flow_pinned", 1),
    ("correspondent_to_care_of", 1),
    ("forwarded_by_kernel", 1),
];
pub(super) const FOLLOWS: &[(&str, u64)] =
    &[("correspondent_to_care_of", 1), ("forwarded_by_kernel", 1)];
const RETURNS: &[(&str, u64)] = &[
    ("correspondent_from_care_of", 1),
    ("forwarded_by_kernel", 1),
];

/// A packet to B that must go to `care_of`.
pub(super) fn to(
    care_of: &str,
    name: &'static str,
    packet: &Packet,
    counts: &'static [(&'static str, u64)],
) -> Row {
    let after = packet.clone().with(|p| p.destination = address(care_of));
    Row {
        becomes: Some(after.frame()),
        ..row(name, packet, counts)
    }
}

/// A packet of C that must come from B.
pub(super) fn from(name: &'static str, packet: &Packet) -> Row {
    from_at(C, name, packet)
}

/// A packet of that care-of address, likewise.
pub(super) fn from_at(care_of: &str, name: &'static str, packet: &Packet) -> Row {
    assert_eq!(packet.source, address(care_of));
    let after = packet.clone().with(|p| p.source = address(B));
    Row {
        becomes: Some(after.frame()),
        ..row(name, packet, RETURNS)
    }
}

fn binding() -> Result<()> {
    let mut bench = bench()?;
    let tcp = |flags| Packet::tcp(A, B, PORTS, flags);
    let sctp = vec![0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8];
    bench.table(&[
        row("no binding", &tcp(ACK), &[]),
        row("nothing follows a reset", &tcp(SYN | RST), &[]),
    ])?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        row("a segment in mid-stream is of an open flow", &tcp(ACK), &[]),
        row("nor does it bind", &tcp(SYN | RST), &[]),
        to(C, "the segment that opens a flow binds it", &tcp(SYN), PINS),
        to(C, "the next ones follow", &tcp(ACK), FOLLOWS),
        to(C, "FIN follows", &tcp(FIN | ACK), FOLLOWS),
        to(C, "a reset of a pinned flow follows", &tcp(RST), FOLLOWS),
        to(
            C,
            "a new connection",
            &Packet::tcp(A, B, (40001, 80), SYN),
            PINS,
        ),
        to(C, "UDP", &Packet::udp(A, B, PORTS, b"query"), PINS),
        to(
            C,
            "UDP of the same flow",
            &Packet::udp(A, B, PORTS, b"again"),
            FOLLOWS,
        ),
        to(C, "echo", &Packet::echo(A, B, false, 3), PINS),
        to(C, "SCTP", &Packet::new(A, B, SCTP, sctp), PINS),
        row(
            "a reset of no pinned flow",
            &Packet::tcp(A, B, (40002, 80), RST),
            &[],
        ),
        row(
            "another client",
            &Packet::tcp("2001:db8:1::101", B, PORTS, ACK),
            &[],
        ),
        row(
            "another address",
            &Packet::tcp(A, "2001:db8:a::54", PORTS, ACK),
            &[],
        ),
    ])?;
    let flows: Vec<(FlowKey, _)> = bench.dataplane.maps().flow_reader().flows();
    ensure!(flows.len() == 5, "{} flows", flows.len());
    let (_, pinned) = flows
        .iter()
        .find(|(key, _)| key.protocol == TCP && key.client_port == 40000_u16.to_be_bytes())
        .context("no pin for the TCP flow")?;
    ensure!(pinned.care_of == address(C).octets());
    // The reset ends both directions.
    ensure!((pinned.client_closed, pinned.member_closed) == (3, 3));
    Ok(())
}

fn expiry() -> Result<()> {
    let mut bench = bench()?;
    let pinned = Packet::tcp(A, B, PORTS, ACK);
    let new = Packet::tcp(A, B, (40001, 80), SYN);
    bind(&mut bench, C, LATER)?;
    let opens = Packet::tcp(A, B, PORTS, SYN);
    bench.table(&[to(C, "pinned while it lives", &opens, PINS)])?;
    bind(&mut bench, C, EARLIER)?;
    bench.table(&[
        to(C, "the pin outlives the binding", &pinned, FOLLOWS),
        row("a new flow goes by anycast", &new, &[("flow_open", 1)]),
    ])?;
    let remove = MapAction::RemoveBinding {
        client: address(A),
        anycast: address(B),
    };
    bench.dataplane.maps().apply(&remove)?;
    // Actions are idempotent.
    bench.dataplane.maps().apply(&remove)?;
    bench.table(&[
        to(C, "and its removal", &pinned, FOLLOWS),
        row("a new flow goes by anycast", &new, &[]),
    ])?;
    bind(&mut bench, C2, LATER)?;
    bench.table(&[
        to(C, "a pin stays with its member", &pinned, FOLLOWS),
        row(
            "an open flow stays open when its SYN comes again",
            &new,
            &[],
        ),
        to(
            C2,
            "a new flow goes to the new one",
            &Packet::tcp(A, B, (40002, 80), SYN),
            PINS,
        ),
    ])
}

fn from_member() -> Result<()> {
    let mut bench = bench()?;
    let answer = Packet::tcp(C, A, BACK, ACK);
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        to(
            C,
            "the client's packet",
            &Packet::tcp(A, B, PORTS, SYN),
            PINS,
        ),
        from("the answer", &answer),
        from("FIN", &Packet::tcp(C, A, BACK, FIN | ACK)),
        row(
            "to another client",
            &Packet::tcp(C, "2001:db8:1::101", BACK, ACK),
            &[],
        ),
        row("another member", &Packet::tcp(C2, A, BACK, ACK), &[]),
        row(
            "an answer from B itself",
            &Packet::tcp(B, A, BACK, ACK),
            &[],
        ),
        to(C, "the client's echo", &Packet::echo(A, B, false, 9), PINS),
        from("the echo's answer", &Packet::echo(C, A, true, 9)),
        row("an echo request of C", &Packet::echo(C, A, false, 9), &[]),
        to(C, "the client's UDP", &Packet::udp(A, B, PORTS, b"q"), PINS),
        from("the UDP answer", &Packet::udp(C, A, BACK, b"a")),
    ])?;
    bind(&mut bench, C2, LATER)?;
    bench.table(&[row(
        "a member that the flow is not pinned to",
        &Packet::tcp(C2, A, BACK, ACK),
        &[],
    )])
}

const LEADS: &[(&str, u64)] = &[
    ("flow_led", 1),
    ("correspondent_from_care_of", 1),
    ("forwarded_by_kernel", 1),
];

/// A packet of C that must come from B, and binds its flow.
pub(super) fn leads(name: &'static str, packet: &Packet) -> Row {
    Row {
        counts: LEADS,
        ..from(name, packet)
    }
}

fn untouched() -> Result<()> {
    let mut bench = bench()?;
    let tcp = || Packet::tcp(A, B, PORTS, ACK);
    let chain = &[("extension_chain_not_parsed", 1)];
    bind(&mut bench, C, LATER)?;
    // Which at TCX is a matter of who forwards.
    if bench.hook == Hook::Xdp {
        bench.table(&[row(
            "hop limit 1: the kernel answers, and quotes what the client sent",
            &Packet::tcp(A, B, PORTS, SYN).with(|p| p.hop_limit = 1),
            &[("flow_pinned", 1)],
        )])?;
    }
    bench.table(&[
        row(
            "a Neighbor Solicitation",
            &Packet::icmpv6(A, B, 135, &[0; 20]),
            &[],
        ),
        row("an ICMPv6 error", &Packet::icmpv6(A, B, 1, &[0; 60]), &[]),
        row(
            "a multicast source",
            &Packet::tcp("ff0e::1", B, PORTS, ACK),
            &[],
        ),
        row(
            "the unspecified source",
            &Packet::tcp("::", B, PORTS, ACK),
            &[],
        ),
        row(
            "the loopback address as source",
            &Packet::tcp("::1", B, PORTS, ACK),
            &[],
        ),
        row(
            "a link-local source",
            &Packet::tcp("fe80::1", B, PORTS, ACK),
            &[],
        ),
        row("multicast", &Packet::udp(A, "ff0e::1", PORTS, b"x"), &[]),
        row(
            "AH, which covers the addresses",
            &tcp().with(|p| p.extensions = vec![(51, vec![0, 4, 0, 0, 0, 0, 0, 0])]),
            chain,
        ),
        row("no next header", &Packet::new(A, B, 59, Vec::new()), chain),
        row(
            "TCP cut short",
            &tcp().with(|p| p.payload.truncate(19)),
            &[],
        ),
        row(
            "an anycast Report, which is for a router",
            &Packet::report("fe80::11", B),
            &[],
        ),
    ])
}

/// What is counted of a mobility message that goes to the controller: a Home or Care-of Test Init does so where the
/// programs have no node key.
pub(super) fn for_controller(mh_type: u8) -> &'static [(&'static str, u64)] {
    match mh_type {
        1 | 2 => &[("mobility_punted", 1), ("test_init_no_key", 1)],
        _ => &[("mobility_punted", 1)],
    }
}

fn mobility() -> Result<()> {
    let mut bench = bench()?;
    let punted = |name, packet: Packet| Row {
        verdict: Verdict::Drop,
        events: &[kind::MOBILITY],
        ..row(name, &packet, for_controller(packet.payload[2]))
    };
    let padded = |blocks: u8| {
        Packet::mobility(B, A, 5).with(|p| {
            p.payload.resize(8 * (usize::from(blocks) + 1), 0);
            p.payload[1] = blocks;
        })
    };
    bench.table(&[
        punted("a Home Test Init", Packet::mobility(B, A, 1)),
        punted("a Care-of Test Init", Packet::mobility(C, A, 2)),
        punted("a Binding Update", Packet::mobility(B, A, 5)),
        punted("a type that nobody knows", Packet::mobility(B, A, 99)),
        punted("a Binding Update with much padding", padded(60)),
        punted("a Binding Update of 1280 octets", padded(154)),
        Row {
            verdict: Verdict::Drop,
            ..row("a longer one", &padded(155), &[("punt_too_long", 1)])
        },
        row(
            "a Home Test, which is for a mobile node",
            &Packet::mobility(B, A, 3),
            &[("mobility_other_role", 1)],
        ),
        row(
            "a Home Test Init for somebody else's client",
            &Packet::mobility(B, "2001:db8:2::100", 1),
            &[("mobility_not_ours", 1)],
        ),
    ])
}
