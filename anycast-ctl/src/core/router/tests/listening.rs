//! Before the first General Query: whether an MLDv2 querier is there.

use super::*;
use crate::core::GroupAction;
use crate::core::router::{LinkRole, Queries, Reason, listening::GROUP};

const JOIN: Action = Action::Group(GroupAction::Join {
    ifindex: LAN,
    group: GROUP,
});
const LEAVE: Action = Action::Group(GroupAction::Leave {
    ifindex: LAN,
    group: GROUP,
});

/// The link has come up this long ago.
fn after(settings: Settings, time: Duration) -> World {
    let mut world = World::new(settings);
    world.link(&link(LAN));
    world.advance(time);
    world
}

/// What was done with groups since the last call, and when; other actions are dropped.
fn take_groups(world: &mut World) -> Vec<(Duration, Action)> {
    let groups = |action: &Action| *action == JOIN || *action == LEAVE;
    let actions = world.actions.drain(..);
    actions
        .filter(|(_, action)| groups(action))
        .map(|(time, action)| (time - Time::ZERO, action))
        .collect()
}

#[test]
fn where_nothing_is_heard_everybody_is_asked() {
    let mut world = after(settings(), LISTENING - TICK);
    assert_eq!(world.count(Counter::GeneralQuerySent), 0);
    let view = world.lan();
    assert_eq!(view.role, LinkRole::Querier);
    assert_eq!(
        (view.queries, view.reason, view.next_query_in),
        (Queries::None, Reason::Listening, Some(TICK))
    );
    assert_eq!(serde_json::to_value(view).unwrap()["reason"], "listening");
    assert_eq!(
        take_groups(&mut world),
        [(Duration::ZERO, JOIN), (SECOND, LEAVE)]
    );
    world.advance(seconds(40));
    assert_eq!(world.lan().reason, Reason::Querier);
    assert_eq!(world.take_sent(Time::ZERO), STARTUP);
}

#[test]
fn an_mldv2_querier_that_speaks_in_time_is_left_alone() {
    // About our group, its General Query, before and after the leave.
    for (time, about) in [
        (SECOND / 2, Ipv6Addr::UNSPECIFIED),
        (SECOND / 2, "ff05::1".parse().unwrap()),
        (LISTENING - TICK, Ipv6Addr::UNSPECIFIED),
        (LISTENING - TICK, GROUP),
    ] {
        let mut world = after(settings(), time);
        world.query_v2_about(HIGHER, about);
        assert_eq!(world.lan().reason, Reason::V2Querier);
        for _ in 0..10 {
            world.advance(QUERY);
            world.query_v2(HIGHER);
        }
        let groups = take_groups(&mut world);
        assert_eq!(groups, [(Duration::ZERO, JOIN), (time.min(SECOND), LEAVE)]);
        assert_eq!(
            world.count(Counter::GeneralQuerySent),
            0,
            "{time:?} {about}"
        );
    }
}

#[test]
fn a_lower_mldv1_querier_ends_it() {
    for time in [Duration::ZERO, SECOND / 2, LISTENING - TICK] {
        let mut world = after(settings(), time);
        world.query(HIGHER);
        assert_eq!(world.lan().reason, Reason::Listening, "it will stand back");
        world.query(LOWER);
        assert_eq!(world.lan().reason, Reason::OtherQuerier);
        let groups = take_groups(&mut world);
        assert_eq!(groups, [(Duration::ZERO, JOIN), (time.min(SECOND), LEAVE)]);
        world.advance(OTHER_QUERIER - TICK);
        assert_eq!(world.take(), []);
        // Once it is gone there is an election to end, and no start.
        world.advance(TICK);
        assert_eq!(world.count(Counter::GeneralQuerySent), 1);
        assert_eq!(take_groups(&mut world), []);
    }
}

#[test]
fn it_ends_with_the_link_and_with_the_router() {
    type End = fn(&mut World);
    let ends: [End; 4] = [
        |world| {
            world.link(&Link {
                up: false,
                ..link(LAN)
            });
        },
        |world| {
            world.link(&Link {
                link_local: None,
                ..link(LAN)
            });
        },
        |world| world.gone(LAN),
        |world| world.step(Router::shutdown),
    ];
    for end in ends {
        for (time, left) in [(SECOND / 2, SECOND / 2), (SECOND * 2, SECOND)] {
            let mut world = after(settings(), time);
            end(&mut world);
            assert_eq!(
                take_groups(&mut world),
                [(Duration::ZERO, JOIN), (left, LEAVE)]
            );
            assert_eq!(world.router.deadline(), None);
            world.advance(seconds(10));
            assert_eq!(world.take(), []);
        }
    }
    // The next time is like the first.
    let mut world = after(settings(), SECOND / 2);
    world.gone(LAN);
    world.take();
    let start = world.now;
    world.link(&link(LAN));
    world.advance(seconds(40));
    assert_eq!(world.take_sent(start), STARTUP);
}

