//! A forged source must not turn a member into a reflector.

use super::*;

fn client(prefix: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, prefix, 0, 0, 0, host)
}

fn started(bench: &mut Bench, now: Time, client: Ipv6Addr) -> bool {
    match bench.packet_of(now, client).mobility().len() {
        0 => false,
        2 => true,
        other => panic!("{other} messages"),
    }
}

#[test]
fn all_clients_together_are_limited() {
    let mut settings = settings();
    settings.handshake.whole = Rate::per_second(1, 2);
    let mut bench = Bench::with(settings);
    assert!(started(&mut bench, at(0), client(1, 1)));
    assert!(started(&mut bench, at(0), client(2, 1)));
    let output = bench.packet_of(at(0), client(3, 1));
    // The data plane need not report every packet of it meanwhile.
    assert_eq!(
        output,
        Output(vec![Action::Map(MapAction::QuietClient {
            client: client(3, 1),
            anycast: ANYCAST,
            until: at(1000),
        })])
    );
    assert_eq!(bench.count(Counter::HandshakeLimited), 1);
    assert!(started(&mut bench, at(1000), client(3, 1)));
}

#[test]
fn one_prefix_is_limited_and_takes_nothing_from_others() {
    let mut settings = settings();
    settings.handshake.per_prefix = Rate::per_second(1, 2);
    settings.handshake.whole = Rate::per_second(1, 3);
    let mut bench = Bench::with(settings);
    assert!(started(&mut bench, at(0), client(1, 1)));
    assert!(started(&mut bench, at(0), client(1, 2)));
    for host in 3..100 {
        assert!(!started(&mut bench, at(0), client(1, host)));
    }
    assert!(started(&mut bench, at(0), client(2, 1)));
}

#[test]
fn one_client_is_limited_over_all_its_handshakes() {
    let mut settings = settings();
    settings.handshake.per_client = Rate {
        every: Duration::from_secs(60),
        burst: 2,
    };
    let mut bench = Bench::with(settings);
    for round in 0..2 {
        let now = at(round * 20_000);
        let update = bench.tested(now).update().0;
        bench.accept(now, update.sequence);
        bench.poll(now + Duration::from_secs(16));
    }
    assert!(!started(&mut bench, at(40_000), CLIENT));
    assert!(started(&mut bench, at(60_000), CLIENT));
}

#[test]
fn a_client_over_its_limit_takes_nothing_from_others() {
    let mut settings = settings();
    settings.handshake.per_client = Rate::per_second(1, 1);
    settings.handshake.whole = Rate::per_second(1, 2);
    let mut bench = Bench::with(settings);
    let update = bench.tested(at(0)).update().0;
    bench.accept(at(0), update.sequence);
    // What makes it start again is a message that anybody can forge.
    for _ in 0..10 {
        let request = Message::BindingRefreshRequest;
        let output = bench.message(at(1), CLIENT, ANYCAST, request);
        assert_eq!(output, Output(vec![]));
    }
    assert_eq!(bench.count(Counter::HandshakeLimited), 10);
    assert_eq!(bench.state(), Some(HandshakeState::Bound));
    assert!(started(&mut bench, at(1), client(2, 1)));
}

#[test]
fn memory_is_bounded() {
    let mut settings = settings();
    settings.handshake.max_clients = 10;
    settings.handshake.whole = Rate::per_second(1_000_000, 1_000_000);
    let mut bench = Bench::with(settings);
    let start = (0..100).filter(|prefix| started(&mut bench, at(0), client(*prefix, 1)));
    assert_eq!(start.count(), 10, "those under way are not thrown away");
    assert_eq!(bench.0.handshakes(at(0)).len(), 10);
    assert_eq!(bench.count(Counter::HandshakeTableFull), 90);

    for seconds in [1, 3, 7, 15] {
        bench.poll(at(seconds * 1000));
    }
    // All are left alone now, and make room.
    let start = (0..100).filter(|prefix| started(&mut bench, at(20_000), client(*prefix, 2)));
    assert_eq!(start.count(), 10);
    assert_eq!(bench.0.handshakes(at(0)).len(), 10);
}

#[test]
fn who_is_forgotten_first_would_have_been_forgotten_soon() {
    let mut settings = settings();
    settings.handshake.max_clients = 2;
    let mut bench = Bench::with(settings);
    for (start, prefix) in [(0, 1), (1, 2)] {
        started(&mut bench, at(start * 1000), client(prefix, 1));
    }
    while bench.count(Counter::HandshakeNoAnswer) < 2 {
        let now = bench.0.deadline().unwrap();
        bench.poll(now);
    }
    assert!(started(&mut bench, at(17_000), client(3, 1)));
    let known: Vec<Ipv6Addr> = bench
        .0
        .handshakes(at(17_000))
        .iter()
        .map(|view| view.client)
        .collect();
    assert_eq!(known, [client(2, 1), client(3, 1)]);
}

#[test]
fn a_member_sends_no_more_than_it_is_asked_for() {
    // A flood with forged sources: messages out for packets in.
    let mut bench = Bench::joined();
    let mut messages = 0;
    for packet in 0..10_000u16 {
        let now = at(u64::from(packet / 10));
        let output = bench.packet_of(now, client(packet, 1));
        messages += output.mobility().len();
    }
    // A burst of 2000, and 1000 in the second.
    assert!((5900..=6000).contains(&messages), "{messages}");
}

#[test]
fn the_same_seed_gives_the_same_actions() {
    let run = || {
        let mut bench = Bench::joined();
        let mut all = Vec::new();
        for host in (0..50).rev() {
            all.push(bench.packet_of(at(0), client(host % 7, host)));
        }
        while let Some(now) = bench.0.deadline() {
            all.push(bench.poll(now));
        }
        all
    };
    assert_eq!(run(), run());
}
