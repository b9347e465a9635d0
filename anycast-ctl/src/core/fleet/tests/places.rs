//! Who is given a snapshot, where there are more gateways that want one than places.

use super::{
    super::{
        message::Wish,
        seal::Id,
        snapshot::{Answer, Server},
    },
    *,
};

/// Flows for a snapshot of two chunks.
fn two_chunks() -> impl Iterator<Item = Pins> {
    (0..10_000).map(|port| Pins {
        client: key(port).client.into(),
        anycast: key(port).anycast.into(),
        care_of: flow(at(0)).care_of.into(),
        remaining: Duration::ZERO,
        sequence: 0,
        flows: vec![(key(port), flow(at(0)))],
    })
}

/// What a gateway is told that asks for a chunk of its snapshot.
fn asks(server: &mut Server, now: Time, from: Id, chunk: u32) -> &'static str {
    let wish = Wish {
        snapshot: from,
        chunk,
    };
    match server.wish(now, from, wish) {
        Answer::Chunk(part) => {
            assert_eq!(part.of, 4);
            "a chunk"
        }
        Answer::Later => {
            server.serve(now, two_chunks());
            "the first"
        }
        Answer::None => "nothing",
    }
}

/// Four gateways that begin at once.
fn full() -> Server {
    let mut server = Server::default();
    for from in 1..=4 {
        assert_eq!(asks(&mut server, at(0), from, 0), "the first");
    }
    assert_eq!(asks(&mut server, at(1000), 5, 0), "nothing");
    server
}

#[test]
fn who_has_everything_gives_way_soon() {
    let mut server = full();
    for from in 1..=4 {
        assert_eq!(asks(&mut server, at(2000), from, 3), "a chunk");
    }
    // It may not have come.
    assert_eq!(asks(&mut server, at(3000), 5, 0), "nothing");
    assert_eq!(asks(&mut server, at(4000), 1, 3), "a chunk");
    for from in [6, 7, 8] {
        assert_eq!(asks(&mut server, at(5000), from, 0), "the first");
    }
    assert_eq!(asks(&mut server, at(5000), 1, 3), "a chunk");
    assert_eq!(asks(&mut server, at(5000), 9, 0), "nothing");
}

#[test]
fn who_asks_no_longer_gives_way_to_another_one() {
    let mut server = full();
    // The first one is gone. The others go on, one of them slowly.
    assert_eq!(asks(&mut server, at(1500), 2, 1), "a chunk");
    for from in [3, 4] {
        assert_eq!(asks(&mut server, at(2500), from, 1), "a chunk");
    }
    assert_eq!(asks(&mut server, at(2900), 5, 0), "nothing");
    assert_eq!(asks(&mut server, at(4600), 5, 0), "the first");
    assert_eq!(asks(&mut server, at(4600), 1, 1), "nothing");
    for from in [2, 3, 4, 5] {
        assert_eq!(asks(&mut server, at(4700), from, 2), "a chunk");
    }
    assert_eq!(asks(&mut server, at(4800), 6, 0), "nothing");
}
