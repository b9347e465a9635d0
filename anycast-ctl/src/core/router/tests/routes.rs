//! From members to next hops.

use super::*;

/// How long members have to answer the first Queries, and how much longer the routes of an earlier run stay.
const FIRST_ANSWERS: Duration = Duration::from_secs(3 + 10);
const ADOPTED: Duration = Duration::from_secs(5);

fn choosing(next_hops: NextHopChoice) -> World {
    let mut world = World::running(Settings {
        next_hops,
        ..settings()
    });
    world.link(&link(DMZ));
    world.take();
    world
}

impl World {
    fn dmz_report(&mut self, source: Ipv6Addr, address: Ipv6Addr) {
        self.message(DMZ, source, mld::Message::Report { address });
    }
}

fn hop(via: impl Into<Option<Ipv6Addr>>, ifindex: u32) -> NextHop {
    NextHop {
        via: via.into(),
        ifindex,
    }
}

#[test]
fn all_is_the_sorted_union_over_the_links() {
    let mut world = choosing(NextHopChoice::All);
    world.report(M3, B1);
    world.dmz_report(M1, B1);
    world.dmz_report(M3, B1);
    world.report(M2, B1);
    let expected = vec![hop(M1, DMZ), hop(M2, LAN), hop(M3, LAN), hop(M3, DMZ)];
    assert_eq!(world.take_routes().pop(), Some((B1, expected)));
    // Each view has its own link's.
    assert_eq!(
        world.group(B1).unwrap().next_hops,
        [hop(M2, LAN), hop(M3, LAN)]
    );
    world.gone(LAN);
    assert_eq!(
        world.take_routes(),
        [(B1, vec![hop(M1, DMZ), hop(M3, DMZ)])]
    );
}

#[test]
fn best_is_the_longest_standing_and_stays() {
    let mut world = choosing(NextHopChoice::Best);
    world.report(M2, B1);
    assert_eq!(world.take_routes(), [(B1, vec![hop(M2, LAN)])]);
    // At the same time, with a lower address: no reason to move anything.
    world.report(M1, B1);
    world.advance(SECOND);
    world.dmz_report(M3, B1);
    world.report(M2, B1);
    assert_eq!(world.take_routes(), []);
    assert_eq!(world.members(B1), [M1, M2]);
    world.done(M2, B1);
    assert_eq!(world.take_routes(), [], "it is only being checked");
    world.advance(CHECK);
    assert_eq!(world.take_routes(), [(B1, vec![hop(M1, LAN)])]);
    // Back again, it is the last in the row.
    world.report(M2, B1);
    assert_eq!(world.take_routes(), []);
    world.gone(LAN);
    assert_eq!(world.take_routes(), [(B1, vec![hop(M3, DMZ)])]);
}

#[test]
fn on_link_names_links_only() {
    let mut world = choosing(NextHopChoice::OnLink);
    world.report(M1, B1);
    assert_eq!(
        world.take_notices().pop(),
        Some(Notice::Route {
            anycast: B1,
            next_hops: vec![B1]
        })
    );
    world.report(M2, B1);
    assert_eq!(world.take_routes(), [], "the link is the same");
    world.dmz_report(M2, B1);
    assert_eq!(
        world.take_routes(),
        [(B1, vec![hop(None, LAN), hop(None, DMZ)])]
    );
    world.done(M1, B1);
    world.advance(CHECK);
    assert_eq!(world.take_routes(), []);
    world.done(M2, B1);
    world.advance(CHECK);
    assert_eq!(world.take_routes(), [(B1, vec![hop(None, DMZ)])]);
}

#[test]
fn addresses_have_routes_of_their_own() {
    let mut world = choosing(NextHopChoice::All);
    world.report(M1, B2);
    world.report(M2, B1);
    assert_eq!(
        world.take_routes(),
        [(B2, vec![hop(M1, LAN)]), (B1, vec![hop(M2, LAN)])]
    );
    world.advance(LISTENER);
    assert_eq!(world.take_routes(), [(B1, vec![]), (B2, vec![])]);
}

#[test]
fn the_choice_of_an_earlier_run_stands_until_its_member_goes() {
    let mut world = choosing(NextHopChoice::Best);
    world.router.adopt(world.now, B1, via(M2));
    world.report(M1, B1);
    assert_eq!(world.take_routes(), [(B1, vec![via(M1)])]);
    world.report(M2, B1);
    assert_eq!(world.take_routes(), [(B1, vec![via(M2)])]);
    world.done(M2, B1);
    world.advance(CHECK);
    assert_eq!(world.take_routes(), [(B1, vec![via(M1)])]);
    world.report(M2, B1);
    assert_eq!(world.take_routes(), []);
    // Where all are next hops there is nothing to choose.
    let mut world = choosing(NextHopChoice::All);
    world.router.adopt(world.now, B1, via(M2));
    world.report(M1, B1);
    assert_eq!(world.take_routes(), [(B1, vec![via(M1)])]);
}

#[test]
fn the_choice_of_an_earlier_run_is_forgotten_with_its_route() {
    let grace = FIRST_ANSWERS + ADOPTED;
    for (waits, expected) in [
        (grace - TICK, vec![(B1, vec![via(M2)])]),
        (grace, vec![]),
        (grace + QUERY, vec![]),
    ] {
        let mut world = choosing(NextHopChoice::Best);
        world.router.adopt(world.now, B1, via(M2));
        world.report(M1, B1);
        world.take();
        world.advance(waits);
        world.report(M2, B1);
        assert_eq!(world.take_routes(), expected, "after {waits:?}");
    }
    // One that has come in time has its place until it goes.
    let mut world = choosing(NextHopChoice::Best);
    world.router.adopt(world.now, B1, via(M2));
    world.report(M1, B1);
    world.report(M2, B1);
    world.take();
    world.advance(grace);
    world.report(M3, B1);
    world.done(M3, B1);
    world.advance(CHECK);
    assert_eq!(world.take_routes(), []);
}
