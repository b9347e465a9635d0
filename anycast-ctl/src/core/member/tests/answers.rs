//! Tests that were not asked for, and clients that cannot bind.

use anycast_common::wire::{self, icmpv6};

use super::*;

#[test]
fn a_forged_cookie_is_ignored() {
    let mut bench = Bench::joined();
    let (home, care_of) = bench.packet_of(at(0), CLIENT).cookies();
    assert_eq!(bench.home_test(at(1), care_of), Output(vec![]));
    assert_eq!(bench.care_of_test(at(1), home), Output(vec![]));
    assert_eq!(bench.home_test(at(1), [0; 8]), Output(vec![]));
    assert_eq!(bench.count(Counter::TestUnexpected), 3);
    // The true ones still count.
    bench.home_test(at(2), home);
    bench.care_of_test(at(2), care_of).update();
}

#[test]
fn a_test_for_an_earlier_transmission_is_ignored() {
    let mut bench = Bench::joined();
    let (old_home, old_care_of) = bench.packet_of(at(0), CLIENT).cookies();
    let (home, care_of) = bench.poll(at(1000)).cookies();
    bench.home_test(at(1001), old_home);
    bench.care_of_test(at(1001), old_care_of);
    assert_eq!(bench.count(Counter::TestUnexpected), 2);
    bench.home_test(at(1002), home);
    bench.care_of_test(at(1002), care_of).update();
}

#[test]
fn a_second_test_changes_nothing() {
    let mut bench = Bench::joined();
    let (home, _) = bench.packet_of(at(0), CLIENT).cookies();
    bench.home_test(at(1), home);
    bench.home_test(at(1), home);
    assert_eq!(bench.count(Counter::TestUnexpected), 1);
}

#[test]
fn tests_count_only_from_the_client_to_the_right_address() {
    let mut bench = Bench::joined();
    let (home, care_of) = bench.packet_of(at(0), CLIENT).cookies();
    let home_test = Message::HomeTest {
        nonce_index: 3,
        cookie: home,
        token: HOME_TOKEN,
    };
    let care_of_test = Message::CareOfTest {
        nonce_index: 4,
        cookie: care_of,
        token: CARE_OF_TOKEN,
    };
    let stranger: Ipv6Addr = "2001:db8:a::2".parse().unwrap();
    for (source, destination, message) in [
        (CLIENT, CARE_OF, home_test),
        (CLIENT, ANYCAST, care_of_test),
        (stranger, ANYCAST, home_test),
        (stranger, CARE_OF, care_of_test),
        (CLIENT, PLAIN, home_test),
    ] {
        let output = bench.message(at(1), source, destination, message);
        assert_eq!(output, Output(vec![]));
    }
    assert_eq!(bench.count(Counter::TestUnexpected), 5);
    assert_eq!(bench.state(), Some(HandshakeState::Testing));
}

#[test]
fn what_a_correspondent_receives_is_counted() {
    let mut bench = Bench::joined();
    for message in [
        Message::HomeTestInit { cookie: [1; 8] },
        Message::CareOfTestInit { cookie: [1; 8] },
        Message::BindingUpdate(BindingUpdate::default()),
    ] {
        assert_eq!(
            bench.message(at(0), CLIENT, ANYCAST, message),
            Output(vec![])
        );
    }
    assert_eq!(bench.count(Counter::MobilityUnexpected), 3);
    let octets = rr::build(&Message::BindingRefreshRequest, CLIENT, ANYCAST).unwrap();
    let packet = ipv6::Packet::parse(&octets).unwrap();
    bench.run(|member, actions| {
        member.mobility(
            at(0),
            &received(&octets),
            &packet,
            Err(wire::Error::BadChecksum),
            actions,
        );
    });
    assert_eq!(bench.count(Counter::MobilityInvalid), 1);
}

fn binding_error(status: u8) -> Message {
    Message::BindingError {
        status,
        home_address: Ipv6Addr::UNSPECIFIED,
    }
}

#[track_caller]
fn assert_not_capable(bench: &mut Bench, output: &Output) {
    assert_eq!(output.outcome(), Some(HandshakeOutcome::NotCapable));
    assert_eq!(output.quiet(), Some(at(45_100)));
    assert_eq!(bench.count(Counter::ClientNotCapable), 1);
    // It is remembered, and tried again before a minute is over: a gateway may have come.
    assert_eq!(bench.packet_of(at(45_000), CLIENT).mobility(), []);
    bench.poll(at(45_100));
    assert_eq!(bench.packet_of(at(45_100), CLIENT).mobility().len(), 2);
}

