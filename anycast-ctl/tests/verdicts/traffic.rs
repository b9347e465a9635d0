//! Packets and octets by anycast and care-of address.

use std::{
    collections::BTreeSet,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anycast_common::abi::{maps::ACCOUNTS, roles::CORRESPONDENT};
use anycast_ctl::{core::MapAction, shell::clock};
use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{netlink, wait},
};

use crate::{
    forward::{A, B, BACK, C, PORTS, SOON, gateway, set},
    harness::{Bench, Verdict, bind},
    icmp_error, member,
    packets::{ACK, Packet, SYN, address},
    short_way::{is_heard, unheard},
};

/// Another member, bound to by the second client.
const OTHER: &str = "2001:db8:20::c2";
const SECOND: &str = "2001:db8:1::102";

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("traffic: of each care-of address, by both ways", of_each)
        .test("traffic: of pairs for which there is no room", no_room)
        .test("traffic: no more octets than there are", lies)
        .test(
            "traffic: what a member serves keeps its rows while it is served",
            held,
        )
        .test(
            "traffic: at a member, by care-of address and by plain anycast",
            at_member,
        )
}

/// The programs know them by their numbers, which stand in other maps.
fn held() -> Result<()> {
    let mut bench = member::bench()?;
    let later = Instant::now() + Duration::from_secs(601);
    let first = u128::from(address("2001:db8:30::"));
    let others = (0..ACCOUNTS).map(|number| Ipv6Addr::from(first + u128::from(number)));
    let mut opened = 0;
    for care_of in others {
        let maps = bench.dataplane.maps();
        opened += u32::from(maps.account_at(address(B), care_of, later) != 0);
    }
    // The first is that of all that have none, and two are the member's.
    ensure!(opened == ACCOUNTS - 3, "{opened} accounts for others");
    let query = Packet::udp(A, C, PORTS, b"query");
    bench.run(&query.frame())?;
    let mut sent = (0, 0);
    note(&mut sent, &query);
    let own = counted(&mut bench, B, C)?;
    ensure!(own == [sent, (0, 0)], "{own:?}, sent {sent:?}");
    let maps = bench.dataplane.maps();
    maps.remove_local(Some(address(C)), Some(address(B)))?;
    for care_of in [OTHER, "2001:db8:20::c3"] {
        let account = maps.account_at(address(B), address(care_of), later);
        ensure!(account != 0, "no account when B is not served any more");
    }
    Ok(())
}

/// A header may say more than there is.
fn lies() -> Result<()> {
    let mut bench = member::bench()?;
    let mut frame = Packet::udp(A, C, PORTS, b"query").frame();
    frame[18..20].copy_from_slice(&u16::MAX.to_be_bytes());
    bench.run(&frame)?;
    let seen = counted(&mut bench, B, C)?;
    let there = frame.len() as u64 - 14;
    ensure!(seen == [(1, there), (0, 0)], "{seen:?}, not {there}");
    Ok(())
}

/// Packets and octets.
pub(super) type Sum = (u64, u64);

/// What was counted of a pair: to the member, and to the client.
pub(super) fn counted(bench: &mut Bench, anycast: &str, care_of: &str) -> Result<[Sum; 2]> {
    let (anycast, care_of): (Ipv6Addr, Ipv6Addr) = (address(anycast), address(care_of));
    let (_, rows) = bench.dataplane.maps().counted()?;
    let row = rows
        .iter()
        .find(|row| (row.anycast, row.care_of) == (anycast, care_of));
    Ok(row.map_or_else(Default::default, |row| {
        [row.to_member, row.to_client].map(|it| (it.packets, it.octets))
    }))
}

/// A packet that was sent, in a sum of its own.
pub(super) fn note(sum: &mut Sum, packet: &Packet) {
    sum.0 += 1;
    // All but the Ethernet header.
    sum.1 += packet.frame().len() as u64 - 14;
}

fn of_each() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        bench.ingress = netlink::index(&gateway.namespace, "clients0")?;
        let up = netlink::index(&gateway.namespace, "up0")?;
        set(&mut bench, C)?;
        bind(
            &mut bench,
            (SECOND, B),
            OTHER,
            clock::now() + Duration::from_secs(60),
        )?;
        let targets = BTreeSet::from([bench.ingress, up]);
        bench
            .dataplane
            .maps()
            .set_redirect_targets(&targets, &BTreeSet::new())?;

        let mut sums = [(0, 0); 2];
        let mut goes = |bench: &mut Bench, packet: &Packet, way: usize| {
            let (verdict, _) = bench.run(&packet.frame())?;
            let sent = matches!(verdict, Verdict::Redirect | Verdict::Tx);
            ensure!(sent, "{verdict:?}");
            note(&mut sums[way], packet);
            anyhow::Ok(())
        };
        goes(&mut bench, &Packet::tcp(A, B, PORTS, SYN), 0)?;
        goes(&mut bench, &Packet::tcp(C, A, BACK, SYN | ACK), 1)?;
        let data = Packet::tcp(A, B, PORTS, ACK).numbered(1, 1, b"a question");
        let answer = Packet::tcp(C, A, BACK, ACK).numbered(1, 1, b"an answer that is longer");
        // The short way is there for a quarter of a second, which a busy machine may miss.
        wait::poll(SOON, Duration::ZERO, "packets go the short way", || {
            goes(&mut bench, &data, 0)?;
            goes(&mut bench, &answer, 1)?;
            unheard(&mut bench)?;
            goes(&mut bench, &data, 0)?;
            goes(&mut bench, &answer, 1)?;
            Ok((!is_heard(&mut bench)?).then_some(()))
        })?;
        // Nobody else's.
        bench.run(&Packet::tcp(A, "2001:db8:a::99", PORTS, ACK).frame())?;
        let second = Packet::udp(SECOND, B, PORTS, b"query");
        bench.run(&second.frame())?;

        let first = counted(&mut bench, B, C)?;
        ensure!(first == sums, "{first:?}, sent {sums:?}");
        let mut other = (0, 0);
        note(&mut other, &second);
        let second = counted(&mut bench, B, OTHER)?;
        ensure!(second == [other, (0, 0)], "{second:?}, sent {other:?}");
        // The counters have them all, whichever way they went.
        let counters = bench.counters()?;
        let (to, from) = (sums[0].0 + 1, sums[1].0);
        for (name, expected) in [
            ("correspondent_to_care_of", to),
            ("correspondent_from_care_of", from),
            ("forwarded", to + from),
            ("forwarded_by_kernel", 0),
        ] {
            ensure!(
                counters[name] == expected,
                "{name}: {}, not {expected}",
                counters[name]
            );
        }
        let rest = counted(&mut bench, "::", "::")?;
        ensure!(rest == [(0, 0); 2], "{rest:?}");
        Ok(())
    })
}

