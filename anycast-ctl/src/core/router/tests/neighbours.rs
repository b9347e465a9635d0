//! Members that the kernel probes, and those that it cannot reach.

use super::*;

/// Every this often each member has had its turn.
const PROBE: Duration = Duration::from_secs(10);

fn probing() -> World {
    let mut settings = settings();
    settings.links[0].probe_interval = Some(PROBE);
    let mut world = World::running(settings);
    world.take();
    world
}

impl World {
    fn failed(&mut self, ifindex: u32, address: Ipv6Addr) {
        self.step(|router, now, actions| router.neighbour_failed(now, ifindex, address, actions));
    }

    /// Probes since the last call; other actions are dropped.
    fn take_probes(&mut self) -> Vec<(Time, Ipv6Addr)> {
        let probe = |(time, action)| match action {
            Action::ProbeNeighbour { ifindex, address } => {
                assert_eq!(ifindex, LAN);
                Some((time, address))
            }
            _ => None,
        };
        self.actions.drain(..).filter_map(probe).collect()
    }
}

#[test]
fn every_member_has_its_turn_in_every_interval() {
    let mut world = probing();
    world.report(M1, B1);
    world.report(M2, B1);
    world.report(M2, B2);
    world.report(M3, B2);
    world.take();
    let start = world.now;
    world.advance(3 * PROBE);
    let probes = world.take_probes();
    for member in [M1, M2, M3] {
        let mut last = start;
        for (time, _) in probes.iter().filter(|(_, address)| *address == member) {
            assert!(
                *time - last <= PROBE + TICK,
                "{member} waited from {last:?}"
            );
            last = *time;
        }
        assert!(
            start + 3 * PROBE - last <= PROBE + TICK,
            "{member} since {last:?}"
        );
    }
    assert!(probes.len() <= 9 + 3, "{probes:?}");
}

#[test]
fn nobody_is_probed_on_an_empty_link_nor_without_the_setting() {
    let mut world = probing();
    world.report(M1, B1);
    world.failed(LAN, M1);
    world.take();
    world.advance(3 * PROBE);
    assert_eq!(world.take_probes(), []);
    world.report(M2, B1);
    world.advance(PROBE);
    assert_eq!(world.take_probes().len(), 1);

    world.dmz_member();
    world.gone(LAN);
    world.take();
    world.advance(3 * PROBE);
    assert_eq!(world.take_probes(), [], "the other link is not probed");
}

impl World {
    fn dmz_member(&mut self) {
        self.link(&link(DMZ));
        self.message(DMZ, M3, mld::Message::Report { address: B1 });
    }
}

#[test]
fn a_large_link_is_probed_in_an_interval_too() {
    let mut world = probing();
    let member = |n: u16| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n);
    for n in 0..5000 {
        world.report(member(n), B1);
    }
    world.take();
    world.advance(PROBE + Duration::from_millis(20));
    let mut probed: Vec<_> = world.take_probes().into_iter().map(|(_, a)| a).collect();
    probed.sort();
    probed.dedup();
    assert_eq!(probed.len(), 5000);
}

#[test]
fn an_unreachable_member_leaves_all_its_groups_and_is_asked() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.report(M1, B2);
    world.report(M2, B1);
    world.take();
    let start = world.now;
    world.failed(LAN, M1);
    let actions = world.take();
    assert!(
        actions.contains(&left(B1, M1, LeaveCause::Unreachable)),
        "{actions:?}"
    );
    assert!(
        actions.contains(&left(B2, M1, LeaveCause::Unreachable)),
        "{actions:?}"
    );
    assert!(actions.contains(&Action::Route(RouteAction::Set {
        anycast: B1,
        next_hops: vec![via(M2)]
    })));
    assert!(actions.contains(&Action::Route(RouteAction::Remove { anycast: B2 })));
    let queries = actions.iter().filter_map(|action| match action {
        Action::Send { ifindex, packet } => Some(sent(ifindex.unwrap(), packet)),
        _ => None,
    });
    let mut queries: Vec<_> = queries.collect();
    queries.sort();
    assert_eq!(queries, [Sent::Specific(LAN, B1), Sent::Specific(LAN, B2)]);
    assert_eq!(world.count(Counter::MemberUnreachable), 1);
    // It lives after all, and answers.
    world.report(M1, B1);
    assert_eq!(world.members(B1), [M1, M2]);
    assert_eq!(world.now, start);
}

#[test]
fn a_non_querier_asks_as_well_for_the_querier_may_have_missed_nothing() {
    let mut world = World::quiet(settings());
    world.report(M1, B1);
    world.take();
    world.failed(LAN, M1);
    assert_eq!(world.members(B1), [Ipv6Addr::UNSPECIFIED; 0]);
    let asked = world.take_sent(world.now);
    assert_eq!(asked, [(Duration::ZERO, Sent::Specific(LAN, B1))]);
    world.report(M1, B1);
    assert_eq!(world.members(B1), [M1]);
}

#[test]
fn other_neighbours_and_links_concern_nobody() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.take();
    world.failed(LAN, M2);
    world.failed(DMZ, M1);
    world.failed(99, M1);
    assert_eq!(world.take(), []);
    assert_eq!(world.members(B1), [M1]);
    assert_eq!(world.count(Counter::MemberUnreachable), 0);
}
