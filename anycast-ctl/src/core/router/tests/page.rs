//! Pages are the whole, once each, whatever their size.

use super::*;
use crate::core::router::Filter;

fn members(world: &World, filter: Filter, limit: usize) -> Vec<(Ipv6Addr, String, Ipv6Addr)> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = world
            .router
            .members_page(world.now, filter, after.as_ref(), limit);
        assert!(page.len() <= limit);
        rows.extend(
            page.into_iter()
                .map(|row| (row.group, row.interface, row.member.address)),
        );
        match next {
            Some(next) => after = Some(next),
            None => return rows,
        }
    }
}

fn world() -> World {
    let mut world = World::running(settings());
    world.link(&link(DMZ));
    for anycast in [B1, B2, B3] {
        for member in [M1, M2, M3] {
            world.report(member, anycast);
        }
        world.message(DMZ, M2, mld::Message::Report { address: anycast });
    }
    world.done(M1, B2);
    world
}

#[test]
fn pages_of_any_size_make_the_whole() {
    let world = world();
    let mut whole = Vec::new();
    for group in world.router.groups(world.now) {
        for member in group.members {
            whole.push((group.group, group.interface.clone(), member.address));
        }
    }
    assert_eq!(whole.len(), 12);
    for limit in 1..14 {
        assert_eq!(members(&world, Filter::default(), limit), whole, "{limit}");
    }
    let mut groups = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = world.router.groups_page(world.now, after.as_ref(), 2);
        groups.extend(page);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let known = world.router.groups(world.now);
    assert_eq!(groups.len(), known.len());
    for (page, known) in groups.iter().zip(&known) {
        assert_eq!(
            (page.group, &page.interface),
            (known.group, &known.interface)
        );
        assert_eq!(
            (page.state, page.members),
            (known.state, known.members.len())
        );
        assert_eq!(page.next_hops, known.next_hops);
        let expires = known.members.iter().map(|member| member.expires_in).max();
        assert_eq!(Some(page.expires_in), expires);
    }
    assert_eq!(world.router.totals(), (6, 12));
}

#[test]
fn filters_choose() {
    let world = world();
    let filter = |group, member| Filter { group, member };
    let lan = |group, member| (group, "lan".to_owned(), member);
    let dmz = |group, member| (group, "dmz".to_owned(), member);
    for limit in 1..5 {
        assert_eq!(
            members(&world, filter(Some(B2), None), limit),
            [lan(B2, M1), lan(B2, M2), lan(B2, M3), dmz(B2, M2)]
        );
        assert_eq!(
            members(&world, filter(Some(B3), Some(M2)), limit),
            [lan(B3, M2), dmz(B3, M2)]
        );
        assert_eq!(
            members(&world, filter(None, Some(M3)), limit),
            [lan(B1, M3), lan(B2, M3), lan(B3, M3)]
        );
        assert_eq!(members(&world, filter(Some(M1), None), limit), []);
    }
}

#[test]
fn a_page_goes_on_where_its_last_row_was_although_that_is_gone() {
    let mut world = world();
    let (page, next) = world
        .router
        .members_page(world.now, Filter::default(), None, 2);
    assert_eq!(page[1].member.address, M2);
    world.policy(vec![Rule {
        source: "fe80::a3/128".parse().unwrap(),
        ..everybody()
    }]);
    let (rest, _) = world
        .router
        .members_page(world.now, Filter::default(), next.as_ref(), 100);
    let rest: Vec<_> = rest
        .iter()
        .map(|row| (row.group, row.member.address))
        .collect();
    assert_eq!(rest, [(B1, M3), (B2, M3), (B3, M3)]);
}
