//! Every disposition of a Binding Update (RFC 6275 sections 9.5.1 to 9.5.4).

use super::*;
use crate::core::rr::tests::checksummed;

fn bound(expires: Time) -> [Action; 2] {
    [
        Action::Map(MapAction::SetCareOf {
            client: CLIENT,
            care_of: CARE_OF,
            anycast: ANYCAST,
            expires,
        }),
        Action::Map(MapAction::SetBinding {
            client: CLIENT,
            anycast: ANYCAST,
            care_of: CARE_OF,
            expires,
        }),
    ]
}

/// New flows go elsewhere, and the member leads none any more. Those that are bound go on.
fn unbound() -> [Action; 2] {
    [
        Action::Map(MapAction::SetCareOf {
            client: CLIENT,
            care_of: CARE_OF,
            anycast: ANYCAST,
            expires: Time::ZERO,
        }),
        Action::Map(MapAction::RemoveBinding {
            client: CLIENT,
            anycast: ANYCAST,
        }),
    ]
}

/// Whether the one acknowledgement in `output` has the authenticator of `key`.
fn authentic(output: &Output, key: &Kbm, care_of: Ipv6Addr) -> bool {
    let octets = output.packets().next().unwrap();
    let packet = ipv6::Packet::parse(octets).unwrap();
    rr::verify(key, care_of, CLIENT, &packet)
}

#[test]
fn a_valid_update_binds_for_16_seconds() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    let output = bench.update(at(11), &peer, peer.good(77));
    assert_eq!(output.data_plane(), bound(at(27)));
    assert_eq!(output.changes(), [BindingChange::Created]);
    let ack = output.ack();
    assert_eq!((ack.status, ack.sequence, ack.lifetime), (0, 77, 1));
    assert!(!ack.key_management);
    assert!(authentic(&output, &peer.binding_key(), CARE_OF));

    let view = bench.correspondent.bindings(at(12));
    let expected = BindingView {
        client: CLIENT,
        anycast: ANYCAST,
        care_of: CARE_OF,
        origin: Origin::Own,
        steers: true,
        sequence: 77,
        age: Duration::from_secs(1),
        remaining: Duration::from_secs(15),
        flows: 0,
    };
    assert_eq!(view, [expected]);
    assert_eq!(bench.correspondent.deadline(), Some(at(27)));
}

#[test]
fn a_binding_expires() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(11), &peer, peer.good(77));
    assert_eq!(bench.poll(at(26)).actions, []);
    let output = bench.poll(at(27));
    let removed = Action::Map(MapAction::RemoveBinding {
        client: CLIENT,
        anycast: ANYCAST,
    });
    assert_eq!(output.data_plane(), [removed]);
    assert_eq!(output.changes(), [BindingChange::Expired]);
    assert_eq!(bench.correspondent.bindings(at(27)), []);
    assert_eq!(bench.count(Counter::BindingExpired), 1);
}

#[test]
fn a_binding_is_renewed() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(11), &peer, peer.good(77));
    let output = bench.update(at(20), &peer, peer.good(78));
    assert_eq!(output.data_plane(), bound(at(36)));
    assert_eq!(output.changes(), [BindingChange::Renewed]);
    let age = bench.correspondent.bindings(at(21))[0].age;
    assert_eq!(age, Duration::from_secs(10));
    assert_eq!(bench.poll(at(27)).actions, []);
    assert_eq!(bench.correspondent.deadline(), Some(at(36)));
}

#[test]
fn no_acknowledgement_is_sent_where_none_is_asked_for() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    let update = BindingUpdate {
        flags: Flags::EQUIVALENT,
        ..peer.good(77)
    };
    let output = bench.update(at(11), &peer, update);
    assert_eq!(output.data_plane(), bound(at(27)));
    assert_eq!(output.packets().count(), 0);
}

#[test]
fn a_longer_lifetime_is_granted_as_one() {
    for lifetime in [2, 105, u16::MAX] {
        let mut bench = Bench::new(settings());
        let peer = bench.peer(at(10));
        let update = BindingUpdate {
            lifetime,
            ..peer.good(77)
        };
        let output = bench.update(at(11), &peer, update);
        assert_eq!(output.data_plane(), bound(at(27)));
        assert_eq!(output.ack().lifetime, 1);
    }
}

#[test]
fn a_lifetime_of_zero_deletes_with_the_home_token_alone() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(11), &peer, peer.good(77));
    // The care-of nonce index is ignored, whatever it says (RFC 6275 section 9.5.1).
    let deletion = BindingUpdate {
        nonce_indices: Some((peer.home.index, peer.home.index.wrapping_sub(100))),
        ..peer.deletion(78)
    };
    let output = bench.update(at(12), &peer, deletion);
    assert_eq!(output.data_plane(), unbound());
    assert_eq!(output.changes(), [BindingChange::Deleted]);
    let ack = output.ack();
    assert_eq!((ack.status, ack.sequence, ack.lifetime), (0, 78, 0));
    let key = Kbm::deletion(&peer.home.token);
    assert!(authentic(&output, &key, ANYCAST));
    assert_eq!(bench.correspondent.bindings(at(12)), []);
    assert_eq!(bench.poll(at(27)).actions, []);
}

