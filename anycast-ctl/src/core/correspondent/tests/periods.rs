//! Keys of a fleet: any gateway answers any message of a handshake.

use super::{super::periods::Periods, *};
use crate::core::fleet::{self, Secret};

/// A time of day, in the middle of a period.
const NOON: u64 = 1_800_000_000 + 15;

fn secret(octet: u8) -> Secret {
    Secret::new(&std::array::from_fn::<_, 32, _>(|index| {
        octet ^ index.to_le_bytes()[0]
    }))
    .unwrap()
}

fn keys(secret: Secret, previous: Option<Secret>) -> fleet::Settings {
    fleet::Settings {
        secret,
        previous,
        name: None,
    }
}

fn of_fleet(fleet: fleet::Settings) -> Settings {
    Settings {
        fleet: Some(fleet),
        ..settings()
    }
}

/// A gateway that was started so many seconds after the others, and whose clock is ahead by so many.
fn gateway(fleet: fleet::Settings, started: u64, ahead: i64) -> Bench {
    let mut bench = Bench::new(of_fleet(fleet));
    // Its monotonic clock began when it started.
    let unix = NOON.checked_add_signed(ahead).unwrap() + started;
    bench.correspondent.clock(at(0), Duration::from_secs(unix));
    bench
}

#[test]
fn every_message_of_a_handshake_may_meet_another_gateway() {
    let fleet = || keys(secret(1), None);
    let [mut first, mut second, mut third] =
        [0, 1000, 7].map(|started| gateway(fleet(), started, 0));
    let peer = Peer {
        client: CLIENT,
        anycast: ANYCAST,
        care_of: CARE_OF,
        home: first.home_test(at(1000)),
        // The same moment, by its own clock.
        care_of_test: second.care_of_test(at(1), CARE_OF),
    };
    // Time is told with every input.
    third
        .correspondent
        .clock(at(994), Duration::from_secs(NOON + 1001));
    let ack = third.update(at(994), &peer, peer.good(1)).ack();
    assert_eq!(ack.status, 0);
}

#[test]
fn a_restart_forgets_no_nonce() {
    let mut before = gateway(keys(secret(1), None), 0, 0);
    let peer = before.peer(at(5));
    let mut after = gateway(keys(secret(1), None), 6, 0);
    assert_eq!(after.update(at(1), &peer, peer.good(1)).ack().status, 0);
}

#[test]
fn gateways_with_different_secrets_refuse_each_others_tokens() {
    let mut ours = gateway(keys(secret(1), None), 0, 0);
    let mut theirs = gateway(keys(secret(2), None), 0, 0);
    let peer = theirs.peer(at(1));
    let output = ours.update(at(1), &peer, peer.good(1));
    output.assert_silent(Counter::BindingUpdateBadAuthenticator);
}

#[test]
fn a_change_of_the_secret_in_steps_loses_no_handshake() {
    let (old, new) = (|| secret(1), || secret(2));
    // First all accept the new one, then all make tokens with it, then the old one is forgotten. Two steps are
    // mixed while a step is under way.
    let steps = [
        keys(old(), None),
        keys(old(), Some(new())),
        keys(new(), Some(old())),
        keys(new(), None),
    ];
    for mixed in steps.windows(2) {
        let made_by = [(0, 0), (0, 1), (1, 0), (1, 1)];
        for ((home, care_of), judge) in made_by.into_iter().flat_map(|by| [(by, 0), (by, 1)]) {
            let bench = |step: usize| gateway(mixed[step].clone(), 0, 0);
            let peer = Peer {
                client: CLIENT,
                anycast: ANYCAST,
                care_of: CARE_OF,
                home: bench(home).home_test(at(1)),
                care_of_test: bench(care_of).care_of_test(at(1), CARE_OF),
            };
            let mut judge = bench(judge);
            let ack = judge.update(at(2), &peer, peer.good(1)).ack();
            assert_eq!(ack.status, 0, "{home} {care_of}");
            let ack = judge.update(at(3), &peer, peer.deletion(2)).ack();
            assert_eq!(ack.status, 0, "{home}");
        }
    }
}

#[test]
fn a_clock_that_is_off_by_40_seconds_is_no_matter_and_one_by_ten_minutes_is() {
    for (ahead, status) in [(40, 0), (-40, 0), (600, 138), (-600, 138)] {
        for phase in 0..30 {
            let mut other = gateway(keys(secret(1), None), 0, ahead);
            let mut right = gateway(keys(secret(1), None), 0, 0);
            let peer = other.peer(at(phase));
            let ack = right.update(at(phase), &peer, peer.good(1)).ack();
            assert_eq!(ack.status, status, "{ahead} {phase}");
        }
    }
}

