//! ICMPv6 errors that quote rewritten packets (RFC 4443): put back to what their sender sent.

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER};
use anycast_ctl::core::Time;
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    harness::{Bench, Row, Verdict, bind},
    packets::{ACK, Packet, SCTP, SYN, UDP, address},
};

pub(super) const A: &str = "2001:db8:1::100";
pub(super) const B: &str = "2001:db8:a::53";
pub(super) const C: &str = "2001:db8:20::c1";
pub(super) const HOP: &str = "2001:db8:99::1";
pub(super) const PORTS: (u16, u16) = (40000, 80);
const BACK: (u16, u16) = (80, 40000);
pub(super) const UNREACHABLE: u8 = 1;
/// Codes of it.
pub(super) const PROHIBITED: u8 = 1;
pub(super) const ADDRESS: u8 = 3;
pub(super) const PORT: u8 = 4;
pub(super) const TOO_BIG: u8 = 2;
pub(super) const TIME_EXCEEDED: u8 = 3;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "errors: about the client's packets, at its correspondent",
            for_client,
        )
        .test(
            "errors: about the member's packets, at the correspondent",
            for_member,
        )
        .test(
            "errors: forged ones about a care-of address do nothing",
            forged,
        )
        .test(
            "errors: quotes of UDP without a checksum, and with that of zero",
            zero,
        )
        .test("errors: at the member", at_member)
        .test("errors: what is not translated", untouched)
}

pub(super) fn correspondent() -> Result<Bench> {
    let mut bench = Bench::new(CORRESPONDENT, true)?;
    bind(&mut bench, (A, B), C, Time::from_nanos(u64::MAX / 2))?;
    // A segment in mid-stream binds no flow.
    bench.run(&Packet::tcp(A, B, PORTS, SYN).frame())?;
    for packet in flows(A, B) {
        bench.run(&packet.frame())?;
    }
    Ok(bench)
}

/// A packet of each kind of flow.
pub(super) fn flows(source: &str, destination: &str) -> Vec<Packet> {
    let ports = if source == A { PORTS } else { BACK };
    let (p, q) = (ports.0.to_be_bytes(), ports.1.to_be_bytes());
    let sctp = vec![p[0], p[1], q[0], q[1], 1, 2, 3, 4, 5, 6, 7, 8];
    vec![
        Packet::tcp(source, destination, ports, ACK),
        Packet::udp(source, destination, ports, &[0x5a; 1400]),
        Packet::echo(source, destination, source != A, 7),
        Packet::new(source, destination, SCTP, sctp),
    ]
}

/// The same with this code.
pub(super) fn coded(code: u8, mut error: Packet) -> Packet {
    error.payload[1] = code;
    error
}

/// An error that quotes `packet`, cut as the minimum MTU wants it.
pub(super) fn error(source: &str, destination: &str, message_type: u8, packet: &Packet) -> Packet {
    let mut rest = vec![0, 0, 5, 0];
    rest.extend(packet.bytes());
    rest.truncate(1280 - 40 - 4);
    Packet::icmpv6(source, destination, message_type, &rest)
}

pub(super) fn row(
    name: &'static str,
    before: &Packet,
    after: &Packet,
    counts: &'static [(&'static str, u64)],
) -> Row {
    Row {
        name,
        frame: before.frame(),
        verdict: Verdict::Pass,
        becomes: Some(after.frame()),
        counts,
        events: &[],
    }
}

pub(super) const TRANSLATED: &[(&str, u64)] =
    &[("correspondent_icmp_error", 1), ("forwarded_by_kernel", 1)];

