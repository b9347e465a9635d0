//! Multicast Router Discovery (RFC 4286 sections 3 to 5).

use anycast_common::wire::discovery::{ADVERTISEMENT, SOLICITATION, TERMINATION};
use rand::RngExt as _;

use super::*;
use crate::core::router::discovery::{Effect, Event, State};

const INTERVAL: Duration = Duration::from_secs(20);
/// 0.025 of it.
const JITTER: Duration = Duration::from_millis(500);
const FIRST: Duration = Duration::from_secs(2);

fn advertising() -> Settings {
    let mut settings = with(GeneralQueries::Never);
    settings.links[0].advertisement_interval = Some(INTERVAL);
    settings
}

/// A router that is in the regular state, just after an Advertisement.
fn regular() -> World {
    let mut world = World::new(advertising());
    world.link(&link(LAN));
    world.advance(3 * FIRST);
    world.take();
    world
}

/// Types of what was sent to switches since the last call, with the time of each.
fn announced(world: &mut World) -> Vec<(Time, u8)> {
    let read = |(time, action)| match action {
        Action::Send { ifindex, packet } => {
            assert_eq!(ifindex, Some(LAN));
            let packet = ipv6::Packet::parse(&packet).unwrap();
            assert_eq!(packet.destination, "ff02::6a".parse::<Ipv6Addr>().unwrap());
            assert_eq!((packet.source, packet.hop_limit), (OWN, 1));
            assert_eq!(packet.router_alert, Some(0));
            if packet.payload[0] == ADVERTISEMENT {
                // Advertisement Interval 20, Query Interval 125, Robustness Variable 2.
                assert_eq!(packet.payload[1], 20);
                assert_eq!(packet.payload[4..], [0, 125, 0, 2]);
            }
            Some((time, packet.payload[0]))
        }
        _ => None,
    };
    world.actions.drain(..).filter_map(read).collect()
}

fn solicit(world: &mut World, hop_limit: u8) {
    // What a switch sends; the recorded ones are read in anycast-common.
    let mut message = [SOLICITATION, 0, 0, 0];
    let sum = anycast_common::wire::checksum::transport(
        &HIGHER.octets(),
        &ipv6::ALL_ROUTERS.octets(),
        ipv6::NEXT_HEADER_ICMPV6,
        &message,
    );
    message[2..4].copy_from_slice(&sum.to_ne_bytes());
    let packet = ipv6::Packet::bare(
        HIGHER,
        ipv6::ALL_ROUTERS,
        hop_limit,
        ipv6::NEXT_HEADER_ICMPV6,
        &message,
    );
    world.step(|router, now, actions| router.solicited(now, LAN, &packet, actions));
}

#[test]
fn three_soon_then_regularly_with_jitter() {
    let mut gaps = Vec::new();
    for seed in 0..50 {
        let mut world = World::new(advertising());
        // Another course of the random numbers.
        for _ in 0..seed {
            let _: u8 = world.router.random.random();
        }
        world.link(&link(LAN));
        assert_eq!(announced(&mut world), [], "not all routers at once");
        world.advance(seconds(300));
        let sent = announced(&mut world);
        assert!(sent.iter().all(|(_, kind)| *kind == ADVERTISEMENT));
        let mut last = Time::ZERO;
        for (number, (time, _)) in sent.iter().enumerate() {
            let gap = *time - last;
            last = *time;
            if number < 3 {
                assert!(gap < FIRST, "{number}: {gap:?}");
            } else {
                let range = INTERVAL - JITTER..=INTERVAL + JITTER;
                assert!(range.contains(&gap), "{number}: {gap:?}");
                gaps.push(gap);
            }
        }
        assert!((17..=18).contains(&sent.len()), "{}", sent.len());
    }
    // The jitter is used on both sides, so that routers do not fall into step.
    assert!(gaps.iter().any(|gap| *gap < INTERVAL - JITTER / 2));
    assert!(gaps.iter().any(|gap| *gap > INTERVAL + JITTER / 2));
}

