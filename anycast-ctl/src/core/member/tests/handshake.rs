//! The handshake from the first packet to the binding, and its retransmissions.

use anycast_common::wire::mobility::Flags;

use super::*;

#[test]
fn both_tests_start_at_once() {
    let mut bench = Bench::joined();
    let output = bench.packet_of(at(0), CLIENT);
    let (home, care_of) = output.cookies();
    assert_ne!(home, care_of);
    assert_eq!(output.quiet(), Some(at(15_000)));
    assert_eq!(bench.state(), Some(HandshakeState::Testing));
    assert_eq!(bench.count(Counter::ClientSeen), 1);
    assert_eq!(bench.count(Counter::HandshakeStarted), 1);
}

#[test]
fn another_packet_starts_nothing_while_one_is_under_way() {
    let mut bench = Bench::joined();
    bench.packet_of(at(0), CLIENT);
    let output = bench.packet_of(at(10), CLIENT);
    // The data plane seems to have forgotten: tell it again.
    assert_eq!(output.mobility(), []);
    assert_eq!(output.quiet(), Some(at(1000)));
}

#[test]
fn the_update_follows_when_both_tests_are_answered_in_either_order() {
    for home_first in [true, false] {
        let mut bench = Bench::joined();
        let (home, care_of) = bench.packet_of(at(0), CLIENT).cookies();
        let (first, second) = if home_first {
            let first = bench.home_test(at(10), home);
            (first, bench.care_of_test(at(20), care_of))
        } else {
            let first = bench.care_of_test(at(10), care_of);
            (first, bench.home_test(at(20), home))
        };
        assert_eq!(first, Output(vec![]));
        let (update, octets) = second.update();
        assert_eq!(update.flags, Flags::ACKNOWLEDGE | Flags::EQUIVALENT);
        assert_eq!(update.flags, Flags(0x8400));
        assert_eq!(update.lifetime, 1);
        assert_eq!(update.alternate_care_of, Some(CARE_OF));
        assert_eq!(update.nonce_indices, Some((3, 4)));
        let packet = ipv6::Packet::parse(&octets).unwrap();
        assert!(rr::verify(&key(), CARE_OF, CLIENT, &packet));
        assert_eq!(second.quiet(), Some(at(15_020)));
        assert_eq!(bench.state(), Some(HandshakeState::Updating));
    }
}

#[test]
fn test_inits_are_sent_again_at_1_3_and_7_seconds_and_given_up_at_15() {
    let mut bench = Bench::joined();
    let mut cookies = vec![bench.packet_of(at(0), CLIENT).cookies()];
    for seconds in [1, 3, 7] {
        assert_eq!(bench.0.deadline(), Some(at(seconds * 1000)));
        assert_eq!(bench.poll(at(seconds * 1000 - 1)), Output(vec![]));
        cookies.push(bench.poll(at(seconds * 1000)).cookies());
    }
    let mut all: Vec<Cookie> = cookies.iter().flat_map(|(a, b)| [*a, *b]).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8, "every transmission has a new cookie");

    assert_eq!(bench.0.deadline(), Some(at(15_000)));
    let output = bench.poll(at(15_000));
    assert_eq!(output.mobility(), []);
    assert_eq!(output.outcome(), Some(HandshakeOutcome::NoAnswer));
    assert_eq!(output.quiet(), Some(at(30_000)));
    assert_eq!(bench.state(), Some(HandshakeState::BackOff));
    assert_eq!(bench.count(Counter::HandshakeNoAnswer), 1);
    assert_eq!(bench.count(Counter::HomeTestInitSent), 4);
    assert_eq!(bench.count(Counter::CareOfTestInitSent), 4);
}

#[test]
fn only_what_is_not_answered_is_sent_again() {
    let mut bench = Bench::joined();
    let (home, _) = bench.packet_of(at(0), CLIENT).cookies();
    bench.home_test(at(500), home);
    let sent = bench.poll(at(1000)).mobility();
    assert!(matches!(
        sent.as_slice(),
        [Sent {
            message: Message::CareOfTestInit { .. },
            ..
        }]
    ));
}

#[test]
fn updates_are_sent_again_at_1_3_and_7_seconds_with_the_next_number() {
    let mut bench = Bench::joined();
    let (first, _) = bench.tested(at(0)).update();
    for (nth, seconds) in (1..).zip([1, 3, 7]) {
        assert_eq!(bench.0.deadline(), Some(at(seconds * 1000)));
        let (update, octets) = bench.poll(at(seconds * 1000)).update();
        assert_eq!(update.sequence, first.sequence.wrapping_add(nth));
        let packet = ipv6::Packet::parse(&octets).unwrap();
        assert!(rr::verify(&key(), CARE_OF, CLIENT, &packet));
    }
    let output = bench.poll(at(15_000));
    assert_eq!(output.outcome(), Some(HandshakeOutcome::NoAnswer));
    assert_eq!(bench.count(Counter::BindingUpdateSent), 4);
}

