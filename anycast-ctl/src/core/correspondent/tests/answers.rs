//! Tests, Binding Errors and Parameter Problems: what is answered without state.

use super::*;
use crate::core::rr::tests::checksummed;

#[test]
fn tests_are_answered_with_the_cookie_and_leave_no_state() {
    let mut bench = Bench::new(settings());
    let home = bench.home_test(at(1));
    let care_of = bench.care_of_test(at(1), CARE_OF);
    // One nonce serves everybody at one time; the tokens differ all the same.
    assert_eq!(home.index, care_of.index);
    assert_ne!(home.token.expose(), care_of.token.expose());
    assert_eq!(bench.correspondent.deadline(), None);
    assert_eq!(bench.correspondent.bindings(at(1)), []);
    assert_eq!(bench.count(Counter::HomeTestSent), 1);
    assert_eq!(bench.count(Counter::CareOfTestSent), 1);
}

#[test]
fn tokens_depend_on_the_asking_address_only() {
    let mut bench = Bench::new(settings());
    let one = bench.care_of_test(at(1), CARE_OF);
    let other = bench.care_of_test(at(1), OTHER_CARE_OF);
    let again = bench.care_of_test(at(29), CARE_OF);
    assert_ne!(one.token.expose(), other.token.expose());
    assert_eq!(one.token.expose(), again.token.expose());
}

#[test]
fn a_test_init_with_a_home_address_option_is_ignored() {
    // RFC 6275 sections 9.4.1 and 9.4.2. The parser may have said so, or left it to us.
    for cookie in [
        Message::HomeTestInit { cookie: COOKIE },
        Message::CareOfTestInit { cookie: COOKIE },
    ] {
        for message in [Ok(cookie), Err(wire::Error::HomeAddressOption)] {
            let mut bench = Bench::new(settings());
            let octets = rr::build(&cookie, CARE_OF, CLIENT).unwrap();
            let mut packet = ipv6::Packet::parse(&octets).unwrap();
            packet.home_address = Some(ANYCAST);
            let received = Received {
                ifindex: 1,
                mac: [0; 6],
                packet: &octets,
            };
            let mut actions = Vec::new();
            bench
                .correspondent
                .mobility(at(1), &received, &packet, message, &mut actions);
            Output { actions }.assert_silent(Counter::TestInitHomeAddress);
        }
    }
}

#[test]
fn nothing_is_answered_to_an_address_that_is_not_one_node() {
    for source in ["fe80::1", "ff02::1", "::", "::1", "::ffff:192.0.2.1"] {
        let source: Ipv6Addr = source.parse().unwrap();
        for message in [
            Message::HomeTestInit { cookie: COOKIE },
            Message::CareOfTestInit { cookie: COOKIE },
            Message::BindingUpdate(BindingUpdate::default()),
            Message::Unknown { mh_type: 99 },
        ] {
            let mut bench = Bench::new(settings());
            let octets = match message {
                Message::Unknown { .. } => unknown_type(source, CLIENT),
                _ => rr::build(&message, source, CLIENT).unwrap(),
            };
            let output = bench.octets(at(1), &octets);
            output.assert_silent(Counter::MobilityBadSource);
        }
    }
}

#[test]
fn only_clients_are_answered_for() {
    let stranger: Ipv6Addr = "2001:db8:aa::1".parse().unwrap();
    for (message, counter) in [
        (
            Message::HomeTestInit { cookie: COOKIE },
            Counter::MobilityUnexpected,
        ),
        (
            Message::BindingUpdate(BindingUpdate::default()),
            Counter::BindingUpdateNotOurs,
        ),
    ] {
        let mut bench = Bench::new(settings());
        let output = bench.message(at(1), ANYCAST, stranger, &message);
        output.assert_silent(counter);
    }
}

#[test]
fn what_a_mobile_node_receives_is_counted() {
    for message in [
        Message::BindingRefreshRequest,
        Message::BindingAck(BindingAck::default()),
        Message::BindingError {
            status: 1,
            home_address: ANYCAST,
        },
        Message::HomeTest {
            nonce_index: 1,
            cookie: COOKIE,
            token: [0; 8],
        },
        Message::CareOfTest {
            nonce_index: 1,
            cookie: COOKIE,
            token: [0; 8],
        },
    ] {
        let mut bench = Bench::new(settings());
        let output = bench.message(at(1), ANYCAST, CLIENT, &message);
        output.assert_silent(Counter::MobilityUnexpected);
    }
}