#[test]
fn a_switch_that_asks_is_answered_at_once_ten_times_a_second() {
    let mut world = regular();
    let now = world.now;
    for _ in 0..25 {
        solicit(&mut world, 1);
    }
    assert_eq!(announced(&mut world), [(now, ADVERTISEMENT); 10]);
    assert_eq!(world.count(Counter::DiscoveryLimited), 15);
    world.advance(SECOND);
    world.take();
    let now = world.now;
    solicit(&mut world, 1);
    assert_eq!(announced(&mut world), [(now, ADVERTISEMENT)]);
    solicit(&mut world, 255);
    assert_eq!(announced(&mut world), []);
    assert_eq!(world.count(Counter::DiscoveryInvalid), 1);
}

#[test]
fn an_answer_moves_no_timer() {
    let mut world = regular();
    let next = world.lan().next_advertisement_in;
    solicit(&mut world, 1);
    assert_eq!(world.lan().next_advertisement_in, next);
}

#[test]
fn an_orderly_end_says_so() {
    let mut world = regular();
    world.step(|router, now, actions| router.shutdown(now, actions));
    let now = world.now;
    assert_eq!(announced(&mut world), [(now, TERMINATION)]);
    assert_eq!(world.count(Counter::DiscoveryTerminationSent), 1);
    world.advance(seconds(600));
    assert_eq!(announced(&mut world), []);
}

#[test]
fn a_link_that_comes_back_begins_anew() {
    let mut world = regular();
    let mut down = link(LAN);
    down.up = false;
    world.link(&down);
    assert_eq!(announced(&mut world), [], "there is no way to say anything");
    assert_eq!(world.lan().next_advertisement_in, None);
    world.advance(seconds(60));
    assert_eq!(announced(&mut world), []);
    world.link(&link(LAN));
    world.advance(3 * FIRST);
    assert_eq!(announced(&mut world).len(), 3);
    assert_eq!(world.router.links[0].discovery, State::Regular);
    // A switch that holds the members of a link for a moment is not known to be the same one.
    world.router.links[0].settings.hold = seconds(3);
    world.report(M1, B1);
    world.link(&down);
    world.link(&link(LAN));
    assert!(matches!(
        world.router.links[0].discovery,
        State::Initial { left: 3 }
    ));
}

#[test]
fn turned_off() {
    let mut world = World::running(with(GeneralQueries::Never));
    solicit(&mut world, 1);
    world.step(|router, now, actions| router.shutdown(now, actions));
    assert_eq!(announced(&mut world), []);
}

#[test]
fn every_state_knows_every_event() {
    let initial = |left| State::Initial { left };
    let rows = [
        (State::Off, Event::Started, initial(3), Effect::Wait),
        (State::Off, Event::Stopped, State::Off, Effect::Nothing),
        (State::Off, Event::Timer, State::Off, Effect::Nothing),
        (State::Off, Event::Solicited, State::Off, Effect::Nothing),
        (initial(2), Event::Started, initial(3), Effect::Wait),
        (initial(2), Event::Stopped, State::Off, Effect::Stop),
        (initial(2), Event::Timer, initial(1), Effect::Advertise),
        (initial(1), Event::Timer, State::Regular, Effect::Advertise),
        (initial(2), Event::Solicited, initial(2), Effect::Answer),
        (State::Regular, Event::Started, initial(3), Effect::Wait),
        (State::Regular, Event::Stopped, State::Off, Effect::Stop),
        (
            State::Regular,
            Event::Timer,
            State::Regular,
            Effect::Advertise,
        ),
        (
            State::Regular,
            Event::Solicited,
            State::Regular,
            Effect::Answer,
        ),
    ];
    for (state, event, next, effect) in rows {
        assert_eq!(state.step(event), (next, effect), "{state:?} {event:?}");
    }
}
