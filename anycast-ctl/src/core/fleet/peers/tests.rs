//! Whom people are shown.

use super::*;

const OWN: (Id, [u64; 2]) = (1, [5, 6]);

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// A heartbeat of a gateway, which repeats our challenge.
fn heard(peers: &mut Peers, seconds: u64, id: Id, name: &str) {
    let heartbeat = Heartbeat {
        name: name.to_owned(),
        ready: true,
        bindings: 0,
        flows: 0,
        challenge: 7,
        echoes: vec![(OWN.0, OWN.1[0])],
    };
    let taken = peers.heartbeat(at(seconds), OWN, (id, seconds + 1), heartbeat, 0);
    taken.expect("it is taken");
}

fn shown(peers: &Peers) -> Vec<(String, bool)> {
    let shown = peers.shown();
    shown.map(|peer| (peer.name.clone(), peer.proven)).collect()
}

fn row(name: &str, there: bool) -> (String, bool) {
    (name.to_owned(), there)
}

#[test]
fn a_gateway_that_is_lost_is_shown_until_it_is_back_or_somebody_says_that_it_is_gone() {
    let mut peers = Peers::default();
    heard(&mut peers, 0, 2, "g2");
    assert_eq!(peers.dismiss("g2"), Err(Unforgotten::There));
    assert_eq!(peers.dismiss("g3"), Err(Unforgotten::Unknown));
    assert_eq!(peers.lost(at(10)), ["g2"]);
    // Beyond the time for which the protocol knows it.
    for seconds in [299, 301, 86_400] {
        assert!(peers.lost(at(seconds)).is_empty());
        assert_eq!(shown(&peers), [row("g2", false)], "{seconds}");
    }
    assert!(peers.known.is_empty(), "the protocol has forgotten it");
    heard(&mut peers, 90_000, 3, "g2");
    assert_eq!(shown(&peers), [row("g2", true)]);
    assert!(peers.gone.is_empty());

    for forgotten in [false, true] {
        let now = 100_000 * (1 + u64::from(forgotten));
        heard(&mut peers, now, 4, "g2");
        assert_eq!(peers.lost(at(now + 20)), ["g2"]);
        if forgotten {
            peers.lost(at(now + 400));
        }
        assert_eq!(peers.dismiss("g2"), Ok(()));
        assert!(shown(&peers).is_empty(), "{forgotten}");
        assert_eq!(peers.dismiss("g2"), Err(Unforgotten::Unknown));
        // Nor is it remembered when the protocol forgets it.
        peers.lost(at(now + 500));
        assert!(shown(&peers).is_empty(), "{forgotten}");
    }
    heard(&mut peers, 300_000, 4, "g2");
    assert_eq!(shown(&peers), [row("g2", true)], "it is back after all");
}

#[test]
fn a_gateway_that_is_restarted_is_one_and_is_not_lost() {
    let mut peers = Peers::default();
    heard(&mut peers, 0, 2, "g2");
    heard(&mut peers, 2, 2, "g2");
    heard(&mut peers, 3, 3, "g2");
    assert_eq!(shown(&peers), [row("g2", true)]);
    assert!(!peers.is_shared("g2"));
    heard(&mut peers, 5, 3, "g2");
    assert!(!peers.is_shared("g2"));
    heard(&mut peers, 11, 3, "g2");
    assert!(peers.lost(at(12)).is_empty(), "it is there");
    assert_eq!(peers.lost(at(21)), ["g2"]);
}

#[test]
fn two_gateways_with_one_name_are_one_row_and_told() {
    let mut peers = Peers::default();
    for seconds in [0, 2, 4] {
        heard(&mut peers, seconds, 2, "g2");
        heard(&mut peers, seconds + 1, 3, "g2");
        heard(&mut peers, seconds + 1, 4, "g4");
    }
    assert_eq!(shown(&peers), [row("g2", true), row("g4", true)]);
    assert!(peers.is_shared("g2"));
    assert!(!peers.is_shared("g4"));
    // The end of one of them is the end of that.
    heard(&mut peers, 12, 3, "g2");
    assert!(peers.lost(at(15)).contains(&"g4".to_owned()));
    assert!(!peers.is_shared("g2"));
}

#[test]
fn names_are_bounded() {
    let mut peers = Peers::default();
    for number in 0..200_u32 {
        let seconds = u64::from(number) * 20;
        heard(
            &mut peers,
            seconds,
            u64::from(number),
            &format!("g{number}"),
        );
        peers.lost(at(seconds + 10));
    }
    peers.lost(at(100_000));
    let names = shown(&peers);
    assert_eq!(names.len(), MOST);
    assert!(names.contains(&row("g199", false)));
    assert!(!names.contains(&row("g100", false)));
}
