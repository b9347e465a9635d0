//! What ends the time in which a client is left alone.

use super::*;

/// A client that did not answer; it is left alone from 15 to 30 seconds.
fn silent() -> (Bench, Cookie) {
    let mut bench = Bench::joined();
    let mut cookie = bench.packet_of(at(0), CLIENT).cookies().0;
    for seconds in [1, 3, 7] {
        cookie = bench.poll(at(seconds * 1000)).cookies().0;
    }
    bench.poll(at(15_000));
    assert_eq!(bench.state(), Some(HandshakeState::BackOff));
    (bench, cookie)
}

#[test]
fn other_addresses_of_this_member_end_it() {
    let [other, third]: [Ipv6Addr; 2] =
        ["2001:db8:1::c2", "2001:db8:1::c3"].map(|text| text.parse().unwrap());
    let mut moved = settings();
    moved.groups[0].care_of = Some(other);
    // A second member has come: from now on our cookies begin with our name.
    let mut joined_by = settings();
    joined_by.groups[0].peers = Peers::new(CARE_OF, [third.into()]).unwrap();
    for (settings, source) in [(moved, other), (joined_by.clone(), CARE_OF)] {
        let named = settings.groups[0].peers.own();
        let (mut bench, before) = silent();
        let output = bench.reconfigure(at(16_000), settings);
        assert_eq!(output.quiet(), Some(at(16_000)));
        let sent = bench.packet_of(at(16_001), CLIENT);
        let sources = sent.mobility().into_iter().map(|sent| sent.source);
        assert_eq!(sources.collect::<Vec<_>>(), [ANYCAST, source]);
        let begins = |cookie: Cookie| u16::from_be_bytes([cookie[0], cookie[1]]);
        if let Some(name) = named {
            assert_eq!(begins(sent.cookies().0), name);
            assert_ne!(begins(before), name);
        }
    }
    // What changed nothing about them does not.
    let (mut bench, _) = silent();
    let mut same = settings();
    same.groups[1].peers = Peers::new(CARE_OF, [third.into()]).unwrap();
    bench.reconfigure(at(16_000), same);
    assert_eq!(bench.state(), Some(HandshakeState::BackOff));
    // A binding that is renewed has the name too.
    let mut bench = Bench::joined();
    let update = bench.tested(at(0)).update().0;
    bench.accept(at(1), update.sequence);
    bench.reconfigure(at(2), joined_by.clone());
    assert_eq!(bench.state(), Some(HandshakeState::Bound));
    let renewal = bench.packet_of(at(14_000), CLIENT).cookies().0;
    assert_eq!(
        Some(u16::from_be_bytes([renewal[0], renewal[1]])),
        joined_by.groups[0].peers.own()
    );
}

fn quiet(client: Ipv6Addr, until: Time) -> Action {
    Action::Map(MapAction::QuietClient {
        client,
        anycast: ANYCAST,
        until,
    })
}

#[test]
fn whatever_a_client_says_of_the_protocol_ends_it() {
    let ack = Message::BindingAck(Default::default());
    for message in [ack, Message::BindingRefreshRequest] {
        let (mut bench, _) = silent();
        let output = bench.message(at(16_000), CLIENT, ANYCAST, message);
        assert_eq!(
            output.quiet(),
            Some(at(16_000)),
            "the next packet is told of"
        );
        assert_eq!(output.mobility(), [], "nothing goes out for a forged one");
        assert_eq!(bench.state(), Some(HandshakeState::Resting));
        assert_eq!(bench.count(Counter::BackOffEnded), 1);
        assert_eq!(bench.packet_of(at(16_001), CLIENT).mobility().len(), 2);
    }
    for late in [true, false] {
        let (mut bench, cookie) = silent();
        let cookie = if late { cookie } else { [7; 8] };
        bench.home_test(at(16_000), cookie);
        assert_eq!(bench.count(Counter::TestUnexpected), 1);
        assert_eq!(bench.state(), Some(HandshakeState::Resting));
        let (mut bench, _) = silent();
        bench.care_of_test(at(16_000), cookie);
        assert_eq!(bench.state(), Some(HandshakeState::Resting));
    }
}

#[test]
fn what_says_that_it_does_not_know_the_protocol_does_not() {
    let (mut bench, _) = silent();
    let error = Message::BindingError {
        status: 2,
        home_address: Ipv6Addr::UNSPECIFIED,
    };
    bench.message(at(16_000), CLIENT, ANYCAST, error);
    // Nor does another client.
    let other = "2001:db8:a::2".parse().unwrap();
    bench.message(at(16_000), other, ANYCAST, Message::BindingRefreshRequest);
    assert_eq!(bench.state(), Some(HandshakeState::BackOff));
    assert_eq!(bench.count(Counter::BackOffEnded), 0);
}