fn no_room() -> Result<()> {
    let mut bench = Bench::new(CORRESPONDENT, true)?;
    let expires = clock::now() + Duration::from_secs(60);
    let first = u128::from(address("2001:db8:30::"));
    for number in 1..ACCOUNTS {
        bench.dataplane.maps().apply(&MapAction::SetBinding {
            client: address(A),
            anycast: address(B),
            care_of: Ipv6Addr::from(first + u128::from(number)),
            expires,
        })?;
    }
    bind(&mut bench, (A, B), C, expires)?;
    let query = Packet::udp(A, B, PORTS, b"query");
    bench.run(&query.frame())?;
    let mut sent = (0, 0);
    note(&mut sent, &query);
    let own = counted(&mut bench, B, C)?;
    ensure!(own == [(0, 0); 2], "{own:?}");
    let rest = counted(&mut bench, "::", "::")?;
    ensure!(rest == [sent, (0, 0)], "{rest:?}, sent {sent:?}");

    // One that nobody has spoken of for long makes room, and what was counted of it is not lost.
    let idle = Instant::now() + (Duration::from_secs(601));
    ensure!(
        bench
            .dataplane
            .maps()
            .account_at(address(B), address(C), idle)
            != 0
    );
    bench.run(&query.frame())?;
    let own = counted(&mut bench, B, C)?;
    ensure!(own == [sent, (0, 0)], "{own:?}, sent {sent:?}");
    let another = address(OTHER);
    ensure!(bench.dataplane.maps().account_at(address(B), another, idle) != 0);
    let rest = counted(&mut bench, "::", "::")?;
    ensure!(rest == [sent, (0, 0)], "{rest:?}, sent {sent:?}");
    // All others make room before it does.
    let later = idle + Duration::from_secs(601);
    for number in 0..ACCOUNTS - 1 {
        let care_of = Ipv6Addr::from(first + (1 << 64) + u128::from(number));
        let account = bench
            .dataplane
            .maps()
            .account_at(address(B), care_of, later);
        ensure!(account != 0, "no account for {care_of}");
    }
    let own = counted(&mut bench, B, C)?;
    ensure!(own == [(0, 0); 2], "{own:?}");
    let rest = counted(&mut bench, "::", "::")?;
    let both = (2 * sent.0, 2 * sent.1);
    ensure!(rest == [both, (0, 0)], "{rest:?}, sent {both:?}");
    Ok(())
}

fn at_member() -> Result<()> {
    let mut bench = member::bench()?;
    let mut by_anycast = [(0, 0); 2];
    let mut by_care_of = [(0, 0); 2];
    for (sums, to, from_care_of) in [(&mut by_anycast, B, false), (&mut by_care_of, C, true)] {
        let query = Packet::udp(A, to, PORTS, b"query");
        bench.run(&query.frame())?;
        note(&mut sums[0], &query);
        let answer = Packet::udp(B, A, BACK, b"a longer answer");
        for _ in 0..2 {
            let (_, frame) = bench.egress(&answer.frame())?;
            let source: [u8; 16] = frame[22..38].try_into()?;
            let expected = if from_care_of { C } else { B };
            ensure!(
                Ipv6Addr::from(source) == address(expected),
                "from {source:x?}"
            );
            note(&mut sums[1], &answer);
        }
    }
    // Messages and errors count in both directions, as all that goes to and from the anycast address.
    let query = Packet::udp(A, B, PORTS, b"query");
    let answer = Packet::udp(B, A, BACK, b"answer");
    for (comes, leaves) in [
        (Packet::mobility(A, B, 3), Packet::mobility(B, A, 1)),
        (
            icmp_error::error(A, B, icmp_error::UNREACHABLE, &answer),
            icmp_error::error(B, A, icmp_error::UNREACHABLE, &query),
        ),
    ] {
        bench.run(&comes.frame())?;
        note(&mut by_anycast[0], &comes);
        bench.egress(&leaves.frame())?;
        note(&mut by_anycast[1], &leaves);
    }
    // What another program of the host sends is nobody's.
    bench.egress(&Packet::udp("2001:db8:20::9", A, BACK, b"mail").frame())?;
    let seen = counted(&mut bench, B, "::")?;
    ensure!(seen == by_anycast, "{seen:?}, sent {by_anycast:?}");
    let seen = counted(&mut bench, B, C)?;
    ensure!(seen == by_care_of, "{seen:?}, sent {by_care_of:?}");
    Ok(())
}