#[test]
fn another_address_of_ours_changes_nothing() {
    let mut world = after(settings(), SECOND / 2);
    world.link(&Link {
        link_local: Some(LOWEST),
        ..link(LAN)
    });
    world.advance(SECOND);
    assert_eq!(
        take_groups(&mut world),
        [(Duration::ZERO, JOIN), (SECOND, LEAVE)]
    );
    assert_eq!(world.count(Counter::GeneralQuerySent), 0);
    world.advance(SECOND * 3 / 2);
    assert_eq!(world.count(Counter::GeneralQuerySent), 1);
}

#[test]
fn a_known_querier_needs_no_finding() {
    let mut world = World::running(settings());
    world.query_v2(LOWER);
    world.link(&Link {
        link_local: None,
        ..link(LAN)
    });
    world.take();
    world.link(&link(LAN));
    assert_eq!(world.lan().reason, Reason::V2Querier);
    assert_eq!(take_groups(&mut world), []);
}

#[test]
fn always_and_never_do_not_listen() {
    for (mode, queries) in [(GeneralQueries::Always, 2), (GeneralQueries::Never, 0)] {
        let mut world = after(with(mode), Duration::ZERO);
        let at_once = u64::from(mode == GeneralQueries::Always);
        assert_eq!(world.count(Counter::GeneralQuerySent), at_once);
        assert_ne!(world.lan().reason, Reason::Listening);
        world.advance(seconds(40));
        assert_eq!(take_groups(&mut world), []);
        assert_eq!(world.count(Counter::GeneralQuerySent), queries);
    }
}

#[test]
fn members_join_leave_and_are_checked_meanwhile() {
    let mut world = after(settings(), Duration::ZERO);
    world.report(M1, B1);
    assert_eq!(world.members(B1), [M1]);
    world.take();
    world.done(M1, B1);
    world.advance(CHECK);
    assert!(world.members(B1).is_empty());
    let checks = [Duration::ZERO, SECOND].map(|time| (time, Sent::Specific(LAN, B1)));
    assert_eq!(world.take_sent(Time::ZERO), checks);
    assert_eq!(world.lan().reason, Reason::Listening);
}

/// A loop that was held up does not take its own delay for silence.
#[test]
fn a_late_leave_leaves_time_for_the_answer() {
    let mut world = after(settings(), Duration::ZERO);
    world.now += seconds(20);
    world.step(Router::poll);
    assert_eq!(world.count(Counter::GeneralQuerySent), 0);
    world.advance(CHECK);
    assert_eq!(world.count(Counter::GeneralQuerySent), 1);
}

/// Where no General Query goes out, a restart would lose every member until an MLDv2 querier asks.
#[test]
fn members_of_adopted_routes_are_asked_by_name() {
    for (mode, querier) in [
        (GeneralQueries::Never, false),
        (GeneralQueries::Polite, true),
    ] {
        let mut world = World::new(with(mode));
        for address in [B1, B2, B3] {
            world.router.adopt(world.now, address, via(M1));
            world.router.adopt(world.now, address, via(M2));
        }
        let elsewhere = NextHop {
            ifindex: DMZ,
            ..via(M1)
        };
        world
            .router
            .adopt(world.now, "2001:db8::99".parse().unwrap(), elsewhere);
        world.link(&link(LAN));
        if querier {
            world.query_v2(HIGHER);
        }
        world.advance(TICK);
        world.report(M2, B2);
        // Half of the Query Response Interval; the rest is for a Report that comes late.
        world.advance(seconds(5));
        let mut asked: Vec<Sent> = world
            .take_sent(Time::ZERO)
            .into_iter()
            .map(|(_, sent)| sent)
            .collect();
        asked.sort();
        let twice = [B1, B1, B3, B3].map(|address| Sent::Specific(LAN, address));
        assert_eq!(asked, twice, "{mode:?}");
        world.advance(QUERY);
        let sent = world.take_sent(Time::ZERO);
        assert!(
            sent.iter()
                .all(|(_, sent)| *sent == Sent::Specific(LAN, B2)),
            "they are given up: {sent:?}"
        );
    }
}

#[test]
fn a_general_query_or_another_querier_asks_for_adopted_routes_too() {
    for lower in [false, true] {
        let mut world = World::new(settings());
        world.router.adopt(world.now, B1, via(M1));
        world.link(&link(LAN));
        if lower {
            world.query(LOWER);
            world.advance(OTHER_QUERIER);
        }
        world.advance(seconds(4));
        world.query_v2(HIGHER);
        world.advance(QUERY);
        let specific = world.count(Counter::SpecificQuerySent);
        assert_eq!(specific, 0, "{lower}");
    }
}
