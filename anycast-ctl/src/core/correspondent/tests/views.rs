//! What the operator sees of bindings.

use super::*;

const PEERS: u16 = 25;

fn client(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 1, number)
}

/// Bindings of many clients to two care-of addresses in turn.
fn bench() -> Bench {
    let mut bench = Bench::new(Settings {
        max_bindings: 100,
        max_per_prefix: 100,
        max_per_member: 100,
        max_care_of: 100,
        ..settings()
    });
    for number in 0..PEERS {
        let care_of = [CARE_OF, OTHER_CARE_OF][usize::from(number % 2)];
        bench.bind(at(10), client(number), care_of, number);
    }
    bench
}

fn pages(bench: &Bench, which: &Selection, limit: usize) -> Vec<Vec<Ipv6Addr>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let (rows, next) = bench
            .correspondent
            .bindings_page(at(11), which, after, limit);
        pages.push(rows.iter().map(|row| row.client).collect());
        after = next;
        if after.is_none() {
            return pages;
        }
    }
}

#[test]
fn every_binding_is_on_one_page() {
    let bench = bench();
    let pages = pages(&bench, &Selection::default(), 10);
    let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(lengths, [10, 10, 5]);
    let all: Vec<Ipv6Addr> = (0..PEERS).map(client).collect();
    assert_eq!(pages.concat(), all);
    assert_eq!(bench.correspondent.bound(), usize::from(PEERS));
}

#[test]
fn filters_let_through_what_they_name() {
    let bench = bench();
    let rows = |which: &Selection| pages(&bench, which, 10).concat();
    let one = Selection {
        client: Some(client(7)),
        ..Selection::default()
    };
    assert_eq!(rows(&one), [client(7)]);
    let odd = Selection {
        care_of: Some(OTHER_CARE_OF),
        ..Selection::default()
    };
    assert_eq!(rows(&odd).len(), 12);
    let other = Selection {
        anycast: Some(CLIENT),
        ..Selection::default()
    };
    assert!(rows(&other).is_empty());
}

#[test]
fn a_pair_without_a_binding_is_not_shown() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(10), &peer, peer.good(77));
    assert_eq!(bench.correspondent.bound(), 1);
    bench.update(at(11), &peer, peer.deletion(78));
    assert_eq!(bench.correspondent.bound(), 0);
    assert_eq!(bench.correspondent.bindings(at(11)), []);
    // Bound anew after a gap: the age begins anew.
    let peer = bench.peer(at(45));
    bench.update(at(45), &peer, peer.good(79));
    let view = &bench.correspondent.bindings(at(46))[0];
    assert_eq!(view.age, Duration::from_secs(1));
    bench.poll(at(61));
    assert_eq!(bench.correspondent.bound(), 0);
}

#[test]
fn flows_are_those_of_the_last_read() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(10), &peer, peer.good(77));
    assert_eq!(bench.correspondent.flows_age(at(11)), None);
    assert_eq!(bench.correspondent.bindings(at(11))[0].flows, 0);
    let flows = |flows| Use {
        flows,
        answered: Time::ZERO,
    };
    let pinned = [
        ((CLIENT, CARE_OF), flows(3)),
        ((CLIENT, OTHER_CARE_OF), flows(5)),
    ];
    let pinned = pinned.into_iter().collect();
    let mut actions = Vec::new();
    bench.correspondent.used(at(12), pinned, &mut actions);
    assert_eq!(bench.correspondent.bindings(at(15))[0].flows, 3);
    let age = bench.correspondent.flows_age(at(15));
    assert_eq!(age, Some(Duration::from_secs(3)));
}
