//! Fragments follow the first of their packet, whatever order they come in.

use std::time::Duration;

use anycast_common::abi::{
    maps::{Fragment, FragmentKey},
    roles::{CORRESPONDENT, MEMBER},
};
use anycast_ctl::{
    core::{MapAction, Time},
    shell::clock,
};
use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, Map, MapData, MapInfo};
use xtask::kernel_tests::Suite;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{
    harness::{self, Bench, Row, Verdict},
    icmp_error::{HOP, TOO_BIG, TRANSLATED, error},
    packets::{ICMPV6, MOBILITY, Packet, RST, SYN, TCP, UDP, address},
};

const A: &str = "2001:db8:1::100";
const B: &str = "2001:db8:a::53";
const C: &str = "2001:db8:20::c1";
const C2: &str = "2001:db8:20::c2";
const PORTS: (u16, u16) = (40000, 53);
const BACK: (u16, u16) = (53, 40000);
const LATER: Time = Time::from_nanos(u64::MAX / 2);
const SENT: (&str, u64) = ("forwarded_by_kernel", 1);

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("fragments: from the client", from_client)
        .test("fragments: to the client", to_client)
        .test("fragments: a note holds for a minute", notes_end)
        .test("fragments: to the member and from it", member)
        .test("fragments: of what this host opened itself", own)
        .test("fragments: an identification that comes again", again)
}

/// A UDP packet in two pieces: the first with the checksum of the whole.
fn pieces(source: &str, destination: &str, ports: (u16, u16), identification: u8) -> [Packet; 2] {
    let whole = Packet::udp(source, destination, ports, &[0x33; 48]);
    let bytes = whole.bytes()[40..].to_vec();
    let piece = |payload: &[u8], offset: u16, more: bool| {
        Packet::raw(source, destination, UDP, payload.to_vec())
            .fragment(offset, more)
            .with(|p| p.extensions[0].1[7] = identification)
    };
    [piece(&bytes[..24], 0, true), piece(&bytes[24..], 24, false)]
}

