//! What is handed on to another member of the group, octet by octet, and what is taken from one.

use anycast_common::wire::icmpv6;

use super::{answers::UNRECOGNIZED, *};

const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
const THIRD: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 3);
const NOBODY: [Ipv6Addr; 0] = [];

/// A member of [`ANYCAST`] that is at `care_of`, of three.
fn member_at(care_of: Ipv6Addr) -> Bench {
    Bench::with(fleet_settings(care_of))
}

fn fleet_settings(care_of: Ipv6Addr) -> Settings {
    let mut settings = settings();
    let peers = [CARE_OF, OTHER, THIRD].map(ipnet::Ipv6Net::from);
    settings.groups[0].care_of = Some(care_of);
    settings.groups[0].peers = Peers::new(care_of, peers).unwrap();
    settings
}

/// Begins a handshake at a member; gives its Home Test Init.
fn asked(bench: &mut Bench) -> (Cookie, Vec<u8>) {
    let sent = bench.packet_of(at(0), CLIENT).mobility();
    match &sent[0] {
        Sent {
            message: Message::HomeTestInit { cookie },
            octets,
            ..
        } => (*cookie, octets.clone()),
        other => panic!("{other:?}"),
    }
}

fn home_test(cookie: Cookie) -> Vec<u8> {
    let message = Message::HomeTest {
        nonce_index: 3,
        cookie,
        token: HOME_TOKEN,
    };
    rr::build(&message, CLIENT, ANYCAST).unwrap()
}

/// The one packet that was sent.
#[track_caller]
fn only(output: &Output) -> Vec<u8> {
    match output.0.as_slice() {
        [Action::Send { ifindex, packet }] => {
            assert_eq!(*ifindex, None);
            packet.clone()
        }
        other => panic!("{other:?}"),
    }
}

/// `octets` to `to`, as nothing but the destination, the hop limit and the checksum may tell.
fn readdressed(octets: &[u8], to: Ipv6Addr, checksum: usize, handed_on: &[u8]) {
    let mut expected = octets.to_vec();
    expected[7] -= 1;
    expected[24..40].copy_from_slice(&to.octets());
    expected[checksum..checksum + 2].copy_from_slice(&handed_on[checksum..checksum + 2]);
    assert_eq!(handed_on, expected);
}

#[test]
fn a_home_test_is_handed_on_to_the_peer_that_it_names_and_is_taken_there() {
    let mut asks = member_at(OTHER);
    let (cookie, _) = asked(&mut asks);
    let test = home_test(cookie);
    let mut hashed = member_at(CARE_OF);
    let handed_on = only(&hashed.octets(at(1), &test));
    readdressed(&test, OTHER, 44, &handed_on);
    assert_eq!(hashed.count(Counter::HomeTestHandedOn), 1);
    assert_eq!(hashed.count(Counter::TestUnexpected), 0);

    // Its checksum is right, or it would not parse.
    let packet = ipv6::Packet::parse(&handed_on).unwrap();
    assert!(Message::parse(&packet).is_ok());
    assert_eq!(asks.octets(at(1), &handed_on), Output(vec![]));
    assert_eq!(asks.count(Counter::HandedOnReceived), 1);
    assert_eq!(asks.count(Counter::TestUnexpected), 0);
    let waits = asks.0.handshakes(at(1))[0].waiting_for.clone();
    assert_eq!(waits, [Awaited::CareOfTest]);
}

#[test]
fn who_is_no_peer_is_handed_nothing() {
    let mut stranger = Bench::with({
        let mut settings = settings();
        let care_of = "2001:db8:dead::1".parse().unwrap();
        settings.groups[0].care_of = Some(care_of);
        settings.groups[0].peers = Peers::new(care_of, [OTHER.into()]).unwrap();
        settings
    });
    let test = home_test(asked(&mut stranger).0);
    let mut bench = member_at(CARE_OF);
    assert_eq!(bench.octets(at(1), &test), Output(vec![]));
    assert_eq!(bench.count(Counter::TestUnexpected), 1);
    // Without peers, nobody is.
    let test = home_test(asked(&mut member_at(OTHER)).0);
    let mut alone = Bench::joined();
    assert_eq!(alone.octets(at(1), &test), Output(vec![]));
    assert_eq!(alone.count(Counter::TestUnexpected), 1);
}

#[test]
fn what_came_to_c_goes_nowhere_and_counts_only_with_peers_and_our_cookie() {
    let mut asks = member_at(OTHER);
    let (cookie, _) = asked(&mut asks);
    let to = |destination, cookie| {
        let message = Message::HomeTest {
            nonce_index: 3,
            cookie,
            token: HOME_TOKEN,
        };
        rr::build(&message, CLIENT, destination).unwrap()
    };
    // Another member's, at our own C: a mistake or a lie.
    let mut bench = member_at(CARE_OF);
    assert_eq!(bench.octets(at(1), &to(CARE_OF, cookie)), Output(vec![]));
    assert_eq!(bench.count(Counter::HomeTestHandedOn), 0);
    assert_eq!(bench.count(Counter::TestUnexpected), 1);
    // Ours, but for one bit.
    let mut wrong = cookie;
    wrong[7] ^= 1;
    asks.octets(at(1), &to(OTHER, wrong));
    assert_eq!(asks.count(Counter::TestUnexpected), 1);
    assert_eq!(asks.0.handshakes(at(1))[0].waiting_for.len(), 2);
    // A member without peers takes nothing by C, not even its own.
    let mut alone = Bench::joined();
    let (cookie, _) = asked(&mut alone);
    alone.octets(at(1), &to(CARE_OF, cookie));
    assert_eq!(alone.count(Counter::TestUnexpected), 1);
    assert_eq!(alone.0.handshakes(at(1))[0].waiting_for.len(), 2);
}