/// A Home Test Init whose MH Type is made 99, checksum right.
fn unknown_type(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let init = Message::HomeTestInit { cookie: COOKIE };
    let mut octets = rr::build(&init, source, destination).unwrap();
    octets[42] = 99;
    checksummed(octets)
}

#[test]
fn an_unknown_type_gets_a_binding_error() {
    let mut bench = Bench::new(settings());
    let output = bench.octets(at(1), &unknown_type(ANYCAST, CLIENT));
    let error = Message::BindingError {
        status: 2,
        home_address: Ipv6Addr::UNSPECIFIED,
    };
    assert_eq!(output.messages(), [(CLIENT, ANYCAST, error)]);
}

#[test]
fn binding_errors_are_limited() {
    let mut settings = settings();
    settings.limits.errors = Rate::per_second(1, 2);
    let mut bench = Bench::new(settings);
    let octets = unknown_type(ANYCAST, CLIENT);
    let sent = |bench: &mut Bench, now| bench.octets(now, &octets).packets().count();
    assert_eq!(sent(&mut bench, at(1)), 1);
    assert_eq!(sent(&mut bench, at(1)), 1);
    assert_eq!(sent(&mut bench, at(1)), 0);
    assert_eq!(sent(&mut bench, at(2)), 1);
    assert_eq!(bench.count(Counter::ErrorLimited), 1);
    assert_eq!(bench.count(Counter::BindingErrorSent), 3);
}

/// The Parameter Problem of an output: pointer, and what it quotes.
fn parameter_problem(output: &Output) -> (u32, Vec<u8>) {
    let octets = output.packets().next().unwrap();
    let packet = ipv6::Packet::parse(octets).unwrap();
    assert_eq!((packet.source, packet.destination), (CLIENT, ANYCAST));
    let icmp = icmpv6::Message::parse(&packet).unwrap();
    assert_eq!((icmp.message_type, icmp.code), (4, 0));
    (icmp.field, icmp.quoted.to_vec())
}

#[test]
fn a_payload_behind_the_header_gets_a_parameter_problem() {
    let mut bench = Bench::new(settings());
    let init = Message::HomeTestInit { cookie: COOKIE };
    let mut octets = rr::build(&init, ANYCAST, CLIENT).unwrap();
    octets[40] = 6;
    let octets = checksummed(octets);
    let output = bench.octets(at(1), &octets);
    assert_eq!(parameter_problem(&output), (40, octets));
    assert_eq!(bench.count(Counter::MobilityInvalid), 1);
    assert_eq!(bench.count(Counter::ParameterProblemSent), 1);
}

#[test]
fn a_header_too_short_for_its_type_gets_a_parameter_problem() {
    let mut bench = Bench::new(settings());
    let refresh = Message::BindingRefreshRequest;
    let mut octets = rr::build(&refresh, ANYCAST, CLIENT).unwrap();
    // Eight octets are enough for a Binding Refresh Request and not for a Home Test Init.
    octets[42] = 1;
    let octets = checksummed(octets);
    let output = bench.octets(at(1), &octets);
    assert_eq!(parameter_problem(&output), (41, octets));
}

#[test]
fn parameter_problems_are_limited() {
    let mut settings = settings();
    settings.limits.errors = Rate::per_second(1, 2);
    let mut bench = Bench::new(settings);
    let init = Message::HomeTestInit { cookie: COOKIE };
    let mut octets = rr::build(&init, ANYCAST, CLIENT).unwrap();
    octets[40] = 6;
    let octets = checksummed(octets);
    let sent = |bench: &mut Bench| bench.octets(at(1), &octets).packets().count();
    let sent = [(); 3].map(|()| sent(&mut bench));
    assert_eq!(sent, [1, 1, 0]);
    assert_eq!(bench.count(Counter::ErrorLimited), 1);
    assert_eq!(bench.count(Counter::ParameterProblemSent), 2);
}

#[test]
fn a_wrong_checksum_gets_nothing() {
    let mut bench = Bench::new(settings());
    let init = Message::HomeTestInit { cookie: COOKIE };
    let mut octets = rr::build(&init, ANYCAST, CLIENT).unwrap();
    octets[50] ^= 1;
    let output = bench.octets(at(1), &octets);
    output.assert_silent(Counter::MobilityInvalid);
}

