//! A restart in the middle of things.

use super::{super::memory::MemoryError, *};

/// The same correspondent, `elapsed` after it ended at `now`; its clock may have been set anew.
fn restart(mut bench: Bench, now: Time, start: Time, elapsed: Duration) -> Bench {
    let mut actions = Vec::new();
    bench.correspondent.shutdown(now, &mut actions);
    let saved = bench.correspondent.save(now);
    let rng = Generator::seed_from_u64(99);
    let mut correspondent = Correspondent::new(settings(), start, rng);
    correspondent.restore(start, &saved, elapsed).unwrap();
    Bench { correspondent }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_handshake_under_way_survives_a_restart() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(1000));
    let mut bench = restart(bench, at(1001), at(1003), seconds(2));
    assert_eq!(bench.update(at(1003), &peer, peer.good(1)).ack().status, 0);
    // The nonce goes on where it was: fresh for 30 seconds from its first use.
    assert_eq!(bench.home_test(at(1029)).index, peer.home.index);
    assert_eq!(
        bench.home_test(at(1030)).index,
        peer.home.index.wrapping_add(1)
    );
}

#[test]
fn a_nonce_is_accepted_for_240_seconds_over_restarts() {
    for down in [0, 100, 238, 239, 240, 10_000] {
        let mut bench = Bench::new(settings());
        let peer = bench.peer(at(1000));
        let now = at(1001 + down);
        let mut bench = restart(bench, at(1001), now, seconds(down));
        let status = bench.update(now, &peer, peer.good(1)).ack().status;
        assert_eq!(status == 0, down < 239, "{down}: {status}");
        let mut again = restart(bench, now, at(1239 + down), seconds(238));
        let status = again
            .update(at(1239 + down), &peer, peer.good(2))
            .ack()
            .status;
        assert_eq!(status == 0, down < 1, "{down} again: {status}");
    }
}

#[test]
fn a_binding_update_cannot_be_replayed_after_a_restart() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(1000));
    let update = peer.sealed(peer.good(7));
    assert_eq!(bench.octets(at(1001), &update).ack().status, 0);
    let mut bench = restart(bench, at(1002), at(1010), seconds(8));
    assert!(bench.correspondent.bindings(at(1010)).is_empty());
    let ack = bench.octets(at(1010), &update).ack();
    assert_eq!((ack.status, ack.sequence), (135, 7));
    assert_eq!(bench.update(at(1010), &peer, peer.good(8)).ack().status, 0);
    // The number is forgotten with the last nonce that it could be used with.
    let mut bench = restart(bench, at(1011), at(1251), seconds(240));
    assert_eq!(bench.octets(at(1251), &update).ack().status, 138);
    assert_eq!(bench.correspondent.cache.deadline(), None);
}

/// What is barred is not saved, so the nonces that it bars must not be either.
#[test]
fn the_nonces_of_a_deleted_binding_make_no_other_after_a_restart() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(1000));
    bench.update(at(1001), &peer, peer.good(7));
    bench.update(at(1001), &peer, peer.deletion(8));
    let mut bench = restart(bench, at(1002), at(1004), seconds(2));
    assert_eq!(
        bench.update(at(1004), &peer, peer.good(9)).ack().status,
        138
    );
    assert!(bench.correspondent.bindings(at(1004)).is_empty());
}

#[test]
fn what_is_damaged_changes_nothing() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(1000));
    bench.update(at(1000), &peer, peer.good(7));
    let saved = bench.correspondent.save(at(1001));
    let mut fresh = Bench::new(settings()).correspondent;
    for octet in 0..saved.len() {
        let mut damaged = saved.clone();
        damaged[octet] ^= 1;
        for damaged in [&damaged[..], &saved[..octet]] {
            let restored = fresh.restore(at(1002), damaged, seconds(1));
            assert_eq!(restored, Err(MemoryError::Damaged), "{octet}");
        }
    }
    assert_eq!(fresh.deadline(), None);
}

#[test]
fn what_must_not_bind_again_is_known_after_a_restart() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(1000));
    bench.update(at(1001), &peer, peer.good(7));
    bench.update(at(1002), &peer, peer.deletion(8));
    let mut bench = restart(bench, at(1003), at(1010), seconds(7));
    let barred = bench.update(at(1010), &peer, peer.good(9));
    assert_eq!(barred.refusals(), ["binding_update_barred"]);
    // Of what was forgotten before, too.
    let mut bench = Bench::new(settings());
    bench.correspondent.sequences = Sequences::new(1);
    let peer = bench.peer(at(1000));
    let recorded = peer.sealed(peer.good(7));
    bench.octets(at(1001), &recorded);
    let other = bench.peer_at(at(1002), OTHER_CARE_OF);
    bench.update(at(1002), &other, other.good(8));
    let mut bench = restart(bench, at(1003), at(1010), seconds(7));
    let barred = bench.octets(at(1010), &recorded);
    assert_eq!(barred.refusals(), ["binding_update_barred"]);
}

#[test]
fn what_is_older_than_the_clock_is_not_kept() {
    // Suspended right after the start, CLOCK_MONOTONIC stood still.
    let mut bench = Bench::new(settings());
    bench.home_test(at(3));
    let saved = bench.correspondent.save(at(4));
    let mut fresh = Bench::new(settings()).correspondent;
    assert_eq!(fresh.restore(at(5), &saved, seconds(100)), Ok(0));
    assert_eq!(fresh.restore(at(5), &saved, seconds(1)), Ok(1));
}

#[test]
fn a_correspondent_shows_no_secrets() {
    let mut bench = Bench::new(settings());
    bench.home_test(at(1000));
    let shown = format!("{:?}", bench.correspondent);
    let saved = bench.correspondent.save(at(1000));
    // Past index, count, index and age.
    let (key, nonce) = (&saved[14..34], &saved[34..42]);
    assert!(shown.contains("Kcn(..)") && shown.contains("Nonce(..)"));
    for secret in [key, nonce] {
        let shows = format!("{secret:?}");
        assert!(!shown.contains(shows.trim_matches(['[', ']'])));
    }
}