#[test]
fn the_back_off_grows_and_ends_at_its_maximum() {
    let mut bench = Bench::joined();
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(bench.packet_of(now, CLIENT).mobility().len(), 2);
        loop {
            let deadline = bench.0.deadline().unwrap();
            let output = bench.poll(deadline);
            if let Some(until) = output.quiet() {
                waits.push(until.since(deadline).as_secs());
                // Left alone until then.
                let early = bench.packet_of(deadline, CLIENT);
                assert_eq!((early.mobility().len(), early.quiet()), (0, Some(until)));
                bench.poll(until);
                assert_eq!(bench.state(), Some(HandshakeState::Resting));
                now = until;
                break;
            }
        }
    }
    assert_eq!(waits, [15, 30, 45, 45, 45, 45, 45, 45, 45]);
}

#[test]
fn a_success_ends_the_growth() {
    let mut bench = Bench::joined();
    bench.packet_of(at(0), CLIENT);
    for seconds in [1, 3, 7, 15, 30] {
        bench.poll(at(seconds * 1000));
    }
    assert_eq!(bench.0.handshakes(at(0))[0].failures, 1);
    let update = bench.tested(at(40_000)).update().0;
    bench.accept(at(40_000), update.sequence);
    assert_eq!(bench.0.handshakes(at(0))[0].failures, 0);
}

#[test]
fn failures_are_forgotten_after_as_long_again() {
    let mut bench = Bench::joined();
    bench.packet_of(at(0), CLIENT);
    for seconds in [1, 3, 7, 15, 30, 44] {
        bench.poll(at(seconds * 1000));
    }
    assert_eq!(bench.state(), Some(HandshakeState::Resting));
    bench.poll(at(45_000));
    assert_eq!(bench.state(), None);
    assert_eq!(bench.0.deadline(), None);
}

#[test]
fn a_bound_client_is_bound_again_when_its_packets_come_to_b_after_16_seconds() {
    let mut bench = Bench::joined();
    let first = bench.tested(at(0)).update().0;
    let output = bench.accept(at(100), first.sequence);
    assert_eq!(output.quiet(), Some(at(12_000)));
    // In flight, or its correspondent was restarted: routing still brings it here.
    let output = bench.packet_of(at(200), CLIENT);
    assert_eq!(
        (output.mobility().len(), output.quiet()),
        (0, Some(at(12_000)))
    );
    bench.poll(at(16_000));
    assert_eq!(bench.state(), Some(HandshakeState::Resting));
    // The sequence goes on.
    let second = bench.tested(at(16_000)).update().0;
    assert_eq!(second.sequence, first.sequence.wrapping_add(1));
}

#[test]
fn a_binding_is_renewed_before_its_end_when_packets_come_to_b() {
    let mut bench = Bench::joined();
    let first = bench.tested(at(0)).update().0;
    bench.accept(at(100), first.sequence);
    assert_eq!(bench.packet_of(at(11_999), CLIENT).mobility(), []);
    let (home, care_of) = bench.packet_of(at(12_000), CLIENT).cookies();
    bench.home_test(at(12_010), home);
    let second = bench.care_of_test(at(12_010), care_of).update().0;
    assert_eq!(second.sequence, first.sequence.wrapping_add(1));
    let output = bench.accept(at(12_020), second.sequence);
    assert_eq!(output.quiet(), Some(at(24_010)));
    assert_eq!(bench.count(Counter::HandshakeBound), 2);
    // Without such packets it comes to its end.
    bench.poll(at(28_010));
    assert_eq!(bench.state(), Some(HandshakeState::Resting));
}

#[test]
fn a_sequence_number_is_remembered_as_long_as_its_correspondent_does() {
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    bench.accept(at(100), update.sequence);
    bench.poll(at(16_000));
    assert_eq!(bench.0.deadline(), Some(at(256_000)));
    bench.poll(at(256_000));
    assert_eq!(bench.state(), None);
}

#[test]
fn sequence_numbers_wrap() {
    let mut bench = Bench::joined();
    let mut before: Option<u16> = None;
    let mut wrapped = false;
    // Far enough to pass the end of the numbers from wherever it starts.
    let mut now = 0;
    for _ in 0..40 {
        let update = bench.tested(at(now)).update().0;
        if let Some(before) = before {
            assert!(rr::is_after(update.sequence, before));
        }
        // A correspondent that has seen more of B's members than this one.
        let ahead = update.sequence.wrapping_add(0x0fff);
        let next = bench.ack(at(now), 135, ahead).update().0;
        assert_eq!(next.sequence, ahead.wrapping_add(1));
        wrapped |= next.sequence < update.sequence;
        before = Some(next.sequence);
        bench.accept(at(now), next.sequence);
        now += 20_000;
        bench.poll(at(now));
    }
    assert!(wrapped);
}