#[test]
fn deleting_what_is_not_there_is_accepted_and_makes_nothing() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    let output = bench.update(at(11), &peer, peer.deletion(78));
    assert_eq!(output.ack().status, 0);
    assert_eq!(output.data_plane(), []);
    assert_eq!(bench.correspondent.deadline(), None);
}

#[test]
fn a_deletion_made_with_the_binding_key_is_dropped() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(11), &peer, peer.good(77));
    let deletion = Message::BindingUpdate(peer.deletion(78));
    let mut octets = rr::build(&deletion, ANYCAST, CLIENT).unwrap();
    rr::seal(&peer.binding_key(), ANYCAST, CLIENT, &mut octets).unwrap();
    let output = bench.octets(at(12), &octets);
    output.assert_silent(Counter::BindingUpdateBadAuthenticator);
    assert_eq!(bench.correspondent.bindings(at(12)).len(), 1);
}

#[test]
fn the_home_flag_is_refused_in_silence() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    let update = BindingUpdate {
        flags: Flags::ACKNOWLEDGE | Flags::HOME | Flags::EQUIVALENT,
        ..peer.good(77)
    };
    let output = bench.update(at(11), &peer, update);
    output.assert_silent(Counter::BindingUpdateHome);
}

#[test]
fn without_the_e_flag_it_is_mobile_ipv6_and_prohibited() {
    for (flags, acks) in [(Flags::ACKNOWLEDGE, 1), (Flags::default(), 0)] {
        let mut bench = Bench::new(settings());
        let peer = bench.peer(at(10));
        let update = BindingUpdate {
            flags,
            ..peer.good(77)
        };
        let output = bench.update(at(11), &peer, update);
        assert_eq!(output.data_plane(), []);
        assert_eq!(output.refusals(), ["binding_update_not_equivalent"]);
        assert_eq!(output.packets().count(), acks);
        if acks == 1 {
            assert_eq!(output.ack().status, 129);
            assert!(authentic(&output, &peer.binding_key(), CARE_OF));
        }
    }
}

#[test]
fn an_update_that_lacks_an_option_is_dropped() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    let good = peer.good(77);
    for update in [
        BindingUpdate {
            nonce_indices: None,
            ..good
        },
        BindingUpdate {
            authenticator: None,
            ..good
        },
        BindingUpdate {
            alternate_care_of: None,
            ..good
        },
    ] {
        let output = bench.update(at(11), &peer, update);
        output.assert_silent(Counter::BindingUpdateIncomplete);
    }
}

#[test]
fn a_home_address_option_is_not_of_this_protocol() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    let octets = peer.sealed(peer.good(77));
    let mut packet = ipv6::Packet::parse(&octets).unwrap();
    let message = Message::parse(&packet);
    packet.home_address = Some(ANYCAST);
    let received = Received {
        ifindex: 1,
        mac: [0; 6],
        packet: &octets,
    };
    let mut actions = Vec::new();
    bench
        .correspondent
        .mobility(at(11), &received, &packet, message, &mut actions);
    Output { actions }.assert_silent(Counter::BindingUpdateHomeAddress);
}

#[test]
fn a_care_of_address_that_cannot_be_one_is_refused_in_silence() {
    for care_of in [
        "fe80::1",
        "ff02::1",
        "::",
        "::1",
        "::ffff:192.0.2.1",
        // B itself, and a client.
        "2001:db8:b::1",
        "2001:db8:a::99",
    ] {
        let care_of: Ipv6Addr = care_of.parse().unwrap();
        let mut bench = Bench::new(settings());
        let mut peer = bench.peer(at(10));
        // The token is right all the same, as if a test had gone there.
        let Correspondent { keys, rng, .. } = &mut bench.correspondent;
        let generation = keys.current(at(10), rng);
        peer.care_of = care_of;
        peer.care_of_test = Test {
            index: generation.index(),
            token: generation.care_of(care_of, CLIENT),
        };
        let output = bench.update(at(11), &peer, peer.good(77));
        output.assert_silent(Counter::BindingUpdateBadCareOf);
    }
}

