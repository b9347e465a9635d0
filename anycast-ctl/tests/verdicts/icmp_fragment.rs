//! ICMPv6 errors that quote extension headers. Of fragments, the first has ports, the others have what was noted of it.

use std::{collections::BTreeSet, time::Duration};

use anycast_common::abi::{
    event::kind,
    roles::{CORRESPONDENT, MEMBER},
};
use anycast_ctl::{core::Time, shell::clock};
use anyhow::{Context as _, Result};
use xtask::{
    kernel_tests::Suite,
    net::{netlink, wait},
};

use crate::{
    forward::{self, SOON, gateway},
    harness::Bench,
    icmp_error::{
        A, ADDRESS, B, C, HOP, PORT, PORTS, TIME_EXCEEDED, TOO_BIG, TRANSLATED, UNREACHABLE, coded,
        correspondent, dropped, error, flows, marked, row,
    },
    packets::{ACK, MOBILITY, Packet, address},
};

const NOT_PARSED: &[(&str, u64)] = &[("icmp_error_not_parsed", 1)];
const NO_FLOW: &[(&str, u64)] = &[("icmp_error_no_flow", 1)];
/// Code of Time Exceeded: who received the packet has not got all of it.
const REASSEMBLY: u8 = 1;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("errors: quotes with extension headers", extended)
        .test("errors about fragments: the client's", for_client)
        .test("errors about fragments: the member's", for_member)
        .test("errors about fragments: of what nobody knows", unknown)
        .test(
            "errors about fragments: a care-of address that cannot be reached",
            unreachable,
        )
        .test("errors about fragments: at the member", at_member)
}

/// What needs interfaces, at each hook.
pub fn at_gateway(suite: Suite) -> Suite {
    suite.test(
        "errors about fragments: a running flow is heard again",
        contradicted,
    )
}

/// The same behind extension headers of these types and so many octets.
fn behind(headers: &[(u8, u8)], packet: Packet) -> Packet {
    let header = |&(kind, octets): &(u8, u8)| {
        let mut header = vec![0; usize::from(octets)];
        (header[1], header[2], header[3]) = (octets / 8 - 1, 1, octets - 4);
        (kind, header)
    };
    packet.with(|p| p.extensions = headers.iter().map(header).collect())
}

/// What is walked over in a packet is walked over in a quote.
fn extended() -> Result<()> {
    let mut bench = correspondent()?;
    let headers = [(0, 8), (60, 24), (60, 8)];
    for (seen, sent) in flows(A, C).into_iter().zip(flows(A, B)) {
        bench.table(&[row(
            "Packet Too Big to the client",
            &error(HOP, A, TOO_BIG, &behind(&headers, seen)),
            &error(HOP, A, TOO_BIG, &behind(&headers, sent)),
            TRANSLATED,
        )])?;
    }
    for (seen, sent) in flows(B, A).into_iter().zip(flows(C, A)) {
        bench.table(&[row(
            "Packet Too Big to the member",
            &error(HOP, B, TOO_BIG, &behind(&headers, seen)),
            &error(HOP, C, TOO_BIG, &behind(&headers, sent)),
            TRANSLATED,
        )])?;
    }
    let same = |name, packet: &Packet| row(name, packet, packet, NOT_PARSED);
    bench.table(&[
        same(
            "a quote with a Routing header, which names another destination",
            &error(
                HOP,
                A,
                TOO_BIG,
                &behind(&[(43, 8)], Packet::tcp(A, C, PORTS, ACK)),
            ),
        ),
        same(
            "a quote cut within its extension headers",
            &error(
                HOP,
                A,
                TOO_BIG,
                &behind(&[(0, 8), (60, 24)], Packet::tcp(A, C, PORTS, ACK)),
            )
            .with(|p| p.payload.truncate(8 + 40 + 24)),
        ),
    ])
}

/// The packet in three pieces, the first with the checksum of the whole.
pub(super) fn pieces(packet: &Packet, identification: u8) -> [Packet; 3] {
    let whole = &packet.bytes()[40..];
    let (source, destination) = (packet.source.to_string(), packet.destination.to_string());
    [(0, 24, true), (24, 32, true), (32, whole.len(), false)].map(|(from, to, more)| {
        let octets = whole.get(from..to.min(whole.len())).unwrap_or_default();
        let offset = u16::try_from(from).expect("short");
        Packet::raw(&source, &destination, packet.protocol, octets.to_vec())
            .fragment(offset, more)
            .with(|p| p.extensions[0].1[7] = identification)
    })
}

