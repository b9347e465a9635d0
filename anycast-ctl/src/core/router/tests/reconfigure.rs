//! Other links at run time.

use super::*;

/// The second link is gone, or both are there.
fn links(both: bool) -> Vec<LinkSettings> {
    let mut links = settings().links;
    links.truncate(if both { 2 } else { 1 });
    links
}

impl World {
    fn set_links(&mut self, links: Vec<LinkSettings>) {
        self.step(|router, now, actions| router.set_links(now, links, actions));
    }

    fn report_on(&mut self, ifindex: u32, address: Ipv6Addr) {
        self.message(ifindex, M1, mld::Message::Report { address });
    }
}

#[test]
fn a_link_that_goes_takes_its_members_and_no_others() {
    let mut world = World::running(settings());
    world.link(&link(DMZ));
    world.report_on(LAN, B1);
    world.report_on(DMZ, B2);
    world.advance(seconds(40));
    world.take();
    for _ in 0..2 {
        world.set_links(links(false));
        assert_eq!(world.take_routes(), [(B2, vec![])]);
        assert_eq!(world.members(B1), [M1]);
        let names: Vec<_> = world.router.interfaces().collect();
        assert_eq!(names, ["lan"]);
        assert_eq!(world.router.links(world.now).len(), 1);
        // It hears and asks nothing there any more.
        world.report_on(DMZ, B3);
        assert_eq!(world.state(B3), None);
        let start = world.now;
        world.advance(QUERY + SECOND);
        let asked = world.take_sent(start);
        assert!(
            asked.iter().all(|(_, sent)| *sent == Sent::General(LAN)),
            "{asked:?}"
        );
        world.report_on(LAN, B1);

        world.set_links(links(true));
        assert_eq!(world.router.interfaces().count(), 2);
        world.link(&link(DMZ));
        world.report_on(DMZ, B2);
        assert_eq!(world.members(B2), [M1]);
        world.advance(seconds(40));
        world.take();
        world.report_on(LAN, B1);
    }
    assert_eq!(world.members(B1), [M1]);
}

#[test]
fn settings_of_a_link_change_and_its_members_stay() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.take();
    let mut changed = links(true);
    changed[0].general_queries = GeneralQueries::Never;
    changed[0].fast_leave = true;
    world.set_links(changed);
    assert_eq!(world.take(), [], "nothing is asked at once");
    let start = world.now;
    world.advance(QUERY + SECOND);
    let asked = world.take_sent(start);
    assert!(!asked.is_empty());
    assert!(
        asked
            .iter()
            .all(|(_, sent)| *sent == Sent::Specific(LAN, B1)),
        "{asked:?}"
    );
    world.report(M1, B1);
    let mut changed = links(true);
    changed[0].general_queries = GeneralQueries::Always;
    world.take();
    let start = world.now;
    world.set_links(changed);
    assert_eq!(
        world.take_sent(start),
        [(Duration::ZERO, Sent::General(LAN))]
    );
    assert_eq!(world.members(B1), [M1]);
    // A Done is checked again, as before.
    world.done(M1, B1);
    assert_eq!(world.members(B1), [M1]);
}