#[test]
fn a_token_for_one_client_does_not_bind_another() {
    // A member, or who has broken into one, has asked for the tokens of its own client only.
    let other: Ipv6Addr = "2001:db8:a::2".parse().unwrap();
    let mut bench = Bench::new(settings());
    let own = bench.peer(at(10));
    let others = bench.peer_of(at(10), other, ANYCAST, CARE_OF);
    let mixed = |home: &Peer, care_of: &Peer| Peer {
        client: other,
        home: home.home.clone(),
        care_of_test: care_of.care_of_test.clone(),
        ..own.clone()
    };
    for (home, care_of) in [(&own, &own), (&own, &others), (&others, &own)] {
        let forged = mixed(home, care_of);
        let output = bench.update(at(11), &forged, forged.good(77));
        output.assert_silent(Counter::BindingUpdateBadAuthenticator);
    }
    let right = mixed(&others, &others);
    let output = bench.update(at(11), &right, right.good(77));
    assert_eq!(output.changes(), [BindingChange::Created]);
    // And the home token of one alone deletes nothing of another.
    let forged = mixed(&own, &own);
    let output = bench.update(at(12), &forged, forged.deletion(78));
    output.assert_silent(Counter::BindingUpdateBadAuthenticator);
}

#[test]
fn a_wrong_authenticator_is_dropped_in_silence() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    let octets = peer.sealed(peer.good(77));
    let last = octets.len() - 1;
    for flip in [last, last - 11] {
        let mut forged = octets.clone();
        forged[flip] ^= 0x80;
        // An attacker gets the checksum right.
        let forged = checksummed(forged);
        let output = bench.octets(at(11), &forged);
        output.assert_silent(Counter::BindingUpdateBadAuthenticator);
    }
    assert_eq!(bench.octets(at(11), &octets).ack().status, 0);
}

#[test]
fn tokens_of_another_address_bind_nothing() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    // C was never tested: its owner is not who asks.
    let thief = Peer {
        care_of: OTHER_CARE_OF,
        ..peer
    };
    let output = bench.update(at(11), &thief, thief.good(77));
    output.assert_silent(Counter::BindingUpdateBadAuthenticator);
}

#[test]
fn expired_nonces_are_answered_without_authenticator() {
    // Home, care-of: when each token was had. The update comes at 300 seconds.
    for (home, care_of, status, counter) in [
        (10, 200, 136, "binding_update_expired_home_nonce"),
        (200, 10, 137, "binding_update_expired_care_of_nonce"),
        (10, 10, 138, "binding_update_expired_nonces"),
    ] {
        for flags in [Flags::ACKNOWLEDGE | Flags::EQUIVALENT, Flags::EQUIVALENT] {
            let mut bench = Bench::new(settings());
            let (home, care_of) = if home < care_of {
                let home = bench.home_test(at(home));
                (home, bench.care_of_test(at(care_of), CARE_OF))
            } else {
                let care_of = bench.care_of_test(at(care_of), CARE_OF);
                (bench.home_test(at(home)), care_of)
            };
            let peer = Peer {
                client: CLIENT,
                anycast: ANYCAST,
                care_of: CARE_OF,
                home,
                care_of_test: care_of,
            };
            let update = BindingUpdate {
                flags,
                ..peer.good(77)
            };
            let output = bench.update(at(300), &peer, update);
            let ack = output.ack();
            assert_eq!((ack.status, ack.sequence), (status, 77));
            assert_eq!(ack.authenticator, None);
            assert_eq!(output.refusals(), [counter]);
            assert_eq!(output.data_plane(), []);
        }
    }
}

#[test]
fn an_expired_home_nonce_cannot_delete() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    let output = bench.update(at(300), &peer, peer.deletion(77));
    assert_eq!(output.ack().status, 136);
    assert_eq!(output.ack().authenticator, None);
}

#[test]
fn the_policy_refuses_with_129() {
    let mut settings = settings();
    settings.allow = vec!["2001:db8:beef::/48".parse().unwrap()];
    let mut bench = Bench::new(settings);
    let peer = bench.peer(at(10));
    let output = bench.update(at(11), &peer, peer.good(77));
    assert_eq!((output.ack().status, output.ack().lifetime), (129, 0));
    assert_eq!(output.data_plane(), []);
    assert_eq!(output.refusals(), ["binding_update_prohibited"]);
    assert!(authentic(&output, &peer.binding_key(), CARE_OF));
}

#[test]
fn the_policy_allows_what_it_names() {
    let mut settings = settings();
    settings.allow = vec!["2001:db8:b::/48".parse().unwrap()];
    let mut bench = Bench::new(settings);
    let peer = bench.peer(at(10));
    let output = bench.update(at(11), &peer, peer.good(77));
    assert_eq!(output.ack().status, 0);
}

#[test]
fn a_shutdown_takes_the_bindings_away_and_leaves_the_flows() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(11), &peer, peer.good(77));
    let mut actions = Vec::new();
    bench.correspondent.shutdown(at(12), &mut actions);
    assert_eq!(Output { actions }.data_plane(), unbound());
    assert_eq!(bench.correspondent.bindings(at(12)), []);
}