/// The client sent A -> B, the hop saw A -> C.
fn for_client() -> Result<()> {
    let mut bench = correspondent()?;
    for (seen, sent) in flows(A, C).iter().zip(&flows(A, B)) {
        bench.table(&[
            row(
                "a hop says Packet Too Big",
                &error(HOP, A, TOO_BIG, seen),
                &error(HOP, A, TOO_BIG, sent),
                TRANSLATED,
            ),
            row(
                "a hop says Time Exceeded",
                &error(HOP, A, TIME_EXCEEDED, seen),
                &error(HOP, A, TIME_EXCEEDED, sent),
                TRANSLATED,
            ),
            row(
                "the member says that it is prohibited",
                &coded(PROHIBITED, error(C, A, UNREACHABLE, seen)),
                &coded(PROHIBITED, error(B, A, UNREACHABLE, sent)),
                TRANSLATED,
            ),
        ])?;
    }
    Ok(())
}

/// The member sent C -> A, a hop behind the gateway or the client saw B -> A.
fn for_member() -> Result<()> {
    let mut bench = correspondent()?;
    for (seen, sent) in flows(B, A).iter().zip(&flows(C, A)) {
        bench.table(&[
            row(
                "a hop says Packet Too Big",
                &error(HOP, B, TOO_BIG, seen),
                &error(HOP, C, TOO_BIG, sent),
                TRANSLATED,
            ),
            row(
                "the client says that the port is unreachable",
                &coded(PORT, error(A, B, UNREACHABLE, seen)),
                &coded(PORT, error(A, C, UNREACHABLE, sent)),
                TRANSLATED,
            ),
            row(
                "a hop says that the client is unreachable",
                &coded(ADDRESS, error(HOP, B, UNREACHABLE, seen)),
                &coded(ADDRESS, error(HOP, C, UNREACHABLE, sent)),
                TRANSLATED,
            ),
        ])?;
    }
    Ok(())
}

/// A checksum that comes out as zero is sent as all ones (RFC 8200 section 8.1), and one of zero was never computed.
fn zero() -> Result<()> {
    let mut bench = correspondent()?;
    let query = |destination, data: u16| Packet::udp(A, destination, PORTS, &data.to_be_bytes());
    let sums_to_ones = |data: &u16| query(B, *data).bytes()[46..48] == [0xff; 2];
    let ones = (0..=u16::MAX).find(sums_to_ones).context("no such sum")?;
    bench.table(&[row(
        "what the client sent had a sum of zero",
        &error(HOP, A, TOO_BIG, &query(C, ones)),
        &error(HOP, A, TOO_BIG, &query(B, ones)),
        TRANSLATED,
    )])?;
    let unsummed = |destination| {
        let sent = query(B, 7).with(|p| p.payload[6..8].fill(0));
        Packet::raw(A, destination, UDP, sent.payload)
    };
    bench.table(&[row(
        "it had none",
        &error(HOP, A, TOO_BIG, &unsummed(C)),
        &error(HOP, A, TOO_BIG, &unsummed(B)),
        TRANSLATED,
    )])
}

/// An error that says that C cannot be reached.
pub(super) fn dropped(name: &'static str, packet: &Packet, events: &'static [u8]) -> Row {
    Row {
        name,
        frame: packet.frame(),
        verdict: Verdict::Drop,
        becomes: None,
        counts: &[("care_of_unreachable", 1)],
        events,
    }
}

/// Flows about which an error said so.
pub(super) fn marked(bench: &mut Bench) -> usize {
    let flows = bench.dataplane.maps().flow_reader().flows().into_iter();
    flows.filter(|(_, flow)| flow.unreachable_at != 0).count()
}

