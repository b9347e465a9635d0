//! Every Binding Acknowledgement (RFC 6275 section 11.7.3).

use anycast_common::wire::mobility::BindingAck;

use super::*;

impl Bench {
    /// An acknowledgement as a correspondent makes it: authenticated unless the nonces are lost.
    pub(super) fn ack(&mut self, now: Time, status: u8, sequence: u16) -> Output {
        let ack = BindingAck {
            status,
            sequence,
            lifetime: u16::from(status < 128),
            ..BindingAck::default()
        };
        if matches!(status, 136..=138) {
            self.message(now, CLIENT, ANYCAST, Message::BindingAck(ack))
        } else {
            self.sealed(now, ack, &key())
        }
    }

    pub(super) fn accept(&mut self, now: Time, sequence: u16) -> Output {
        let output = self.ack(now, 0, sequence);
        assert_eq!(output.outcome(), Some(HandshakeOutcome::Bound));
        output
    }

    fn sealed(&mut self, now: Time, ack: BindingAck, key: &Kbm) -> Output {
        let ack = Message::BindingAck(BindingAck {
            authenticator: Some([0; 12]),
            ..ack
        });
        let mut octets = rr::build(&ack, CLIENT, ANYCAST).unwrap();
        rr::seal(key, CARE_OF, CLIENT, &mut octets).unwrap();
        self.octets(now, &octets)
    }
}

#[test]
fn an_acceptance_binds_until_16_seconds_after_the_update() {
    for status in [0, 1, 127] {
        let mut bench = Bench::joined();
        let update = bench.tested(at(1000)).update().0;
        let output = bench.ack(at(1800), status, update.sequence);
        assert_eq!(output.outcome(), Some(HandshakeOutcome::Bound));
        assert_eq!(output.quiet(), Some(at(13_000)), "then it is renewed");
        assert_eq!(bench.state(), Some(HandshakeState::Bound));
        bench.due(17_000);
        assert_eq!(bench.count(Counter::HandshakeBound), 1);
    }
}

#[test]
fn the_acknowledgement_of_any_outstanding_update_counts() {
    let mut bench = Bench::joined();
    let first = bench.tested(at(0)).update().0;
    bench.poll(at(1000));
    let output = bench.ack(at(1100), 0, first.sequence);
    assert_eq!(output.quiet(), Some(at(12_000)), "counted from that update");
    // The other answer changes nothing.
    let second = bench.ack(at(1200), 0, first.sequence.wrapping_add(1));
    assert_eq!(second, Output(vec![]));
    assert_eq!(bench.count(Counter::AckUnexpected), 1);
}

#[test]
fn an_acceptance_for_no_time_is_a_refusal() {
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    let ack = BindingAck {
        sequence: update.sequence,
        ..BindingAck::default()
    };
    let output = bench.sealed(at(1), ack, &key());
    assert_eq!(output.outcome(), Some(HandshakeOutcome::Refused(0)));
}

#[test]
fn refusals_leave_the_client_alone() {
    for status in [128, 129, 130, 131, 132, 133, 134, 139, 174, 255] {
        let mut bench = Bench::joined();
        let update = bench.tested(at(0)).update().0;
        let output = bench.ack(at(100), status, update.sequence);
        assert_eq!(output.mobility(), []);
        assert_eq!(output.outcome(), Some(HandshakeOutcome::Refused(status)));
        assert_eq!(output.quiet(), Some(at(5100)));
        assert_eq!(bench.count(Counter::HandshakeRefused), 1);
    }
}

#[test]
fn who_refuses_is_asked_again_soon_and_then_less_often() {
    let mut bench = Bench::joined();
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let update = bench.tested(now).update().0;
        let until = bench.ack(now, 130, update.sequence).quiet().unwrap();
        waits.push(until.since(now).as_secs());
        // It speaks, as was known: what else it says changes nothing.
        let said = bench.message(now, CLIENT, ANYCAST, Message::BindingRefreshRequest);
        assert_eq!(said, Output(vec![]));
        bench.poll(until);
        now = until;
    }
    assert_eq!(waits, [5, 10, 20, 40, 45, 45]);
    let update = bench.tested(now).update().0;
    bench.accept(now, update.sequence);
    assert_eq!(bench.state(), Some(HandshakeState::Bound));
}

