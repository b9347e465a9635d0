//! Many members.

use super::{super::routes::MOST, *};

fn member(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n)
}

fn group(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, n)
}

/// Groups that are asked, each [Last Listener Query Count] times.
fn asked(sent: &[(Duration, Sent)]) -> usize {
    let mut groups: Vec<Sent> = sent.iter().map(|(_, sent)| *sent).collect();
    groups.sort();
    groups.dedup();
    groups.len()
}

/// Everybody joins, is asked within a Query Interval, and times out.
#[test]
fn many_pairs() {
    let mut world = World::running(with(GeneralQueries::Never));
    for g in 0..2000 {
        for m in 0..5 {
            world.report(member(m), group(g));
        }
    }
    assert_eq!(world.router.groups(world.now).len(), 2000);
    assert_eq!(world.router.deadline(), Some(world.now + QUERY / 2000));
    let start = world.now;
    world.take();
    world.advance(QUERY + SECOND);
    let sent = world.take_sent(start);
    assert_eq!(asked(&sent), 2000);
    assert!((4000..4100).contains(&sent.len()), "{}", sent.len());
    world.advance(LISTENER);
    assert_eq!(world.router.groups(world.now), []);
    assert_eq!(world.router.deadline(), None);
}

/// With more groups than beats, several have their turn at once: after an election all within
/// half a Query Response Interval.
#[test]
fn many_groups_in_haste() {
    let mut world = World::running(with(GeneralQueries::Never));
    world.query(LOWER);
    world.advance(seconds(20));
    for g in 0..1500 {
        world.report(member(1), group(g));
    }
    world.advance(OTHER_QUERIER - seconds(20));
    let start = world.now;
    world.take();
    world.advance(seconds(5));
    let sent = world.take_sent(start);
    assert_eq!(asked(&sent), 1500);
    let most = sent.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).max();
    assert!(most <= Some(6), "spread: {most:?}");
}

/// A route has so many next hops and no more; who waits has its turn when one of them leaves.
#[test]
fn more_members_than_next_hops() {
    let most = u16::try_from(MOST).unwrap();
    let hops = |range: std::ops::Range<u16>| -> Vec<Ipv6Addr> { range.map(member).collect() };
    let mut world = World::running(settings());
    for m in 0..most {
        world.report(member(m), B1);
    }
    assert_eq!(world.take_routes().len(), MOST);
    for m in most..most + 5 {
        world.report(member(m), B1);
    }
    assert_eq!(world.take_routes(), [], "the last to come wait");
    let first = || -> Vec<Ipv6Addr> {
        let group = world.group(B1).unwrap();
        group.next_hops.iter().filter_map(|hop| hop.via).collect()
    };
    assert_eq!(first(), hops(0..most));
    world.done(member(7), B1);
    world.advance(CHECK);
    let (_, now) = world.take_routes().pop().unwrap();
    let expected: Vec<_> = hops(0..most + 1)
        .into_iter()
        .filter(|hop| *hop != member(7))
        .collect();
    let now: Vec<_> = now.iter().filter_map(|hop| hop.via).collect();
    assert_eq!(now, expected);
}