/// Pieces of a packet of each kind of flow, as they are seen and as they were sent. All have been there.
fn pairs(bench: &mut Bench, seen: [&str; 2], sent: [&str; 2]) -> Result<Vec<[Packet; 2]>> {
    let mut all = Vec::new();
    let flows = flows(seen[0], seen[1])
        .into_iter()
        .zip(flows(sent[0], sent[1]));
    for (number, (seen, sent)) in (1..).zip(flows) {
        let (seen, sent) = (pieces(&seen, number), pieces(&sent, number));
        bench.run(&sent[0].frame())?;
        all.extend(seen.into_iter().zip(sent).map(|(seen, sent)| [seen, sent]));
    }
    Ok(all)
}

/// The client sent A -> B, the network saw A -> C.
fn for_client() -> Result<()> {
    let mut bench = correspondent()?;
    for [seen, sent] in pairs(&mut bench, [A, C], [A, B])? {
        bench.table(&[
            row(
                "a hop says Packet Too Big",
                &error(HOP, A, TOO_BIG, &seen),
                &error(HOP, A, TOO_BIG, &sent),
                TRANSLATED,
            ),
            row(
                "the member misses the rest",
                &coded(REASSEMBLY, error(C, A, TIME_EXCEEDED, &seen)),
                &coded(REASSEMBLY, error(B, A, TIME_EXCEEDED, &sent)),
                TRANSLATED,
            ),
            row(
                "a hop says that the port is unreachable",
                &coded(PORT, error(HOP, A, UNREACHABLE, &seen)),
                &coded(PORT, error(HOP, A, UNREACHABLE, &sent)),
                TRANSLATED,
            ),
        ])?;
    }
    Ok(())
}

/// The member sent C -> A, a hop behind the gateway or the client saw B -> A.
fn for_member() -> Result<()> {
    let mut bench = correspondent()?;
    for [seen, sent] in pairs(&mut bench, [B, A], [C, A])? {
        bench.table(&[
            row(
                "a hop says Packet Too Big",
                &error(HOP, B, TOO_BIG, &seen),
                &error(HOP, C, TOO_BIG, &sent),
                TRANSLATED,
            ),
            row(
                "the client misses the rest",
                &coded(REASSEMBLY, error(A, B, TIME_EXCEEDED, &seen)),
                &coded(REASSEMBLY, error(A, C, TIME_EXCEEDED, &sent)),
                TRANSLATED,
            ),
        ])?;
    }
    Ok(())
}

/// A later fragment says nothing but its addresses, protocol and identification: all must be right.
fn unknown() -> Result<()> {
    let mut bench = correspondent()?;
    let udp = |source, destination| Packet::udp(source, destination, PORTS, &[0x33; 48]);
    let same = |name, packet: &Packet, counts| row(name, packet, packet, counts);
    let too_big = |packet: &Packet| error(HOP, &packet.source.to_string(), TOO_BIG, packet);
    let [first, later, _] = pieces(&udp(A, C), 1);
    let [sent, sent_later, _] = pieces(&udp(A, B), 1);
    bench.table(&[
        same("its first has not been here", &too_big(&later), NO_FLOW),
        row(
            "the first itself has its ports",
            &too_big(&first),
            &too_big(&sent),
            TRANSLATED,
        ),
    ])?;
    bench.run(&sent.frame())?;
    let other = |change: fn(&mut Packet)| too_big(&later.clone().with(change));
    bench.table(&[
        row(
            "now it has",
            &too_big(&later),
            &too_big(&sent_later),
            TRANSLATED,
        ),
        same(
            "another identification",
            &other(|p| p.extensions[0].1[7] = 2),
            NO_FLOW,
        ),
        same("another protocol", &other(|p| p.protocol = 6), NO_FLOW),
        same(
            "another care-of address",
            &other(|p| p.destination = address("2001:db8:20::c2")),
            &[],
        ),
        same(
            "not to the client that it quotes",
            &error(HOP, "2001:db8:1::101", TOO_BIG, &later),
            &[],
        ),
        same(
            "a first that is cut within the UDP header",
            &too_big(&first).with(|p| p.payload.truncate(8 + 40 + 8 + 7)),
            NOT_PARSED,
        ),
        same(
            "one that is cut within the Fragment header",
            &too_big(&later).with(|p| p.payload.truncate(8 + 40 + 7)),
            NOT_PARSED,
        ),
        same(
            "of a mobility message",
            &other(|p| p.protocol = MOBILITY),
            NOT_PARSED,
        ),
    ])?;
    // A member's packet that did not come by C.
    let [_, later, _] = pieces(&udp(B, A), 1);
    bench.table(&[same("from plain anycast", &too_big(&later), &[])])
}