#[test]
fn out_of_window_goes_on_with_the_next_number() {
    for ahead in [0, 1, 1000, 0x7fff, 0x8000] {
        let mut bench = Bench::joined();
        let first = bench.tested(at(0)).update().0;
        let last = first.sequence.wrapping_add(ahead);
        let output = bench.ack(at(100), 135, last);
        let (update, octets) = output.update();
        assert_eq!(update.sequence, last.wrapping_add(1));
        let packet = ipv6::Packet::parse(&octets).unwrap();
        assert!(rr::verify(&key(), CARE_OF, CLIENT, &packet));
        // It has the whole time that a first one has.
        bench.due(1100);
        bench.accept(at(1099), update.sequence);
    }
}

#[test]
fn out_of_window_about_an_earlier_update_changes_nothing() {
    let mut bench = Bench::joined();
    let first = bench.tested(at(0)).update().0;
    bench.poll(at(1000));
    let output = bench.ack(at(1001), 135, first.sequence);
    assert_eq!(output, Output(vec![]));
    assert_eq!(bench.count(Counter::AckUnexpected), 1);
}

#[test]
fn three_updates_in_a_row_are_enough() {
    // MAX_UPDATE_RATE: a correspondent that always says 135 gets no more than three in a second.
    let mut bench = Bench::joined();
    let mut sequence = bench.tested(at(0)).update().0.sequence;
    for now in [1, 2] {
        sequence = bench.ack(at(now), 135, sequence).update().0.sequence;
    }
    let output = bench.ack(at(3), 135, sequence);
    assert_eq!(output.outcome(), Some(HandshakeOutcome::Refused(135)));
    assert_eq!(bench.count(Counter::BindingUpdateSent), 3);
}

#[test]
fn expired_nonces_start_a_new_round() {
    for status in [136, 137, 138] {
        let mut bench = Bench::joined();
        let update = bench.tested(at(0)).update().0;
        let output = bench.ack(at(100), status, update.sequence);
        let (home, care_of) = output.cookies();
        bench.home_test(at(200), home);
        let next = bench.care_of_test(at(200), care_of).update().0;
        assert_eq!(next.sequence, update.sequence.wrapping_add(1));
        bench.accept(at(300), next.sequence);
    }
}

#[test]
fn rounds_come_to_an_end() {
    let mut bench = Bench::joined();
    let mut update = bench.tested(at(0)).update().0;
    for now in [1, 2] {
        let (home, care_of) = bench.ack(at(now), 138, update.sequence).cookies();
        bench.home_test(at(now), home);
        update = bench.care_of_test(at(now), care_of).update().0;
    }
    let output = bench.ack(at(3), 138, update.sequence);
    assert_eq!(output.outcome(), Some(HandshakeOutcome::Refused(138)));
    assert_eq!(bench.count(Counter::HomeTestInitSent), 3);
}

#[test]
fn expired_nonces_of_another_update_are_ignored() {
    // These carry no authenticator: the sequence number is what a forger has to guess.
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    let output = bench.ack(at(1), 138, update.sequence.wrapping_add(1));
    assert_eq!(output, Output(vec![]));
    assert_eq!(bench.count(Counter::AckUnexpected), 1);
}

#[test]
fn a_wrong_authenticator_is_ignored() {
    let stranger = Kbm::from([1; 20]);
    for status in [0, 129, 130, 135] {
        let mut bench = Bench::joined();
        let update = bench.tested(at(0)).update().0;
        let ack = BindingAck {
            status,
            sequence: update.sequence,
            lifetime: 1,
            ..BindingAck::default()
        };
        assert_eq!(bench.sealed(at(1), ack, &stranger), Output(vec![]));
        let none = bench.message(at(1), CLIENT, ANYCAST, Message::BindingAck(ack));
        assert_eq!(none, Output(vec![]));
        assert_eq!(bench.count(Counter::AckBadAuthenticator), 2);
        assert_eq!(bench.state(), Some(HandshakeState::Updating));
    }
}

#[test]
fn an_acknowledgement_of_nothing_is_counted() {
    let mut bench = Bench::joined();
    assert_eq!(bench.ack(at(0), 0, 1), Output(vec![]));
    bench.packet_of(at(0), CLIENT);
    assert_eq!(bench.ack(at(1), 0, 1), Output(vec![]));
    assert_eq!(bench.count(Counter::AckUnexpected), 2);
    // The right key and another number.
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    let output = bench.ack(at(1), 0, update.sequence.wrapping_add(1));
    assert_eq!(output, Output(vec![]));
    assert_eq!(bench.count(Counter::AckUnexpected), 1);
}
