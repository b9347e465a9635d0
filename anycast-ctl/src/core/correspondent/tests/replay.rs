//! Sequence numbers, and how long they are remembered (RFC 6275 sections 5.2.8 and 9.5.1).

use super::*;

#[test]
fn an_old_sequence_number_is_answered_with_the_last_one() {
    for flags in [Flags::ACKNOWLEDGE | Flags::EQUIVALENT, Flags::EQUIVALENT] {
        let mut bench = Bench::new(settings());
        let peer = bench.peer(at(10));
        bench.update(at(11), &peer, peer.good(77));
        for sequence in [77, 76, 0, 77u16.wrapping_sub(0x8000)] {
            let update = BindingUpdate {
                flags,
                ..peer.good(sequence)
            };
            let output = bench.update(at(12), &peer, update);
            let ack = output.ack();
            assert_eq!((ack.status, ack.sequence), (135, 77));
            assert_eq!(output.data_plane(), []);
            let octets = output.packets().next().unwrap();
            let packet = ipv6::Packet::parse(octets).unwrap();
            assert!(rr::verify(&peer.binding_key(), CARE_OF, CLIENT, &packet));
        }
    }
}

#[test]
fn sequence_numbers_wrap() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    let mut status = |sequence| {
        let output = bench.update(at(11), &peer, peer.good(sequence));
        output.ack().status
    };
    assert_eq!(status(65534), 0);
    assert_eq!(status(65535), 0);
    assert_eq!(status(0), 0);
    assert_eq!(status(65535), 135);
    assert_eq!(status(0x7fff), 0);
    assert_eq!(status(0xffff), 135, "the opposite one counts as old");
    assert_eq!(status(0xfffe), 0);
}

#[test]
fn a_forged_update_moves_no_sequence_number() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(11), &peer, peer.good(77));
    let mut forged = peer.sealed(peer.good(100));
    wire::mobility::set_authenticator(&mut forged, [9; 12]).unwrap();
    bench.octets(at(11), &forged);
    assert_eq!(bench.update(at(11), &peer, peer.good(78)).ack().status, 0);
}

#[test]
fn a_forged_update_with_an_old_sequence_number_learns_nothing() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(11), &peer, peer.good(77));
    let mut forged = peer.sealed(peer.good(5));
    wire::mobility::set_authenticator(&mut forged, [9; 12]).unwrap();
    let output = bench.octets(at(11), &forged);
    output.assert_silent(Counter::BindingUpdateBadAuthenticator);
}

#[test]
fn a_refused_update_counts_as_the_last_valid_one() {
    // RFC 6275 section 9.5.1 stores the number of every update that passes its tests.
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(11), &peer, peer.good(77));
    let plain = BindingUpdate {
        flags: Flags::ACKNOWLEDGE,
        ..peer.good(80)
    };
    assert_eq!(bench.update(at(11), &peer, plain).ack().status, 129);
    let ack = bench.update(at(11), &peer, peer.good(80)).ack();
    assert_eq!((ack.status, ack.sequence), (135, 80));
}

#[test]
fn the_number_of_a_refused_update_is_remembered_as_long_as_that_of_a_binding() {
    let mut bench = Bench::new(settings());
    let first = bench.peer(at(0));
    bench.update(at(0), &first, first.good(1));
    bench.poll(at(20));
    let peer = bench.peer(at(100));
    let plain = BindingUpdate {
        flags: Flags::ACKNOWLEDGE,
        ..peer.good(50)
    };
    assert_eq!(bench.update(at(100), &peer, plain).ack().status, 129);
    // The binding's own number would be forgotten at 240 s. The nonces of the refused update are good until 340 s.
    bench.poll(at(300));
    let ack = bench.update(at(300), &peer, peer.good(40)).ack();
    assert_eq!((ack.status, ack.sequence), (135, 50));
}