#[test]
fn acknowledgements_follow_the_home_tests_of_the_last_16_seconds() {
    let ack = |status| {
        let ack = anycast_common::wire::mobility::BindingAck {
            status,
            sequence: 7,
            lifetime: 1,
            authenticator: Some([5; 12]),
            ..Default::default()
        };
        rr::build(&Message::BindingAck(ack), CLIENT, ANYCAST).unwrap()
    };
    let to = |output: &Output| -> Vec<Ipv6Addr> {
        let sent = output.mobility();
        sent.iter().map(|sent| sent.destination).collect()
    };
    let mut bench = member_at(CARE_OF);
    // Nobody was named yet.
    assert_eq!(to(&bench.octets(at(0), &ack(0))), NOBODY);
    assert_eq!(bench.count(Counter::AckUnexpected), 1);
    bench.octets(at(0), &home_test(asked(&mut member_at(OTHER)).0));
    assert_eq!(to(&bench.octets(at(1000), &ack(0))), [OTHER]);
    bench.octets(at(2000), &home_test(asked(&mut member_at(THIRD)).0));
    let output = bench.octets(at(3000), &ack(135));
    assert_eq!(to(&output), [OTHER, THIRD]);
    for sent in output.mobility() {
        readdressed(&ack(135), sent.destination, 44, &sent.octets);
    }
    assert_eq!(to(&bench.octets(at(16_000), &ack(0))), [THIRD]);
    assert_eq!(to(&bench.octets(at(18_000), &ack(0))), NOBODY);
    assert_eq!(bench.count(Counter::AckHandedOn), 4);

    // Of another client nothing is known.
    let other: Ipv6Addr = "2001:db8:a::2".parse().unwrap();
    let elsewhere = rr::build(&Message::BindingRefreshRequest, other, ANYCAST).unwrap();
    assert_eq!(bench.octets(at(3000), &elsewhere), Output(vec![]));
}

/// A correspondent binds no more than eight members to one pair.
#[test]
fn acknowledgements_follow_the_last_eight_members_that_were_named() {
    let member = |nth: u16| Ipv6Addr::from_bits(CARE_OF.to_bits() + u128::from(nth));
    let in_fleet = |nth| {
        let mut settings = settings();
        let prefix = "2001:db8:c::/120".parse().unwrap();
        settings.groups[0].care_of = Some(member(nth));
        settings.groups[0].peers = Peers::new(member(nth), [prefix]).unwrap();
        Bench::with(settings)
    };
    let mut bench = in_fleet(0);
    // The second is named again, and counts as the last from then on.
    for nth in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 2] {
        bench.octets(at(0), &home_test(asked(&mut in_fleet(nth)).0));
    }
    let ack = rr::build(&Message::BindingAck(Default::default()), CLIENT, ANYCAST).unwrap();
    let sent = bench.octets(at(1), &ack).mobility();
    let to: Vec<_> = sent.iter().map(|sent| sent.destination).collect();
    assert_eq!(to, [4, 5, 6, 7, 8, 9, 10, 2].map(member));
}

#[test]
fn an_acknowledgement_of_ours_stays_here() {
    let mut bench = member_at(CARE_OF);
    let update = bench.tested(at(0)).update().0;
    bench.octets(at(10), &home_test(asked(&mut member_at(OTHER)).0));
    let output = bench.accept(at(20), update.sequence);
    assert_eq!(output.mobility(), []);
    assert_eq!(bench.state(), Some(HandshakeState::Bound));
    assert_eq!(bench.count(Counter::AckHandedOn), 0);
}

