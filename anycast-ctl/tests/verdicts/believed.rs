//! Which ICMPv6 errors about a care-of address are believed, and which nobody but us may see.

use std::time::Duration;

use anycast_common::abi::event::{UNREACHABLE_EVERY, kind};
use anycast_ctl::{core::Time, shell::clock};
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    harness::{Bench, Row, Verdict, bind},
    icmp_error::{
        A, ADDRESS, B, C, HOP, PORTS, TIME_EXCEEDED, UNREACHABLE, coded, correspondent, dropped,
        error, marked, row,
    },
    packets::{ACK, Packet, SYN},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "errors: which are believed about a care-of address",
            believed,
        )
        .test("errors: few of them about each care-of address", limited)
        .test(
            "errors: about mobility messages in a client's name",
            about_mobility,
        )
}

const TOLD: &[u8] = &[kind::CARE_OF_UNREACHABLE];

fn bench() -> Result<Bench> {
    let mut bench = correspondent()?;
    let maps = bench.dataplane.maps();
    maps.set_client_prefixes(&["2001:db8:1::/64".parse()?])?;
    Ok(bench)
}

/// Of such a length: that of the data which is quoted.
fn says(from: &str, length: usize) -> Packet {
    let quoted = Packet::tcp(A, C, PORTS, ACK).numbered(1, 1, &vec![0x5a; length]);
    coded(ADDRESS, error(from, A, UNREACHABLE, &quoted))
}

fn refused(name: &'static str, packet: &Packet, counts: &'static [(&'static str, u64)]) -> Row {
    Row {
        counts,
        ..dropped(name, packet, &[])
    }
}

fn believed() -> Result<()> {
    let mut bench = bench()?;
    let bad = &[("care_of_unreachable_bad_checksum", 1)];
    let from_clients = &[("care_of_unreachable_from_clients", 1)];
    // Each octet of a word of the checksum, and each part that is summed by itself.
    for length in [0, 1, 2, 3, 500, 900, 1119] {
        for place in [2, 3, 8 + 40 + 20 + length - 1] {
            let good = says(HOP, length);
            let mut forged = Packet::raw(HOP, A, 58, good.bytes()[40..].to_vec());
            forged.payload[place] ^= 0x10;
            bench.table(&[refused("a wrong checksum", &forged, bad)])?;
        }
    }
    let elsewhere = says("2001:db8:99::2", 23);
    let mut other = Packet::raw(HOP, A, 58, elsewhere.bytes()[40..].to_vec());
    bench.table(&[refused("the sum of another sender", &other, bad)])?;
    other
        .payload
        .clone_from(&says(HOP, 23).bytes()[40..].to_vec());
    bench.table(&[
        refused(
            "from another client's address",
            &says("2001:db8:1::7", 23),
            from_clients,
        ),
        refused("from the client itself", &says(A, 23), from_clients),
    ])?;
    ensure!(marked(&mut bench) == 0);
    let since = clock::now();
    bench.table(&[dropped("a router's", &other, TOLD)])?;
    ensure!(marked(&mut bench) == 1);
    let mut told = 0;
    for length in [0, 1, 2, 3, 500, 900, 1168] {
        let (verdict, _) = bench.run(&says(HOP, length).frame())?;
        ensure!(verdict == Verdict::Drop, "{verdict:?} of length {length}");
        told += bench.events()?.len();
    }
    let counted = bench.counters()?["care_of_unreachable"];
    ensure!(counted == 8, "{counted} were believed");
    // On a slow machine the controller may be told again.
    let most = clock::now().since(since).as_nanos() / u128::from(UNREACHABLE_EVERY);
    ensure!(told as u128 <= most, "told {told} times, at most {most}");
    Ok(())
}

/// A full bucket, and one more in a tenth of a second.
fn limited() -> Result<()> {
    const AT_ONCE: u64 = 21;
    const EVERY: Duration = Duration::from_millis(100);
    let mut bench = bench()?;
    let started = clock::now();
    for _ in 0..10 * AT_ONCE {
        let (verdict, _) = bench.run(&says(HOP, 23).frame())?;
        ensure!(verdict == Verdict::Drop, "{verdict:?}");
    }
    let more = clock::now().since(started).as_nanos() / EVERY.as_nanos() + 1;
    let counters = bench.counters()?;
    let believed = counters["care_of_unreachable"];
    let most = AT_ONCE + u64::try_from(more)?;
    ensure!((AT_ONCE..=most).contains(&believed), "{believed} of {most}");
    ensure!(believed + counters["care_of_unreachable_rate_limited"] == 10 * AT_ONCE);

    let (anycast, care_of) = ("2001:db8:a::54", "2001:db8:20::c2");
    bind(
        &mut bench,
        (A, anycast),
        care_of,
        Time::from_nanos(u64::MAX / 2),
    )?;
    bench.run(&Packet::tcp(A, anycast, PORTS, SYN).frame())?;
    bench.events()?;
    let quoted = Packet::tcp(A, care_of, PORTS, ACK);
    let other = coded(ADDRESS, error(HOP, A, UNREACHABLE, &quoted));
    bench.table(&[dropped("another care-of address", &other, TOLD)])
}

/// The client would take them for errors about what it sent itself.
fn about_mobility() -> Result<()> {
    let mut bench = bench()?;
    let quotes =
        |to, from, mh_type| error(HOP, to, TIME_EXCEEDED, &Packet::mobility(from, B, mh_type));
    let counts: &[(&str, u64)] = &[("icmp_error_quotes_mobility", 1)];
    // No flow of a client.
    let unread = &[("icmp_error_not_parsed", 1)][..];
    let kept = |name, packet: &Packet| Row {
        verdict: Verdict::Drop,
        counts,
        ..row(name, packet, packet, &[])
    };
    let given = |name, packet: &Packet, counts| row(name, packet, packet, counts);
    for mh_type in [3, 4, 6, 7] {
        bench.table(&[kept("what a correspondent sends", &quotes(A, A, mh_type))])?;
    }
    let unreachable = coded(
        ADDRESS,
        error(HOP, A, UNREACHABLE, &Packet::mobility(A, B, 3)),
    );
    let stranger = "2001:db8:2::1";
    bench.table(&[
        kept("that B cannot be reached", &unreachable),
        given(
            "a type that no correspondent sends",
            &quotes(A, A, 5),
            unread,
        ),
        given("to somebody else", &quotes(stranger, stranger, 3), unread),
        given("of another sender", &quotes(A, "2001:db8:1::101", 3), &[]),
        given(
            "cut before its type",
            &quotes(A, A, 3).with(|p| p.payload.truncate(8 + 40 + 2)),
            unread,
        ),
    ])
}