#[test]
fn the_sequence_number_outlives_the_binding_as_long_as_its_nonces() {
    let mut bench = Bench::new(settings());
    // The latest token that the first nonce gives, and the update at once.
    let peer = bench.peer(at(0));
    let octets = peer.sealed(peer.good(77));
    assert_eq!(bench.octets(at(0), &octets).ack().status, 0);
    for seconds in [17, 100, 239] {
        bench.poll(at(seconds));
        let ack = bench.octets(at(seconds), &octets).ack();
        assert_eq!((ack.status, ack.sequence), (135, 77), "{seconds}");
    }
    bench.poll(at(240));
    assert_eq!(bench.octets(at(240), &octets).ack().status, 138);
    assert_eq!(bench.correspondent.deadline(), None);
}

#[test]
fn a_deleted_binding_cannot_be_brought_back() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(0));
    let recorded = peer.sealed(peer.good(77));
    bench.octets(at(1), &recorded);
    bench.update(at(2), &peer, peer.deletion(78));
    for seconds in (3..240).step_by(9) {
        bench.poll(at(seconds));
        let ack = bench.octets(at(seconds), &recorded).ack();
        assert_eq!((ack.status, ack.sequence), (135, 78));
    }
    assert_eq!(bench.correspondent.bindings(at(240)), []);
}

#[test]
fn the_nonces_of_a_deleted_binding_do_not_make_another() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(0));
    bench.update(at(1), &peer, peer.good(77));
    bench.update(at(2), &peer, peer.deletion(78));
    let refused = bench.update(at(3), &peer, peer.good(79));
    assert_eq!(refused.ack().status, 138);
    assert_eq!(refused.refusals(), ["binding_update_barred"]);
    assert_eq!(refused.data_plane(), []);
    // The member asks again, is given others at once, and binds.
    let again = bench.peer(at(3));
    assert_ne!(again.home.index, peer.home.index);
    assert_eq!(bench.update(at(3), &again, again.good(80)).ack().status, 0);
    for seconds in [4, 100, 238] {
        let ack = bench.update(at(seconds), &peer, peer.good(90)).ack();
        assert_eq!(ack.status, 138, "{seconds}: still barred");
    }
}

/// The home nonce is the older one of the two, and is handed out no more anyway.
#[test]
fn the_care_of_nonce_of_a_deleted_binding_is_not_given_again() {
    let mut bench = Bench::new(settings());
    let home = bench.peer(at(0));
    let peer = Peer {
        care_of_test: bench.care_of_test(at(31), CARE_OF),
        ..home
    };
    assert_ne!(peer.care_of_test.index, peer.home.index);
    bench.update(at(32), &peer, peer.good(77));
    bench.update(at(32), &peer, peer.deletion(78));
    let refused = bench.update(at(33), &peer, peer.good(79));
    assert_eq!(refused.refusals(), ["binding_update_barred"]);
    let again = bench.care_of_test(at(33), CARE_OF);
    assert_ne!(again.index, peer.care_of_test.index);
}

#[test]
fn nonces_are_not_used_up_by_who_deletes_and_binds_again() {
    let mut bench = Bench::new(settings());
    let first = bench.peer(at(0));
    let home = first.home.index;
    let mut sequence = 0;
    for seconds in 1..=240 {
        // As fast as it can be, and tokens are asked for all the while.
        let peer = bench.peer(at(seconds));
        for step in 1..=3 {
            let update = match step {
                2 => peer.deletion(sequence + step),
                _ => peer.good(sequence + step),
            };
            bench.update(at(seconds), &peer, update);
        }
        sequence += 3;
        // What was handed out before is good for its whole time.
        let known = bench.correspondent.keys.find(at(seconds), home).next();
        assert_eq!(known.is_some(), seconds < 240, "{seconds}");
    }
}