#[test]
fn an_error_goes_to_the_member_whose_message_it_quotes() {
    let mut asks = member_at(OTHER);
    let (_, init) = asked(&mut asks);
    let mut hashed = member_at(CARE_OF);
    let error = only(&hashed.icmp(at(1), UNRECOGNIZED, ANYCAST, &init));
    assert_eq!(hashed.count(Counter::ErrorHandedOn), 1);
    assert_eq!(hashed.count(Counter::MobilityUnexpected), 0);
    let packet = ipv6::Packet::parse(&error).unwrap();
    assert_eq!((packet.source, packet.destination), (CLIENT, OTHER));
    assert!(
        icmpv6::Message::parse(&packet).is_ok(),
        "its checksum is right"
    );
    asks.run(|member, actions| member.icmp_error(at(1), &received(&error), &packet, actions));
    assert_eq!(asks.state(), Some(HandshakeState::BackOff));

    // A Binding Update says whose it is by the care-of address in it.
    let mut asks = member_at(OTHER);
    let sent = asks.packet_of(at(0), CLIENT).mobility();
    let mut updates = Vec::new();
    for sent in sent {
        match sent.message {
            Message::HomeTestInit { cookie } => asks.home_test(at(1), cookie),
            Message::CareOfTestInit { cookie } => {
                let message = Message::CareOfTest {
                    nonce_index: 4,
                    cookie,
                    token: CARE_OF_TOKEN,
                };
                let output = asks.message(at(1), CLIENT, OTHER, message);
                let (update, octets) = output.update();
                updates.push(update);
                let error = hashed.icmp(at(2), UNRECOGNIZED, ANYCAST, &octets);
                let packet = only(&error);
                assert_eq!(ipv6::Packet::parse(&packet).unwrap().destination, OTHER);
                output
            }
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(hashed.count(Counter::ErrorHandedOn), 2);
    // Whoever is no peer gets none.
    let stranger = Ipv6Addr::new(0x2001, 0xdb8, 0xdead, 0, 0, 0, 0, 1);
    let foreign = BindingUpdate {
        alternate_care_of: Some(stranger),
        ..updates[0]
    };
    let foreign = rr::build(&Message::BindingUpdate(foreign), ANYCAST, CLIENT).unwrap();
    hashed.icmp(at(2), UNRECOGNIZED, ANYCAST, &foreign);
    assert_eq!(hashed.count(Counter::ErrorHandedOn), 2);
    assert_eq!(hashed.count(Counter::IcmpErrorInvalid), 0);
    // One that quotes the message of another anycast address than it came to is nobody's, whoever it names.
    let (cookie, _) = asked(&mut member_at(OTHER));
    let elsewhere = rr::build(&Message::HomeTestInit { cookie }, PLAIN, CLIENT).unwrap();
    hashed.icmp(at(3), UNRECOGNIZED, ANYCAST, &elsewhere);
    assert_eq!(hashed.count(Counter::ErrorHandedOn), 2);
}

#[test]
fn a_message_with_no_hop_left_is_not_handed_on() {
    let mut test = home_test(asked(&mut member_at(OTHER)).0);
    test[7] = 1;
    let mut bench = member_at(CARE_OF);
    assert_eq!(bench.octets(at(1), &test), Output(vec![]));
    assert_eq!(bench.count(Counter::HandOnHopLimit), 1);
}

#[test]
fn link_padding_is_not_handed_on() {
    let test = home_test(asked(&mut member_at(OTHER)).0);
    let mut padded = test.clone();
    padded.extend([0; 6]);
    let mut bench = member_at(CARE_OF);
    let handed_on = only(&bench.octets(at(1), &padded));
    readdressed(&test, OTHER, 44, &handed_on);
}

#[test]
fn forged_home_tests_are_handed_on_at_a_rate() {
    let mut settings = fleet_settings(CARE_OF);
    settings.handshake.whole = Rate::per_second(10, 20);
    settings.handshake.per_prefix = Rate::per_second(2, 4);
    let mut bench = Bench::with(settings);
    let (cookie, _) = asked(&mut member_at(OTHER));
    let handed_on = |bench: &mut Bench, now, prefixes: u16| {
        let mut count = 0;
        for client in 0..1000 {
            let client = Ipv6Addr::new(0x2001, 0xdb8, 0xa, client % prefixes, 0, 0, 0, client);
            let message = Message::HomeTest {
                nonce_index: 3,
                cookie,
                token: HOME_TOKEN,
            };
            count += bench.message(now, client, ANYCAST, message).0.len();
        }
        count
    };
    assert_eq!(handed_on(&mut bench, at(1000), 1), 16, "one /64");
    assert_eq!(handed_on(&mut bench, at(1000), 900), 64, "all others");
    assert_eq!(handed_on(&mut bench, at(2000), 900), 40, "a second later");
    assert_eq!(bench.count(Counter::HomeTestHandedOn), 120);
    assert_eq!(bench.count(Counter::HandOnLimited), 3000 - 120);
}

#[test]
fn what_is_remembered_of_home_tests_is_bounded() {
    let mut settings = fleet_settings(CARE_OF);
    settings.handshake.max_clients = 10;
    let mut bench = Bench::with(settings);
    let (cookie, _) = asked(&mut member_at(OTHER));
    let message = |message, bench: &mut Bench, client| {
        let client = Ipv6Addr::new(0x2001, 0xdb8, 0xa, client, 0, 0, 0, 1);
        let now = at(u64::from(client.segments()[3]));
        bench.message(now, client, ANYCAST, message).0.len()
    };
    let test = Message::HomeTest {
        nonce_index: 3,
        cookie,
        token: HOME_TOKEN,
    };
    for client in 0..100 {
        assert_eq!(message(test, &mut bench, client), 1);
    }
    let followed = (0..100).filter(|client| {
        let ack = Message::BindingAck(Default::default());
        message(ack, &mut bench, *client) == 1
    });
    assert_eq!(followed.collect::<Vec<_>>(), (90..100).collect::<Vec<_>>());
}
