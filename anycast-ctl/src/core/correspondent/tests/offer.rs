//! The node key that the programs answer Test Inits with.

use super::*;
use crate::core::fleet::{self, Secret};

/// A Test Init from B.
fn init(bench: &mut Bench, now: Time) -> Output {
    let init = Message::HomeTestInit { cookie: COOKIE };
    bench.message(now, ANYCAST, CLIENT, &init)
}

#[test]
fn the_programs_get_the_nonce_of_the_first_answer_until_it_is_not_fresh() {
    let mut bench = Bench::new(settings());
    let first = init(&mut bench, at(100));
    let [Some((index, until))] = first.node_keys()[..] else {
        panic!("{first:?}");
    };
    assert_eq!((index, until), (bench.home_test(at(101)).index, at(130)));
    assert_eq!(init(&mut bench, at(129)).node_keys(), []);
    let next = Some((index.wrapping_add(1), at(160)));
    assert_eq!(init(&mut bench, at(130)).node_keys(), [next]);
}

#[test]
fn a_nonce_that_is_not_fresh_is_taken_away_and_none_is_drawn_unasked() {
    let mut bench = Bench::new(settings());
    init(&mut bench, at(100));
    assert_eq!(bench.poll(at(129)).node_keys(), []);
    assert_eq!(bench.poll(at(130)).node_keys(), [None]);
    assert_eq!(bench.poll(at(131)).node_keys(), []);
}

#[test]
fn a_nonce_that_is_retired_early_is_taken_away_before_the_answer_that_asks_for_another() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(1));
    let now = at(2);
    assert_eq!(bench.update(now, &peer, peer.good(1)).ack().status, 0);
    assert_eq!(bench.update(now, &peer, peer.deletion(2)).ack().status, 0);
    // The nonce may no longer make a binding that was deleted with it.
    let barred = bench.update(at(3), &peer, peer.good(3));
    assert_eq!(bench.count(Counter::BindingUpdateBarred), 1);
    assert_eq!(barred.node_keys(), [None]);
    let again = init(&mut bench, at(3)).node_keys();
    assert_eq!(again, [Some((peer.home.index.wrapping_add(1), at(33)))]);
}

#[test]
fn nothing_is_left_behind_at_the_end() {
    let mut bench = Bench::new(settings());
    init(&mut bench, at(1));
    let mut actions = Vec::new();
    bench.correspondent.shutdown(at(2), &mut actions);
    let output = Output { actions };
    assert_eq!(output.node_keys(), [None]);
}

#[test]
fn a_fleet_gives_the_nonce_of_the_period_and_follows_a_clock_that_is_set() {
    const NOON: u64 = 1_800_000_000;
    let secret = Secret::new(&std::array::from_fn::<_, 32, _>(|index| {
        index.to_le_bytes()[0]
    }))
    .unwrap();
    let mut bench = Bench::new(Settings {
        fleet: Some(fleet::Settings {
            secret,
            previous: None,
            name: None,
        }),
        ..settings()
    });
    let clock = |bench: &mut Bench, now, unix| {
        bench.correspondent.clock(now, Duration::from_secs(unix));
    };
    clock(&mut bench, at(5), NOON + 5);
    let period = |unix: u64| u16::try_from(unix / 30 % 0x1_0000).unwrap();
    let keys = init(&mut bench, at(5)).node_keys();
    assert_eq!(keys, [Some((period(NOON), at(30)))]);
    clock(&mut bench, at(31), NOON + 31);
    let keys = bench.poll(at(31)).node_keys();
    assert_eq!(keys, [Some((period(NOON + 30), at(60)))]);
    // An hour back.
    clock(&mut bench, at(32), NOON - 3600);
    let keys = bench.poll(at(32)).node_keys();
    assert_eq!(keys, [Some((period(NOON - 3600), at(62)))]);
}