#[test]
fn a_token_of_a_fleet_is_good_for_at_least_210_seconds_however_late_it_was_made() {
    for made in (0..300).step_by(7) {
        let mut periods = Periods::new(keys(secret(1), None), at(0));
        periods.clock(at(0), Duration::from_secs(NOON));
        let index = periods.current(at(made)).index();
        let found = |seconds| periods.find(at(seconds), index).count();
        assert_eq!(found(made + 209), 1, "{made}");
        assert_eq!(found(made + 240), 0, "{made}");
    }
}

#[test]
fn the_index_is_the_number_of_the_period_modulo_2_to_the_16() {
    let mut periods = Periods::new(keys(secret(1), None), at(0));
    for unix in [0, 30 * 0xffff, 30 * 0x1_0000, 30 * 0x1_0001 + 29, NOON] {
        periods.clock(at(0), Duration::from_secs(unix));
        let index = u64::from(periods.current(at(0)).index());
        assert_eq!(index, unix / 30 % 0x1_0000);
    }
}

#[test]
fn a_period_has_one_beginning_however_the_clocks_are_read() {
    let mut periods = Periods::new(keys(secret(1), None), at(0));
    let begins = |periods: &mut Periods, milliseconds| {
        let now = at(1000) + Duration::from_millis(milliseconds);
        periods.current(now).first_used()
    };
    periods.clock(at(1000), Duration::from_secs(NOON));
    let first = begins(&mut periods, 0);
    assert_eq!(first, at(985));
    for jitter in [0, 30, 90] {
        let unix = Duration::from_secs(NOON) + Duration::from_millis(200 + jitter);
        periods.clock(at(1000) + Duration::from_millis(200), unix);
        assert_eq!(begins(&mut periods, 200), first);
    }
    // That is no jitter: somebody has set the clock.
    let unix = Duration::from_secs(NOON) + Duration::from_millis(1400);
    periods.clock(at(1000) + Duration::from_millis(400), unix);
    assert_eq!(
        begins(&mut periods, 400),
        first.before(Duration::from_secs(1))
    );
}

#[test]
fn what_a_deletion_ended_is_not_made_again_with_its_nonces_but_with_those_of_the_next_period() {
    let mut bench = gateway(keys(secret(1), None), 0, 0);
    let peer = bench.peer(at(1));
    assert_eq!(bench.update(at(1), &peer, peer.good(1)).ack().status, 0);
    assert_eq!(
        bench
            .update(at(2), &peer, peer.deletion_named(2))
            .ack()
            .status,
        0
    );
    assert_eq!(bench.update(at(3), &peer, peer.good(3)).ack().status, 138);
    // The same period has the same nonces.
    let again = bench.peer(at(4));
    assert_eq!(bench.update(at(4), &again, again.good(4)).ack().status, 138);
    let next = bench.peer(at(15));
    assert_eq!(bench.update(at(15), &next, next.good(5)).ack().status, 0);
}

#[test]
fn only_sequence_numbers_of_a_fleet_are_saved() {
    let mut bench = gateway(keys(secret(1), None), 0, 0);
    let peer = bench.peer(at(1));
    bench.update(at(1), &peer, peer.good(7));
    let saved = bench.correspondent.save(at(2));
    let mut next = gateway(keys(secret(1), None), 0, 0);
    let elapsed = Duration::from_secs(1);
    assert_eq!(next.correspondent.restore(at(3), &saved, elapsed), Ok(0));
    assert_eq!(next.update(at(3), &peer, peer.good(7)).ack().status, 135);
    assert_eq!(next.update(at(3), &peer, peer.good(8)).ack().status, 0);
}

#[test]
fn an_update_with_a_token_of_a_clock_that_is_ahead_is_not_replayed_as_long_as_that_is_good() {
    let new = || gateway(keys(secret(1), None), 0, 0);
    for ahead in [0, 40, 59] {
        let peer = gateway(keys(secret(1), None), 0, ahead).peer(at(1));
        let update = peer.sealed(peer.good(7));
        let mut bench = new();
        assert_eq!(bench.octets(at(1), &update).ack().status, 0);
        let saved = bench.correspondent.save(at(2));
        let mut restarted = new();
        let elapsed = Duration::from_secs(1);
        restarted
            .correspondent
            .restore(at(3), &saved, elapsed)
            .unwrap();
        let mut good_until = 0;
        for now in (20..320).step_by(5) {
            let unix = Duration::from_secs(NOON + now);
            for bench in [&mut bench, &mut restarted] {
                bench.correspondent.clock(at(now), unix);
                bench.poll(at(now));
            }
            for bench in [&mut bench, &mut restarted] {
                assert_ne!(bench.octets(at(now), &update).ack().status, 0, "{now}");
            }
            // Where nobody heard of it, it is good for as long as its nonces are.
            let mut fresh = new();
            fresh.correspondent.clock(at(now), unix);
            if fresh.octets(at(now), &update).ack().status == 0 {
                good_until = now;
            }
        }
        assert_eq!(good_until > 241, ahead > 30, "{ahead}: {good_until}");
    }
}