fn row(
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

fn bind(bench: &mut Bench, care_of: &str, expires: Time) -> Result<()> {
    harness::bind(bench, (A, B), care_of, expires)
}

fn from_client() -> Result<()> {
    let mut bench = Bench::new(CORRESPONDENT, true)?;
    let before = pieces(A, B, PORTS, 1);
    bench.table(&[
        row("the first, no binding", &before[0], &before[0], &[]),
        row("the second, no binding", &before[1], &before[1], &[]),
    ])?;
    bind(&mut bench, C, LATER)?;
    let (sent, seen) = (pieces(A, B, PORTS, 2), pieces(A, C, PORTS, 2));
    bench.table(&[
        row(
            "the first pins its flow",
            &sent[0],
            &seen[0],
            &[("flow_pinned", 1), ("correspondent_to_care_of", 1), SENT],
        ),
        row(
            "the second follows",
            &sent[1],
            &seen[1],
            &[("fragment_followed", 1), SENT],
        ),
    ])?;
    // Bound anew, to another member: the pin holds its packets, a new flow goes elsewhere.
    bind(&mut bench, C2, LATER)?;
    let (sent, seen) = (pieces(A, B, PORTS, 3), pieces(A, C, PORTS, 3));
    let other = (pieces(A, B, (40001, 53), 4), pieces(A, C2, (40001, 53), 4));
    bench.table(&[
        row(
            "of the pinned flow",
            &sent[0],
            &seen[0],
            &[("correspondent_to_care_of", 1), SENT],
        ),
        row(
            "of a new one",
            &other.0[0],
            &other.1[0],
            &[("flow_pinned", 1), ("correspondent_to_care_of", 1), SENT],
        ),
        row(
            "its second",
            &other.0[1],
            &other.1[1],
            &[("fragment_followed", 1), SENT],
        ),
        row(
            "the other's second",
            &sent[1],
            &seen[1],
            &[("fragment_followed", 1), SENT],
        ),
    ])?;
    let (sent, seen) = (pieces(A, B, (40001, 53), 5), pieces(A, C2, (40001, 53), 5));
    bench.table(&[
        row(
            "a second that comes first",
            &sent[1],
            &seen[1],
            &[("fragment_guessed", 1), SENT],
        ),
        row(
            "and its first",
            &sent[0],
            &seen[0],
            &[("correspondent_to_care_of", 1), SENT],
        ),
    ])?;
    let reset = Packet::raw(A, B, TCP, [[0; 13], [RST; 13]].concat());
    let reset = [reset.clone().fragment(0, true), reset.fragment(24, false)];
    let followed = &[("fragment_followed", 1)];
    bench.table(&[
        row("a reset, which is not pinned", &reset[0], &reset[0], &[]),
        row("and what follows it", &reset[1], &reset[1], followed),
    ])?;
    bind(&mut bench, C2, Time::from_nanos(1))?;
    let sent = pieces(A, B, (40002, 53), 6);
    bench.table(&[
        row("no live binding", &sent[0], &sent[0], &[]),
        row("no live binding, the second", &sent[1], &sent[1], followed),
    ])?;
    let atomic = Packet::udp(A, B, PORTS, b"whole").fragment(0, false);
    let seen = atomic.clone().with(|p| p.destination = address(C));
    bench.table(&[row(
        "an atomic fragment is a packet (RFC 6946)",
        &atomic,
        &seen,
        &[("correspondent_to_care_of", 1), SENT],
    )])
}

fn to_client() -> Result<()> {
    let mut bench = Bench::new(CORRESPONDENT, true)?;
    bind(&mut bench, C, LATER)?;
    bench.run(&Packet::udp(A, B, PORTS, b"query").frame())?;
    let (sent, seen) = (pieces(C, A, BACK, 1), pieces(B, A, BACK, 1));
    // The member asks by itself.
    let direct = Packet::raw(C, A, TCP, [[0; 13], [SYN; 13]].concat());
    let direct = [direct.clone().fragment(0, true), direct.fragment(24, false)];
    let late = (pieces(C, A, BACK, 3), pieces(B, A, BACK, 3));
    bench.table(&[
        row(
            "the first",
            &sent[0],
            &seen[0],
            &[("correspondent_from_care_of", 1), SENT],
        ),
        row(
            "the second",
            &sent[1],
            &seen[1],
            &[("fragment_followed", 1), SENT],
        ),
        row(
            "of no flow of a client",
            &direct[0],
            &direct[0],
            &[("flow_own", 1)],
        ),
        row(
            "its second",
            &direct[1],
            &direct[1],
            &[("fragment_followed", 1)],
        ),
        row(
            "a second that comes first",
            &late.0[1],
            &late.1[1],
            &[("fragment_guessed", 1), SENT],
        ),
        row(
            "and its first",
            &late.0[0],
            &late.1[0],
            &[("correspondent_from_care_of", 1), SENT],
        ),
    ])
}

fn member() -> Result<()> {
    let mut bench = serving()?;
    let (sent, seen) = (pieces(A, C, PORTS, 1), pieces(A, B, PORTS, 1));
    let (answer, leaves) = (pieces(B, A, BACK, 2), pieces(C, A, BACK, 2));
    let control = Packet::raw(A, C, MOBILITY, vec![0; 16]).fragment(24, false);
    bench.egress_row(&next(row("an answer by B", &answer[0], &answer[0], &[])))?;
    bench.egress_row(&next(row("its second", &answer[1], &answer[1], &[])))?;
    bench.table(&[
        row(
            "a second that comes first",
            &sent[1],
            &seen[1],
            &[("fragment_followed", 1)],
        ),
        row(
            "the first",
            &sent[0],
            &seen[0],
            &[("member_from_care_of", 1)],
        ),
        row("a second to B", &seen[1], &seen[1], &[]),
        row("a second of a mobility message", &control, &control, &[]),
    ])?;
    bench.egress_row(&next(row(
        "an answer by C",
        &answer[0],
        &leaves[0],
        &[("member_to_care_of", 1)],
    )))?;
    bench.egress_row(&next(row(
        "its second",
        &answer[1],
        &leaves[1],
        &[("member_to_care_of", 1), ("fragment_followed", 1)],
    )))
}

fn next(row: Row) -> Row {
    Row {
        verdict: Verdict::Next,
        ..row
    }
}

/// A member that serves B and has C.
fn serving() -> Result<Bench> {
    let mut bench = Bench::new(MEMBER, true)?;
    let maps = bench.dataplane.maps();
    maps.set_local_care_of(address(C), address(B))?;
    maps.apply(&MapAction::SetLocalAnycast {
        anycast: address(B),
        report_clients: false,
    })?;
    Ok(bench)
}

const FOLLOWED: &[(&str, u64)] = &[("fragment_followed", 1)];
const OWN: &[(&str, u64)] = &[("member_own_flow", 1)];
const CLIENTS: &[(&str, u64)] = &[("member_from_care_of", 1)];

/// What the first fragment says of C, the others follow: nobody would put the two halves together again.
fn own() -> Result<()> {
    let mut bench = serving()?;
    let asks = Packet::udp(C, A, (5353, 53), b"query");
    bench.egress_row(&next(row("a query of this host", &asks, &asks, &[])))?;
    let answer = pieces(A, C, (53, 5353), 1);
    let (client, seen) = (pieces(A, C, PORTS, 1), pieces(A, B, PORTS, 1));
    let other = (pieces(A, C, PORTS, 2), pieces(A, B, PORTS, 2));
    let reply = [
        Packet::echo(A, C, true, 77).fragment(0, true),
        Packet::raw(A, C, ICMPV6, vec![0x33; 12]).fragment(16, false),
    ];
    bench.table(&[
        row("its answer", &answer[0], &answer[0], OWN),
        row("and the rest of that", &answer[1], &answer[1], FOLLOWED),
        // The control: what a client opened is B's, beside it and with the same identification.
        row("of a client", &other.0[0], &other.1[0], CLIENTS),
        row("the rest of that", &other.0[1], &other.1[1], FOLLOWED),
        row("the answer's rest, again", &answer[1], &answer[1], FOLLOWED),
        row("the same identification", &client[0], &seen[0], CLIENTS),
        row("its rest", &client[1], &seen[1], FOLLOWED),
        row("and back", &answer[0], &answer[0], OWN),
        row("its rest", &answer[1], &answer[1], FOLLOWED),
        row("a ping's answer", &reply[0], &reply[0], OWN),
        row("the rest of that", &reply[1], &reply[1], FOLLOWED),
    ])
}

/// Of an answer that goes out in fragments the second leaves from where its own first did.
fn again() -> Result<()> {
    let mut bench = serving()?;
    let query = Packet::udp(A, C, PORTS, b"query");
    let by_anycast = query.clone().with(|p| p.destination = address(B));
    let (answer, leaves) = (pieces(B, A, BACK, 2), pieces(C, A, BACK, 2));
    const OUT: &[(&str, u64)] = &[("member_to_care_of", 1)];
    const FOLLOWS: &[(&str, u64)] = &[("member_to_care_of", 1), ("fragment_followed", 1)];
    bench.table(&[row("a query by C", &query, &by_anycast, CLIENTS)])?;
    bench.egress_row(&next(row("its answer", &answer[0], &leaves[0], OUT)))?;
    bench.egress_row(&next(row("the rest", &answer[1], &leaves[1], FOLLOWS)))?;
    let returned = &[("member_flow_returned", 1)];
    bench.table(&[row("the next by B", &by_anycast, &by_anycast, returned)])?;
    bench.egress_row(&next(row("its answer", &answer[0], &answer[0], &[])))?;
    bench.egress_row(&next(row("the rest", &answer[1], &answer[1], &[])))
}

/// All notes are so old.
fn age(bench: &mut Bench, age: Duration) -> Result<()> {
    const KEY: usize = size_of::<FragmentKey>();
    const NOTE: usize = size_of::<Fragment>();
    let noted_at = clock::now().before(age).as_nanos();
    let ids = bench.dataplane.xdp(CORRESPONDENT)?.info()?.map_ids()?;
    let is_it = |id: &u32| anyhow::Ok(MapInfo::from_id(*id)?.name_as_str() == Some("FRAGMENTS"));
    let mut ids = ids.context("no maps")?.into_iter();
    let id = ids.find_map(|id| is_it(&id).map(|is| is.then_some(id)).transpose());
    let map = MapData::from_id(id.context("no map of notes")??)?;
    let mut notes: HashMap<_, [u8; KEY], [u8; NOTE]> = Map::LruHashMap(map).try_into()?;
    let all: Vec<_> = notes.iter().collect::<Result<_, _>>()?;
    ensure!(!all.is_empty(), "no notes");
    for (key, note) in all {
        let mut note = Fragment::read_from_bytes(&note).ok().context("a note")?;
        note.noted_at = noted_at;
        let note: [u8; NOTE] = note.as_bytes().try_into()?;
        notes.insert(key, note, 0)?;
    }
    Ok(())
}

/// A receiver gives up on a packet after a minute (RFC 8200 section 4.5).
fn notes_end() -> Result<()> {
    const LIFE: Duration = Duration::from_mins(1);
    const MARGIN: Duration = Duration::from_secs(5);
    let mut bench = Bench::new(CORRESPONDENT, true)?;
    bind(&mut bench, C, LATER)?;
    let (sent, seen) = (pieces(A, B, PORTS, 1), pieces(A, C, PORTS, 1));
    let to = |name, packet: &Packet| row(name, packet, packet, &[]);
    bench.run(&sent[0].frame())?;
    // What a guess would say.
    bind(&mut bench, C2, LATER)?;
    let guessed = pieces(A, C2, PORTS, 1);
    let tells = |identification: &Packet| error(HOP, A, TOO_BIG, identification);
    age(&mut bench, LIFE - MARGIN)?;
    bench.table(&[
        row(
            "the second follows",
            &sent[1],
            &seen[1],
            &[("fragment_followed", 1), SENT],
        ),
        row(
            "an error about it, too",
            &tells(&seen[1]),
            &tells(&sent[1]),
            TRANSLATED,
        ),
    ])?;
    age(&mut bench, LIFE + MARGIN)?;
    bench.table(&[
        row(
            "nobody waits for it any more",
            &sent[1],
            &guessed[1],
            &[("fragment_guessed", 1), SENT],
        ),
        Row {
            counts: &[("icmp_error_no_flow", 1)],
            ..to("nor for an error about it", &tells(&seen[1]))
        },
    ])
}