/// It has answered tests, and now somebody says without a cookie that it knows nothing of them.
#[track_caller]
fn assert_doubtful(bench: &Bench, output: &Output) {
    assert_eq!(output.outcome(), Some(HandshakeOutcome::NotCapable));
    assert_eq!(output.quiet(), Some(at(15_100)));
    assert_eq!(bench.count(Counter::ClientNotCapable), 1);
}

#[test]
fn a_binding_error_2_says_that_the_client_cannot() {
    for destination in [ANYCAST, CARE_OF] {
        let mut bench = Bench::joined();
        bench.packet_of(at(0), CLIENT);
        let output = bench.message(at(100), CLIENT, destination, binding_error(2));
        assert_not_capable(&mut bench, &output);

        let mut bench = Bench::joined();
        bench.tested(at(0));
        let output = bench.message(at(100), CLIENT, destination, binding_error(2));
        assert_doubtful(&bench, &output);
    }
}

#[test]
fn a_binding_error_is_ignored_where_nothing_is_expected() {
    let mut bench = Bench::joined();
    bench.message(at(0), CLIENT, ANYCAST, binding_error(2));
    let update = bench.tested(at(0)).update().0;
    bench.message(at(1), CLIENT, ANYCAST, binding_error(1));
    bench.accept(at(2), update.sequence);
    bench.message(at(3), CLIENT, ANYCAST, binding_error(2));
    assert_eq!(bench.state(), Some(HandshakeState::Bound));
    assert_eq!(bench.count(Counter::MobilityUnexpected), 3);
}

impl Bench {
    pub(super) fn icmp(
        &mut self,
        now: Time,
        kind: (u8, u8),
        to: Ipv6Addr,
        quoted: &[u8],
    ) -> Output {
        let mut buffer = [0; icmpv6::MAX_ERROR_LEN];
        let (kind, code) = kind;
        let length = icmpv6::error(&mut buffer, CLIENT, to, kind, code, 6, quoted).unwrap();
        let packet = ipv6::Packet::parse(&buffer[..length]).unwrap();
        let received = received(&buffer[..length]);
        self.run(|member, actions| member.icmp_error(now, &received, &packet, actions))
    }
}

pub(super) const UNRECOGNIZED: (u8, u8) =
    (icmpv6::PARAMETER_PROBLEM, icmpv6::UNRECOGNIZED_NEXT_HEADER);

#[test]
fn a_parameter_problem_that_quotes_our_message_says_that_the_client_cannot() {
    for nth in [0, 1] {
        let mut bench = Bench::joined();
        let sent = bench.packet_of(at(0), CLIENT).mobility()[nth].clone();
        let output = bench.icmp(at(100), UNRECOGNIZED, sent.source, &sent.octets);
        assert_not_capable(&mut bench, &output);
    }
    let mut bench = Bench::joined();
    let (_, octets) = bench.tested(at(0)).update();
    let output = bench.icmp(at(100), UNRECOGNIZED, ANYCAST, &octets);
    assert_doubtful(&bench, &output);
}

#[test]
fn a_client_that_cannot_says_so_about_each_message_once() {
    let mut bench = Bench::joined();
    let sent = bench.packet_of(at(0), CLIENT).mobility();
    for Sent { source, octets, .. } in &sent {
        bench.icmp(at(100), UNRECOGNIZED, *source, octets);
    }
    assert_eq!(bench.count(Counter::ClientNotCapable), 1);
    assert_eq!(bench.count(Counter::MobilityUnexpected), 0);
    for Sent { source, octets, .. } in &sent {
        bench.icmp(at(101), UNRECOGNIZED, *source, octets);
    }
    assert_eq!(bench.count(Counter::MobilityUnexpected), 2);

    let mut bench = Bench::joined();
    bench.packet_of(at(0), CLIENT);
    for expected in [0, 0, 1] {
        bench.message(at(100), CLIENT, ANYCAST, binding_error(2));
        assert_eq!(bench.count(Counter::MobilityUnexpected), expected);
    }
    assert_eq!(bench.count(Counter::ClientNotCapable), 1);

    // One was answered, so only the other can be refused.
    let mut bench = Bench::joined();
    let (home, _) = bench.packet_of(at(0), CLIENT).cookies();
    bench.home_test(at(1), home);
    for expected in [0, 1] {
        bench.message(at(100), CLIENT, ANYCAST, binding_error(2));
        assert_eq!(bench.count(Counter::MobilityUnexpected), expected);
    }
}