#[test]
fn what_is_no_client_is_ignored() {
    let mut bench = Bench::joined();
    for client in ["fe80::1", "ff02::1", "::", "::1"] {
        let output = bench.packet_of(at(0), client.parse().unwrap());
        assert_eq!(output, Output(vec![]), "{client}");
    }
    let mut strangers = Bench::new(settings());
    assert_eq!(strangers.packet_of(at(0), CLIENT), Output(vec![]));
    assert_eq!(bench.count(Counter::ClientIgnored), 4);
    assert_eq!(strangers.count(Counter::ClientIgnored), 1);
}

#[test]
fn shutting_down_ends_handshakes_and_deletes_bindings() {
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    bench.accept(at(100), update.sequence);
    let other: Ipv6Addr = "2001:db8:a:1::1".parse().unwrap();
    bench.packet_of(at(200), other);

    let output = bench.run(|member, actions| member.shutdown(at(300), actions));
    let (deletion, octets) = output.update();
    assert_eq!(deletion.lifetime, 0);
    assert_eq!(deletion.flags, Flags::EQUIVALENT);
    assert_eq!(deletion.sequence, update.sequence.wrapping_add(1));
    assert_eq!(deletion.nonce_indices, Some((3, 0)));
    // Of the members that may be bound to this client it is this one.
    assert_eq!(deletion.alternate_care_of, Some(CARE_OF));
    let packet = ipv6::Packet::parse(&octets).unwrap();
    let key = Kbm::deletion(&KeygenToken::from(HOME_TOKEN));
    assert!(rr::verify(&key, ANYCAST, CLIENT, &packet));
    assert_eq!(bench.0.handshakes(at(300)), []);
    assert_eq!(bench.0.deadline(), None);
    assert_eq!(bench.packet_of(at(400), CLIENT), Output(vec![]));
}

#[test]
fn flows_are_led_while_the_correspondent_has_acknowledged_the_binding() {
    let mut bench = Bench::joined();
    let mut output = bench.tested(at(0));
    let update = output.update().0;
    assert_eq!(output.lead(), None, "not acknowledged");
    output = bench.accept(at(100), update.sequence);
    assert_eq!(output.lead(), Some(at(16_000)));
    // The data plane has forgotten the client.
    output = bench.packet_of(at(200), CLIENT);
    assert_eq!(output.lead(), Some(at(16_000)));
    // We serve the group no longer, and take the binding back.
    output = bench.run(|member, actions| member.shutdown(at(300), actions));
    assert_eq!(output.lead(), Some(at(300)));
}

#[test]
fn shutting_down_deletes_what_an_update_under_way_may_have_bound() {
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    let output = bench.run(|member, actions| member.shutdown(at(100), actions));
    let deletion = output.update().0;
    assert_eq!(deletion.lifetime, 0);
    assert_eq!(deletion.sequence, update.sequence.wrapping_add(1));
    assert_eq!(bench.0.handshakes(at(100)), []);
}

#[test]
fn leaving_ends_handshakes_and_lets_bindings_live() {
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    bench.accept(at(100), update.sequence);
    let other: Ipv6Addr = "2001:db8:a:1::1".parse().unwrap();
    bench.packet_of(at(200), other);
    assert_eq!(bench.0.handshakes(at(200)).len(), 2);

    let output = bench.run(|member, actions| member.leave(at(300), ANYCAST, actions).unwrap());
    assert_eq!(output.mobility().len(), 0);
    assert_eq!(bench.0.handshakes(at(300)).len(), 1);
    assert_eq!(bench.packet_of(at(400), other), Output(vec![]));
    // Nor is a client bound anew whose binding ran out.
    bench.poll(at(60_000));
    assert_eq!(bench.packet_of(at(60_000), CLIENT), Output(vec![]));
}

#[test]
fn an_update_under_way_is_not_sent_again_after_leaving() {
    // Each would bind the client to a member that drains for another 16 seconds.
    let mut bench = Bench::joined();
    bench.tested(at(0));
    let (update, _) = bench.poll(at(1000)).update();
    bench.run(|member, actions| member.leave(at(1500), ANYCAST, actions).unwrap());
    for status in [0, 135, 138] {
        let output = bench.ack(at(1600), status, update.sequence);
        assert_eq!(output, Output(vec![]), "{status}");
    }
    bench.due(17_000);
    // It may have bound all the same, so that a shutdown takes it back.
    let output = bench.run(|member, actions| member.shutdown(at(16_999), actions));
    assert_eq!(output.update().0.lifetime, 0);
    assert_eq!(bench.0.deadline(), None);
}

#[test]
fn leaving_forgets_no_failure() {
    let mut bench = Bench::joined();
    bench.packet_of(at(0), CLIENT);
    for seconds in [1, 3, 7, 15] {
        bench.poll(at(seconds * 1000));
    }
    bench.run(|member, actions| member.leave(at(16_000), ANYCAST, actions).unwrap());
    bench.run(|member, actions| member.join(at(17_000), ANYCAST, actions).unwrap());
    let output = bench.packet_of(at(18_000), CLIENT);
    assert_eq!(
        (output.mobility().len(), output.quiet()),
        (0, Some(at(30_000)))
    );
}