/// It is told of C, as it would be of the first; of which flow, nobody can say.
fn unreachable() -> Result<()> {
    let mut bench = correspondent()?;
    let packet = |destination| pieces(&Packet::udp(A, destination, PORTS, &[0x33; 48]), 1);
    let says = |quoted: &Packet| coded(ADDRESS, error(HOP, A, UNREACHABLE, quoted));
    let [first, later, _] = packet(C);
    let no_flow = row(
        "nothing is known of it",
        &says(&later),
        &says(&later),
        NO_FLOW,
    );
    bench.table(&[no_flow])?;
    bench.run(&packet(B)[0].frame())?;
    let told: &[u8] = &[kind::CARE_OF_UNREACHABLE];
    bench.table(&[dropped("a later one", &says(&later), told)])?;
    anyhow::ensure!(marked(&mut bench) == 0);
    bench.run(&says(&first).frame())?;
    anyhow::ensure!(marked(&mut bench) == 1);
    Ok(())
}

/// An error that does not say of which flow it is has the next packet of every flow noted, for an answer contradicts
/// it.
fn contradicted() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        bench.ingress = netlink::index(&gateway.namespace, "clients0")?;
        let up = netlink::index(&gateway.namespace, "up0")?;
        forward::set(&mut bench, C)?;
        let targets = BTreeSet::from([bench.ingress, up]);
        bench
            .dataplane
            .maps()
            .set_redirect_targets(&targets, &BTreeSet::new())?;
        let packet = |destination| pieces(&Packet::udp(A, destination, (9, 9), &[0x33; 48]), 1);
        bench.run(&packet(B)[0].frame())?;
        let running = Packet::udp(A, B, PORTS, b"query").frame();
        bench.run(&running)?;
        // Only what was answered goes the short way.
        bench.run(&Packet::udp(C, A, (PORTS.1, PORTS.0), b"answer").frame())?;
        bench.run(&running)?;
        bench.run(&running)?;
        let noted = |bench: &mut Bench| {
            let flows = bench.dataplane.maps().flow_reader().flows().into_iter();
            let mut its = flows.filter(|(key, _)| key.client_port == PORTS.0.to_be_bytes());
            its.next().map(|(_, flow)| flow.last_out).context("no flow")
        };
        let before = noted(&mut bench)?;
        let tick = Duration::from_millis(20);
        let later = Time::from_nanos(before) + tick;
        wait::poll(SOON, Duration::ZERO, "the clock of pins to go on", || {
            Ok((clock::now() > later).then_some(()))
        })?;
        let [_, piece, _] = packet(C);
        bench.run(&coded(ADDRESS, error(HOP, A, UNREACHABLE, &piece)).frame())?;
        bench.run(&running)?;
        anyhow::ensure!(noted(&mut bench)? > before, "its packet was not noted");
        Ok(())
    })
}

/// The member's socket sent B -> A, the network saw C -> A.
fn at_member() -> Result<()> {
    let mut bench = Bench::new(MEMBER, true)?;
    let maps = bench.dataplane.maps();
    maps.set_local_care_of(address(C), address(B))?;
    for packet in flows(A, C) {
        bench.run(&packet.frame())?;
    }
    for (seen, sent) in flows(C, A).iter().zip(&flows(B, A)) {
        for (seen, sent) in pieces(seen, 1).iter().zip(&pieces(sent, 1)) {
            bench.table(&[row(
                "a hop says Packet Too Big",
                &error(HOP, C, TOO_BIG, seen),
                &error(HOP, B, TOO_BIG, sent),
                &[("member_icmp_error", 1)],
            )])?;
        }
    }
    let mobility = Packet::raw(C, A, MOBILITY, vec![0; 16]).fragment(24, false);
    let error = error(HOP, C, TOO_BIG, &mobility);
    bench.table(&[row("of a mobility message", &error, &error, NOT_PARSED)])
}