#[test]
fn answers_are_limited_per_prefix_and_whole() {
    let mut settings = settings();
    settings.limits.per_prefix = Rate::per_second(1, 2);
    settings.limits.whole = Rate::per_second(1, 3);
    let mut bench = Bench::new(settings);
    let init = Message::HomeTestInit { cookie: COOKIE };
    let mut sent = |source: &str| {
        let source = source.parse().unwrap();
        let output = bench.message(at(1), source, CLIENT, &init);
        output.packets().count()
    };
    assert_eq!(sent("2001:db8:1::1"), 1);
    assert_eq!(sent("2001:db8:1::2"), 1);
    assert_eq!(sent("2001:db8:1::3"), 0, "the /64 has had its share");
    assert_eq!(sent("2001:db8:2::1"), 1);
    assert_eq!(sent("2001:db8:3::1"), 0, "all have had theirs");
    assert_eq!(bench.count(Counter::AnswerLimited), 2);
}

#[test]
fn who_is_held_back_by_the_whole_limit_keeps_the_share_of_its_prefix() {
    let mut settings = settings();
    settings.limits.per_prefix = Rate {
        every: Duration::from_secs(60),
        burst: 1,
    };
    settings.limits.whole = Rate::per_second(1, 1);
    let mut bench = Bench::new(settings);
    let init = Message::HomeTestInit { cookie: COOKIE };
    let mut sent = |now, source: &str| {
        let source = source.parse().unwrap();
        let output = bench.message(now, source, CLIENT, &init);
        output.packets().count()
    };
    assert_eq!(sent(at(1), "2001:db8:1::1"), 1);
    assert_eq!(sent(at(1), "2001:db8:2::1"), 0);
    assert_eq!(sent(at(2), "2001:db8:2::1"), 1);
}

#[test]
fn a_flood_of_refusals_is_not_a_flood_of_notices() {
    let mut bench = Bench::new(settings());
    let told: usize = (0..1000)
        .map(|_| {
            let output = bench.message(at(1), ANYCAST, CLIENT, &Message::BindingRefreshRequest);
            output.refusals().len()
        })
        .sum();
    assert_eq!(told, 20);
    assert_eq!(bench.count(Counter::MobilityUnexpected), 1000);
}

#[test]
fn test_inits_leave_the_share_of_binding_updates() {
    let mut settings = settings();
    settings.limits.per_prefix = Rate::per_second(1, 2);
    settings.limits.whole = Rate::per_second(1, 3);
    let mut bench = Bench::new(settings);
    let peer = bench.peer(at(1));
    let init = Message::HomeTestInit { cookie: COOKIE };
    for source in 0..100 {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 1, source, 0, 0, 0, 1);
        bench.message(at(1), source, CLIENT, &init);
        bench.message(at(1), ANYCAST, CLIENT, &init);
    }
    assert!(bench.count(Counter::AnswerLimited) > 190);
    assert_eq!(bench.update(at(1), &peer, peer.good(1)).ack().status, 0);
}

/// One packet for one packet, and these octets for those: the numbers of docs/protocol.md.
#[test]
fn an_answer_is_hardly_larger_than_its_question() {
    let lengths = |bench: &mut Bench, octets: &[u8]| {
        let output = bench.octets(at(1), octets);
        let answers: Vec<usize> = output.packets().map(<[u8]>::len).collect();
        let [answer] = answers[..] else {
            panic!("{answers:?}")
        };
        (octets.len(), answer)
    };
    let mut bench = Bench::new(settings());
    for init in [
        Message::HomeTestInit { cookie: COOKIE },
        Message::CareOfTestInit { cookie: COOKIE },
    ] {
        let octets = rr::build(&init, ANYCAST, CLIENT).unwrap();
        assert_eq!(lengths(&mut bench, &octets), (56, 64));
    }
    let peer = bench.peer(at(1));
    let update = peer.sealed(peer.good(1));
    let (length, ack) = lengths(&mut bench, &update);
    assert!(ack < length, "{ack} for {length}");
    let expired = BindingUpdate {
        nonce_indices: Some((1, 2)),
        ..peer.good(2)
    };
    let (length, ack) = lengths(&mut bench, &peer.sealed(expired));
    assert!(ack < length, "{ack} for {length}");

    // The least Mobility Header, of a type that nobody knows, and of one that needs more.
    let mut unknown = unknown_type(ANYCAST, CLIENT);
    unknown.truncate(48);
    unknown[5] = 8;
    unknown[41] = 0;
    let mut short = unknown.clone();
    short[42] = 1;
    assert_eq!(lengths(&mut bench, &checksummed(unknown)), (48, 64));
    assert_eq!(lengths(&mut bench, &checksummed(short)), (48, 96));
}
