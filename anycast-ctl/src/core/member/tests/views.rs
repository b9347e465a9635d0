//! What the operator sees of handshakes.

use anycast_common::wire::icmpv6;

use super::*;

fn view(bench: &Bench, now: Time) -> HandshakeView {
    let views = bench.0.handshakes(now);
    assert_eq!(views.len(), 1);
    views[0].clone()
}

#[test]
fn a_handshake_says_what_it_waits_for_and_since_when() {
    let mut bench = Bench::joined();
    let (home, care_of) = bench.packet_of(at(1000), CLIENT).cookies();
    let known = view(&bench, at(1400));
    assert_eq!(known.state, HandshakeState::Testing);
    assert_eq!(known.waiting_for, [Awaited::HomeTest, Awaited::CareOfTest]);
    assert_eq!((known.attempts, known.failures), (1, 0));
    assert_eq!(known.since, Duration::from_millis(400));
    assert_eq!(known.remaining, Duration::from_millis(600));
    assert_eq!((known.heard, known.alone), (None, None));

    bench.home_test(at(1500), home);
    let known = view(&bench, at(1600));
    assert_eq!(known.waiting_for, [Awaited::CareOfTest]);
    assert_eq!(known.since, Duration::from_millis(600));

    let update = bench.care_of_test(at(1700), care_of).update().0;
    let known = view(&bench, at(1800));
    assert_eq!(known.state, HandshakeState::Updating);
    assert_eq!(known.waiting_for, [Awaited::BindingAck]);
    assert_eq!(known.attempts, 2);
    assert_eq!(known.since, Duration::from_millis(100));
    assert_eq!(bench.0.under_way(), 1);

    bench.accept(at(1900), update.sequence);
    let known = view(&bench, at(2900));
    assert_eq!(known.state, HandshakeState::Bound);
    assert_eq!(known.waiting_for, []);
    assert_eq!(known.since, Duration::from_secs(1));
    assert_eq!(known.heard, Some(Heard::BindingAck(0)));
    assert_eq!(bench.0.under_way(), 0);
}

#[test]
fn a_client_that_is_left_alone_says_why() {
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    bench.ack(at(100), 130, update.sequence);
    let known = view(&bench, at(200));
    assert_eq!(known.state, HandshakeState::BackOff);
    assert_eq!(known.alone, Some(HandshakeOutcome::Refused(130)));
    assert_eq!(known.heard, Some(Heard::BindingAck(130)));
    assert_eq!(known.failures, 1);
    assert_eq!(known.remaining, Duration::from_millis(4900));

    let mut bench = Bench::joined();
    bench.packet_of(at(0), CLIENT);
    let error = Message::BindingError {
        status: 2,
        home_address: Ipv6Addr::UNSPECIFIED,
    };
    bench.message(at(100), CLIENT, ANYCAST, error);
    let known = view(&bench, at(200));
    assert_eq!(known.alone, Some(HandshakeOutcome::NotCapable));
    assert_eq!(known.heard, Some(Heard::BindingError(2)));

    let mut bench = Bench::joined();
    let init = bench.packet_of(at(0), CLIENT).mobility().remove(0);
    let mut problem = [0; icmpv6::MAX_ERROR_LEN];
    let code = icmpv6::UNRECOGNIZED_NEXT_HEADER;
    let kind = icmpv6::PARAMETER_PROBLEM;
    let length = icmpv6::error(&mut problem, CLIENT, ANYCAST, kind, code, 6, &init.octets).unwrap();
    let packet = ipv6::Packet::parse(&problem[..length]).unwrap();
    let received = received(&problem[..length]);
    bench.run(|member, actions| member.icmp_error(at(100), &received, &packet, actions));
    let known = view(&bench, at(200));
    assert_eq!(known.alone, Some(HandshakeOutcome::NotCapable));
    assert_eq!(known.heard, Some(Heard::ParameterProblem));

    let mut bench = Bench::joined();
    bench.packet_of(at(0), CLIENT);
    while bench.state() != Some(HandshakeState::BackOff) {
        let now = bench.0.deadline().unwrap();
        bench.poll(now);
    }
    let known = view(&bench, at(16_000));
    assert_eq!(known.alone, Some(HandshakeOutcome::NoAnswer));
    assert_eq!((known.attempts, known.heard), (4, None));
    // When it is over, nothing is said any more, and the failure is remembered.
    bench.poll(at(75_000));
    let known = view(&bench, at(75_000));
    assert_eq!((known.alone, known.failures), (None, 1));
}

#[test]
fn every_client_is_on_one_page() {
    let mut bench = Bench::joined();
    let client = |number| Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 1);
    for number in 1..=25 {
        bench.packet_of(at(0), client(number));
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let which = HandshakeFilter::default();
        let (rows, next) = bench.0.handshakes_page(at(0), which, after, 10);
        assert!(rows.len() <= 10);
        seen.extend(rows.iter().map(|row| row.client));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=25).map(client).collect::<Vec<_>>());
    let rows = |client, anycast| {
        let which = HandshakeFilter { client, anycast };
        bench.0.handshakes_page(at(0), which, None, 10).0.len()
    };
    assert_eq!(rows(Some(client(7)), None), 1);
    assert_eq!(rows(Some(client(7)), Some(ANYCAST)), 1);
    assert_eq!(rows(None, Some(PLAIN)), 0);
}

#[test]
fn the_monitor_is_told_of_the_start_and_of_leaving() {
    let mut bench = Bench::joined();
    let started = bench.packet_of(at(0), CLIENT);
    let notice = Notice::HandshakeStarted {
        client: CLIENT,
        anycast: ANYCAST,
    };
    assert!(started.0.contains(&Action::Notice(notice)));
    // What is sent again is the same handshake.
    let again = bench.poll(at(1000));
    assert!(!again.0.iter().any(|a| matches!(a, Action::Notice(_))));
    let left = bench.run(|member, actions| member.leave(at(1500), ANYCAST, actions).unwrap());
    assert_eq!(left.outcome(), Some(HandshakeOutcome::Left));
    assert_eq!(bench.count(Counter::HandshakeLeft), 1);
}