#[test]
fn a_client_behind_a_new_gateway_is_found_within_a_minute() {
    // Whenever the gateway comes: the client sends on, and its answers come from then on.
    for comes in 0..200 {
        let mut bench = Bench::joined();
        let mut found = None;
        for second in 0..300 {
            let now = at(second * 1000);
            let mut output = bench.poll(now);
            output.0.extend(bench.packet_of(now, CLIENT).0);
            if second >= comes && !output.mobility().is_empty() {
                found = Some(second - comes);
                break;
            }
        }
        assert!(found.is_some_and(|after| after < 60), "{comes}: {found:?}");
    }
}

#[test]
fn clients_that_came_to_nothing_wait_for_those_that_are_new() {
    let client = |host: u16, prefix: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xa, prefix, 0, 0, 0, host);
    let mut settings = settings();
    settings.handshake.whole = Rate::per_second(40, 80);
    let mut bench = Bench::with(settings);
    for host in 0..80 {
        assert_eq!(
            bench.packet_of(at(0), client(host, host)).mobility().len(),
            2
        );
    }
    while bench.count(Counter::HandshakeNoAnswer) < 80 {
        let now = bench.0.deadline().unwrap();
        bench.poll(now);
    }
    bench.poll(at(30_000));
    // A quarter of the rate is theirs, and the rest goes to others.
    let tried: Vec<usize> = (0..80)
        .map(|host| {
            bench
                .packet_of(at(30_000), client(host, host))
                .mobility()
                .len()
        })
        .collect();
    assert_eq!(tried.iter().filter(|sent| **sent == 2).count(), 20);
    assert_eq!(bench.count(Counter::HandshakePostponed), 60);
    let new = (0..100).filter(|host| {
        let output = bench.packet_of(at(30_000), client(100 + host, 100 + host));
        output.mobility().len() == 2
    });
    assert_eq!(new.count(), 60);
    // They wait as long as clients are left alone, and are not taken for new ones after that.
    let waits = bench.packet_of(at(30_001), client(79, 79));
    assert_eq!(waits, Output(vec![quiet(client(79, 79), at(75_001))]));
    bench.poll(at(76_000));
    let view = bench.0.handshakes(at(76_000));
    let known = view
        .iter()
        .find(|view| view.client == client(79, 79))
        .unwrap();
    assert_eq!((known.state, known.failures), (HandshakeState::Resting, 1));
}

#[test]
fn a_flush_forgets_what_is_known() {
    let second: Ipv6Addr = "2001:db8:a::2".parse().unwrap();
    let known = |bench: &Bench| -> Vec<Ipv6Addr> {
        let views = bench.0.handshakes(at(16_000));
        views.iter().map(|view| view.client).collect()
    };
    let both = || {
        let mut bench = silent().0;
        bench.packet_of(at(16_000), second);
        assert_eq!(known(&bench), [CLIENT, second]);
        bench
    };
    let flush = |bench: &mut Bench, client, anycast, care_of| {
        let mut forgotten = 0;
        let which = HandshakeFilter { client, anycast };
        let output = bench.run(|member, actions| {
            forgotten = member.flush(at(16_000), which, care_of, actions);
        });
        (forgotten, output)
    };
    let mut bench = both();
    let (forgotten, output) = flush(&mut bench, Some(CLIENT), None, None);
    assert_eq!((forgotten, known(&bench)), (1, vec![second]));
    assert_eq!(output.quiet(), Some(at(16_000)));
    assert_eq!(bench.packet_of(at(16_000), CLIENT).mobility().len(), 2);

    let (forgotten, _) = flush(&mut bench, None, None, None);
    assert_eq!((forgotten, known(&bench)), (2, vec![]));
    assert_eq!(bench.0.deadline(), None);

    for (care_of, expected) in [(CARE_OF, 2), ("2001:db8:c::9".parse().unwrap(), 0)] {
        let forgotten = flush(&mut both(), None, None, Some(care_of)).0;
        assert_eq!(forgotten, expected);
    }
    for (anycast, expected) in [(ANYCAST, 2), (PLAIN, 0)] {
        let forgotten = flush(&mut both(), None, Some(anycast), None).0;
        assert_eq!(forgotten, expected);
    }

    // One that was forgotten for want of room is told of again all the same.
    let stranger = "2001:db8:a::3".parse().unwrap();
    let (forgotten, output) = flush(&mut both(), Some(stranger), None, None);
    assert_eq!(forgotten, 0);
    assert_eq!(output, Output(vec![quiet(stranger, at(16_000))]));
}