#[test]
fn any_number_starts_when_nothing_is_remembered() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(0));
    bench.update(at(0), &peer, peer.good(77));
    bench.poll(at(500));
    bench.poll(at(500));
    let peer = bench.peer(at(500));
    assert_eq!(bench.update(at(500), &peer, peer.good(3)).ack().status, 0);
}

#[test]
fn each_member_has_its_own_sequence_numbers() {
    let mut bench = Bench::new(settings());
    let (one, other) = (bench.peer(at(10)), bench.peer_at(at(10), OTHER_CARE_OF));
    assert_eq!(bench.update(at(10), &one, one.good(40_000)).ack().status, 0);
    assert_eq!(bench.update(at(10), &other, other.good(3)).ack().status, 0);
    assert_eq!(bench.update(at(11), &one, one.good(40_001)).ack().status, 0);
    let old = bench.update(at(11), &other, other.good(3)).ack();
    assert_eq!((old.status, old.sequence), (135, 3));
}

#[test]
fn what_is_forgotten_early_is_not_replayed() {
    let mut sequences = Sequences::new(64);
    let tag = |number: u128| {
        Tag::of(Triple {
            client: Ipv6Addr::from_bits(CLIENT.to_bits() + number),
            anycast: ANYCAST,
            care_of: CARE_OF,
        })
    };
    // One a second, each made with a nonce that was first used a second before.
    for number in 0..100 {
        let now = at(100 + number);
        let before = at(99 + number);
        assert!(!sequences.bars(now, tag(number.into()), before));
        sequences.note(now, tag(number.into()), 7, before);
        assert!(sequences.len() <= 64);
    }
    for number in 0..100 {
        let (now, nonces) = (at(200), at(99 + number));
        let known = sequences.last(now, tag(number.into()));
        let barred = sequences.bars(now, tag(number.into()), nonces);
        assert_eq!(known.is_none(), barred, "{number}: one or the other");
        assert!(
            known.is_some() || number < 40,
            "{number}: the oldest go first"
        );
        assert!(
            known.is_none() || number >= 36,
            "{number}: there is no room"
        );
        assert!(!sequences.bars(now, tag(number.into()), at(199)));
    }
    // One that comes back, and counts from lower, is not replaced by a recorded one of before.
    sequences.note(at(200), tag(5), 1, at(199));
    assert!(sequences.bars(at(200), tag(5), at(104)));
    assert!(!sequences.bars(at(200), tag(5), at(199)));
    // After the life of a nonce nothing is left.
    sequences.note(at(600), tag(500), 1, at(599));
    assert_eq!(sequences.len(), 1);
}

#[test]
fn what_is_forgotten_early_counts_with_its_nonces_although_they_are_of_a_clock_that_is_ahead() {
    let mut sequences = Sequences::new(1);
    for (tag, nonces) in [(1, at(130)), (2, at(90))] {
        sequences.note(at(100), Tag(tag), 7, nonces);
    }
    assert_eq!(sequences.last(at(100), Tag(1)), None);
    assert!(sequences.bars(at(100), Tag(1), at(130)));
    assert!(!sequences.bars(at(100), Tag(1), at(131)));
}

#[test]
fn a_replay_of_what_is_forgotten_asks_for_new_nonces() {
    let mut bench = Bench::new(settings());
    bench.correspondent.sequences = Sequences::new(1);
    let peer = bench.peer(at(0));
    let recorded = peer.sealed(peer.good(77));
    bench.octets(at(1), &recorded);
    bench.poll(at(17));
    // Another one takes its place.
    let other = bench.peer_at(at(40), OTHER_CARE_OF);
    assert_eq!(bench.update(at(40), &other, other.good(1)).ack().status, 0);
    let replayed = bench.octets(at(41), &recorded);
    assert_eq!(replayed.ack().status, 138);
    assert_eq!(replayed.refusals(), ["binding_update_barred"]);
    let again = bench.peer(at(41));
    assert_eq!(bench.update(at(41), &again, again.good(1)).ack().status, 0);
}
