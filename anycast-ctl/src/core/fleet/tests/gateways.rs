//! Which gateways are there.

use super::*;

#[test]
fn what_a_gateway_said_before_it_was_proven_is_not_taken_later() {
    let mut peers = Peers::default();
    let (own, challenges) = (1, [5, 6]);
    let hear = |peers: &mut Peers, sequence, repeated| {
        let heartbeat = Heartbeat {
            name: "g".to_owned(),
            challenge: 7,
            echoes: vec![(own, repeated)],
            ..Heartbeat::default()
        };
        let heard = peers.heartbeat(at(0), (own, challenges), (2, sequence), heartbeat, 0);
        heard.unwrap().joined
    };
    // A recording of long ago, and then the gateway itself.
    assert!(!hear(&mut peers, 100, 4));
    assert!(hear(&mut peers, 10_000, 5));
    for number in [101, 9_950, 9_999] {
        let again = peers.takes(2, number, false);
        assert_eq!(again, Err(Unwanted::Replayed), "{number}");
    }
    assert_eq!(peers.takes(2, 10_001, false), Ok(()));
}

/// A gateway is heard.
fn hear(peers: &mut Peers, time: u64, id: u64, name: &str, ready: bool) {
    let heartbeat = Heartbeat {
        name: name.to_owned(),
        ready,
        challenge: 7,
        echoes: vec![(1, 5)],
        ..Heartbeat::default()
    };
    let heard = peers.heartbeat(at(time), (1, [5, 6]), (id, time), heartbeat, 0);
    heard.unwrap();
}

#[test]
fn a_gateway_that_was_restarted_is_lost_until_it_is_ready_and_no_longer() {
    let mut peers = Peers::default();
    for time in [1000, 2000, 3000] {
        hear(&mut peers, time, 2, "g2", true);
        hear(&mut peers, time, 3, "g3", true);
        // Somebody gave the same name to two.
        hear(&mut peers, time, 4, "g3", true);
    }
    assert!(!peers.any_lost());
    for time in [6000, 14_000] {
        hear(&mut peers, time, 4, "g3", true);
        hear(&mut peers, time, 20, "g2", false);
    }
    // People are told of none, for one of each name is there.
    assert_eq!(peers.lost(at(14_000)), [""; 0]);
    hear(&mut peers, 15_000, 30, "g3", true);
    assert!(peers.any_lost(), "it does not know yet what it was told");
    hear(&mut peers, 16_000, 20, "g2", true);
    assert!(!peers.any_lost());
    // Another one is not the same again, nor is one that was there beside it.
    hear(&mut peers, 17_000, 5, "g5", true);
    hear(&mut peers, 17_000, 6, "g6", true);
    hear(&mut peers, 17_000, 7, "g6", true);
    for time in [20_000, 28_000] {
        hear(&mut peers, time, 7, "g6", true);
        for (id, name) in [(4, "g3"), (20, "g2"), (30, "g3")] {
            hear(&mut peers, time, id, name, true);
        }
        if time == 20_000 {
            hear(&mut peers, time, 5, "g5", true);
        }
    }
    assert_eq!(peers.lost(at(28_000)), [""; 0]);
    assert!(peers.any_lost());
}