/// Each differs from a true one in one thing that an attacker off the path has to guess.
fn forged() -> Result<()> {
    let mut bench = correspondent()?;
    let says = |to, quoted: &Packet| coded(ADDRESS, error(HOP, to, UNREACHABLE, quoted));
    let ignored = |name, packet: &Packet, counts| row(name, packet, packet, counts);
    let no_flow: &[(&str, u64)] = &[("icmp_error_no_flow", 1)];
    let other_client = "2001:db8:1::101";
    bench.table(&[
        ignored(
            "another port of the client",
            &says(A, &Packet::tcp(A, C, (40001, 80), ACK)),
            no_flow,
        ),
        ignored(
            "another port of the service",
            &says(A, &Packet::tcp(A, C, (40000, 81), ACK)),
            no_flow,
        ),
        ignored(
            "another protocol",
            &says(A, &Packet::udp(A, C, (40001, 80), b"")),
            no_flow,
        ),
        ignored(
            "a client that has no binding",
            &says(other_client, &Packet::tcp(other_client, C, PORTS, ACK)),
            &[],
        ),
        ignored(
            "not to the client that it quotes",
            &says(other_client, &Packet::tcp(A, C, PORTS, ACK)),
            &[],
        ),
        ignored(
            "another care-of address",
            &says(A, &Packet::tcp(A, "2001:db8:20::c2", PORTS, ACK)),
            &[],
        ),
    ])?;
    // A pair that stands, and a flow that has been pinned to another address meanwhile.
    bind(
        &mut bench,
        (A, B),
        "2001:db8:20::c2",
        Time::from_nanos(u64::MAX / 2),
    )?;
    bench.table(&[ignored(
        "the address that the flow is not pinned to",
        &says(A, &Packet::tcp(A, "2001:db8:20::c2", PORTS, ACK)),
        no_flow,
    )])?;
    let mut flows = bench.dataplane.maps().flow_reader().flows().into_iter();
    ensure!(flows.all(|(_, flow)| flow.unreachable_at == 0));
    Ok(())
}

/// The member's socket sent B -> A, the network saw C -> A.
fn at_member() -> Result<()> {
    let mut bench = Bench::new(MEMBER, true)?;
    bench
        .dataplane
        .maps()
        .set_local_care_of(address(C), address(B))?;
    for packet in flows(A, C) {
        bench.run(&packet.frame())?;
    }
    for (seen, sent) in flows(C, A).iter().zip(&flows(B, A)) {
        bench.table(&[row(
            "a hop says Packet Too Big",
            &error(HOP, C, TOO_BIG, seen),
            &error(HOP, B, TOO_BIG, sent),
            &[("member_icmp_error", 1)],
        )])?;
    }
    Ok(())
}

fn untouched() -> Result<()> {
    let mut bench = correspondent()?;
    let same = |name, packet: &Packet, counts| row(name, packet, packet, counts);
    let other = Packet::tcp(A, C, (40001, 80), ACK);
    let short = error(HOP, A, TOO_BIG, &Packet::tcp(A, C, PORTS, ACK));
    bench.table(&[
        same(
            "about a flow that is not pinned",
            &error(HOP, A, TOO_BIG, &other),
            &[("icmp_error_no_flow", 1)],
        ),
        same(
            "forged: about a packet that its receiver did not send",
            &error(
                HOP,
                A,
                TOO_BIG,
                &Packet::tcp("2001:db8:1::101", C, PORTS, ACK),
            ),
            &[],
        ),
        same(
            "about another client's packet",
            &error(
                HOP,
                "2001:db8:1::101",
                TOO_BIG,
                &Packet::tcp("2001:db8:1::101", C, PORTS, ACK),
            ),
            &[],
        ),
        same(
            "about plain anycast",
            &error(
                HOP,
                A,
                TOO_BIG,
                &Packet::tcp(A, "2001:db8:a::54", PORTS, ACK),
            ),
            &[],
        ),
        same(
            "a quote cut within the TCP header",
            &short.clone().with(|p| p.payload.truncate(8 + 40 + 16)),
            &[("icmp_error_not_parsed", 1)],
        ),
        same(
            "a quote cut within the IPv6 header",
            &short.with(|p| p.payload.truncate(8 + 30)),
            &[],
        ),
    ])?;
    let mut member = Bench::new(MEMBER, true)?;
    member
        .dataplane
        .maps()
        .set_local_care_of(address(C), address(B))?;
    member.table(&[
        same(
            "to C, about a packet of another host",
            &error(HOP, C, TOO_BIG, &Packet::tcp(B, A, BACK, ACK)),
            &[],
        ),
        same(
            "to another address of the member",
            &error(
                HOP,
                "2001:db8:20::11",
                TOO_BIG,
                &Packet::tcp("2001:db8:20::11", A, BACK, ACK),
            ),
            &[],
        ),
    ])
}