#[test]
fn other_icmp_errors_say_nothing() {
    let mut bench = Bench::joined();
    let sent = bench.packet_of(at(0), CLIENT).mobility()[0].clone();
    for kind in [(1, 0), (1, 4), (2, 0), (3, 0), (4, 0), (4, 2), (4, 3)] {
        let output = bench.icmp(at(1), kind, ANYCAST, &sent.octets);
        assert_eq!(output, Output(vec![]), "{kind:?}");
    }
    assert_eq!(bench.count(Counter::IcmpErrorIgnored), 7);
    assert_eq!(bench.state(), Some(HandshakeState::Testing));
}

#[test]
fn an_error_that_quotes_what_we_did_not_send_is_ignored() {
    let mut bench = Bench::joined();
    bench.packet_of(at(0), CLIENT);
    for (message, source) in [
        (Message::HomeTestInit { cookie: [1; 8] }, ANYCAST),
        (Message::CareOfTestInit { cookie: [1; 8] }, CARE_OF),
        (Message::BindingUpdate(BindingUpdate::default()), ANYCAST),
        (Message::BindingRefreshRequest, ANYCAST),
    ] {
        let quoted = rr::build(&message, source, CLIENT).unwrap();
        let output = bench.icmp(at(1), UNRECOGNIZED, source, &quoted);
        assert_eq!(output, Output(vec![]));
    }
    assert_eq!(bench.count(Counter::MobilityUnexpected), 3);
    assert_eq!(bench.count(Counter::IcmpErrorIgnored), 1);
    // Too little of it to tell.
    let quoted = rr::build(&Message::HomeTestInit { cookie: [1; 8] }, ANYCAST, CLIENT).unwrap();
    bench.icmp(at(1), UNRECOGNIZED, ANYCAST, &quoted[..44]);
    assert_eq!(bench.count(Counter::IcmpErrorInvalid), 1);
    // Another protocol.
    let mut other = quoted;
    other[6] = ipv6::NEXT_HEADER_SCTP;
    bench.icmp(at(1), UNRECOGNIZED, ANYCAST, &other);
    assert_eq!(bench.count(Counter::IcmpErrorIgnored), 2);
    assert_eq!(bench.state(), Some(HandshakeState::Testing));
}

#[test]
fn forged_messages_do_not_keep_a_bound_client_away_for_long() {
    // Neither carries anything that only the client could know.
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    bench.accept(at(100), update.sequence);
    bench.message(at(200), CLIENT, ANYCAST, Message::BindingRefreshRequest);
    let error = Message::BindingError {
        status: 2,
        home_address: Ipv6Addr::UNSPECIFIED,
    };
    let output = bench.message(at(300), CLIENT, ANYCAST, error);
    assert_eq!(output.outcome(), Some(HandshakeOutcome::NotCapable));
    assert_eq!(output.quiet(), Some(at(15_300)));
}

#[test]
fn a_binding_that_is_being_renewed_can_be_deleted() {
    let renewing = || {
        let mut bench = Bench::joined();
        let update = bench.tested(at(0)).update().0;
        bench.accept(at(100), update.sequence);
        bench.message(at(200), CLIENT, ANYCAST, Message::BindingRefreshRequest);
        assert_eq!(bench.state(), Some(HandshakeState::Testing));
        bench
    };
    let mut bench = renewing();
    let output = bench.run(|member, actions| member.shutdown(at(300), actions));
    assert_eq!(output.update().0.lifetime, 0);
    let mut bench = renewing();
    bench.run(|member, actions| member.leave(at(300), ANYCAST, actions).unwrap());
    assert_eq!(bench.state(), Some(HandshakeState::Bound));
    let output = bench.run(|member, actions| member.shutdown(at(400), actions));
    assert_eq!(output.update().0.lifetime, 0);
}

#[test]
fn a_refresh_request_renews_a_binding_and_starts_none() {
    let mut bench = Bench::joined();
    let request = Message::BindingRefreshRequest;
    assert_eq!(
        bench.message(at(0), CLIENT, ANYCAST, request),
        Output(vec![])
    );
    assert_eq!(bench.count(Counter::MobilityUnexpected), 1);

    let update = bench.tested(at(0)).update().0;
    bench.accept(at(100), update.sequence);
    let output = bench.message(at(200), CLIENT, ANYCAST, request);
    let (home, care_of) = output.cookies();
    // Once is enough.
    assert_eq!(
        bench.message(at(300), CLIENT, ANYCAST, request),
        Output(vec![])
    );
    bench.home_test(at(400), home);
    let renewal = bench.care_of_test(at(400), care_of).update().0;
    assert_eq!(renewal.sequence, update.sequence.wrapping_add(1));
    assert_eq!(
        bench.accept(at(500), renewal.sequence).quiet(),
        Some(at(12_400))
    );
}
