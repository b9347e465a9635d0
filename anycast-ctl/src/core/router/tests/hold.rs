//! Links that are down for a moment.

use super::*;
use crate::core::router::LinkRole;

const HOLD: Duration = Duration::from_secs(3);

fn held() -> Settings {
    let mut settings = settings();
    settings.links[0].hold = HOLD;
    settings
}

fn down() -> Link {
    Link {
        up: false,
        ..link(LAN)
    }
}

/// As it is after an administrator took the interface down, or before duplicate address detection has ended.
fn nameless() -> Link {
    Link {
        link_local: None,
        ..link(LAN)
    }
}

#[test]
fn members_and_routes_stay_and_are_asked_when_it_is_back() {
    for addressless in [false, true] {
        let mut world = World::running(held());
        world.report(M1, B1);
        world.report(M2, B2);
        world.take();
        world.link(&down());
        world.advance(HOLD - TICK);
        if addressless {
            world.link(&nameless());
        }
        assert!(world.take_routes().is_empty());
        let back = world.now;
        world.link(&link(LAN));
        assert!(world.lan().ours, "it need not listen again");
        world.advance(QUERY - SECOND);
        assert_eq!(
            world.take_sent(back),
            [(Duration::ZERO, Sent::General(LAN))]
        );
        assert_eq!((world.members(B1), world.members(B2)), (vec![M1], vec![M2]));
    }
}

#[test]
fn one_that_stays_away_takes_its_members_along() {
    for link in [down(), nameless()] {
        let mut world = World::running(held());
        world.report(M1, B1);
        world.take();
        world.link(&down());
        world.link(&link);
        world.advance(HOLD);
        assert_eq!(world.take_routes(), [(B1, vec![])]);
        assert_eq!(world.lan().role, LinkRole::Initial);
        assert_eq!(world.lan().ifindex, Some(LAN));
    }
    // One that is gone cannot come back: what comes is another.
    let mut world = World::running(held());
    world.report(M1, B1);
    world.take();
    world.link(&down());
    world.gone(LAN);
    assert_eq!(world.take_routes(), [(B1, vec![])]);
    assert_eq!(world.router.deadline(), None);
}

#[test]
fn time_without_a_link_does_not_count_against_a_member() {
    let mut world = World::running(held());
    world.report(M1, B1);
    world.report(M2, B1);
    world.advance(LISTENER - SECOND);
    world.report(M2, B1);
    world.done(M2, B1);
    world.link(&down());
    world.step(|router, now, actions| router.neighbour_failed(now, LAN, M1, actions));
    world.advance(HOLD - TICK);
    world.link(&link(LAN));
    assert_eq!(world.members(B1), [M1, M2]);
    // Who does not answer now is gone.
    world.report(M1, B1);
    world.advance(seconds(10) + CHECK);
    assert_eq!(world.members(B1), [M1]);
}

#[test]
fn a_non_querier_stays_one() {
    let mut world = World::quiet(held());
    world.report(M1, B1);
    world.take();
    world.link(&down());
    world.advance(SECOND);
    world.link(&link(LAN));
    assert_eq!(world.lan().querier, Some(LOWER));
    assert_eq!(world.members(B1), [M1]);
}

#[test]
fn nothing_is_held_where_there_is_nothing() {
    let mut world = World::running(held());
    world.link(&down());
    assert_eq!(world.router.deadline(), None);
    assert_eq!(world.lan().role, LinkRole::Initial);
}

#[test]
fn one_that_goes_again_before_it_has_an_address_is_held_on() {
    let mut world = World::running(held());
    world.report(M1, B1);
    world.take();
    world.link(&down());
    world.advance(SECOND);
    world.link(&nameless());
    world.advance(SECOND);
    // The kernel may tell of both at once, or of the address first.
    for link in [
        down(),
        nameless(),
        Link {
            up: false,
            ..nameless()
        },
    ] {
        world.link(&link);
        assert_eq!(world.take_routes(), [], "{link:?}");
    }
    world.advance(SECOND - TICK);
    world.link(&link(LAN));
    assert_eq!(world.members(B1), [M1]);
    assert!(world.lan().ours, "it need not listen again");
    // It was held from the first loss on, and not from each.
    let mut world = World::running(held());
    world.report(M1, B1);
    world.take();
    world.link(&down());
    world.advance(HOLD - TICK);
    world.link(&nameless());
    world.link(&down());
    world.advance(TICK);
    assert_eq!(world.take_routes(), [(B1, vec![])]);
}

#[test]
fn one_that_is_up_without_an_address_when_the_hold_ends_stays_up() {
    let mut world = World::running(held());
    world.report(M1, B1);
    world.take();
    world.link(&down());
    world.link(&nameless());
    world.advance(HOLD);
    assert_eq!(world.take_routes(), [(B1, vec![])]);
    assert!(world.lan().up);
    // As on a link that has never had an address.
    let mut other = World::new(held());
    other.link(&nameless());
    for world in [&mut world, &mut other] {
        world.report(M1, B1);
        assert_eq!(world.members(B1), [M1]);
        assert_eq!(world.router.counters().get(Counter::MldNoLink), 0);
        world.link(&link(LAN));
        world.advance(LISTENING);
        assert!(world.lan().ours);
        assert_eq!(world.members(B1), [M1]);
    }
}
