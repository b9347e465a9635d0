//! Links that come, change and go.

use super::*;
use crate::core::router::{LinkRole, Reason};

fn down(ifindex: u32) -> Link {
    Link {
        up: false,
        ..link(ifindex)
    }
}

#[test]
fn a_link_that_goes_down_takes_its_members_along() {
    let mut world = World::running(settings());
    world.link(&link(DMZ));
    world.report(M1, B1);
    world.message(DMZ, M1, mld::Message::Report { address: B1 });
    world.report(M2, B2);
    world.take();
    world.link(&down(LAN));
    let hop = NextHop {
        via: Some(M1),
        ifindex: DMZ,
    };
    assert_eq!(
        world.take(),
        [
            left(B1, M1, LeaveCause::LinkDown),
            left(B2, M2, LeaveCause::LinkDown),
            Action::Route(RouteAction::Set {
                anycast: B1,
                next_hops: vec![hop]
            }),
            Action::Notice(Notice::Route {
                anycast: B1,
                next_hops: vec![M1]
            }),
            Action::Route(RouteAction::Remove { anycast: B2 }),
            Action::Notice(Notice::Route {
                anycast: B2,
                next_hops: vec![]
            }),
        ]
    );
    let view = world.lan();
    assert_eq!(
        (view.role, view.reason, view.up),
        (LinkRole::Initial, Reason::Down, false)
    );
    world.report(M1, B1);
    world.query(LOWER);
    assert_eq!(world.count(Counter::MldNoLink), 2);
    world.advance(seconds(1000));
    assert!(
        world
            .take_sent(Time::ZERO)
            .iter()
            .all(|(_, sent)| *sent == Sent::General(DMZ))
    );
}

#[test]
fn a_link_that_comes_back_starts_anew() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.done(M1, B1);
    world.query(LOWER);
    world.query_v2(LOWER);
    world.link(&down(LAN));
    world.take();
    assert_eq!(world.router.deadline(), None);
    let start = world.now;
    world.link(&link(LAN));
    world.advance(seconds(40));
    assert_eq!(world.take_sent(start), STARTUP);
}

#[test]
fn saying_it_twice_changes_nothing() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.take();
    let deadline = world.router.deadline();
    world.link(&link(LAN));
    assert_eq!(world.take(), []);
    assert_eq!(world.router.deadline(), deadline);
    world.link(&down(LAN));
    world.take();
    world.link(&down(LAN));
    world.gone(77);
    assert_eq!(world.take(), []);
}

#[test]
fn a_link_without_settings_is_not_ours() {
    let mut world = World::new(settings());
    let other = Link {
        name: "wan".to_owned(),
        ..link(9)
    };
    world.link(&other);
    world.message(9, M1, mld::Message::Report { address: B1 });
    assert_eq!(world.count(Counter::MldNoLink), 1);
    assert_eq!(world.router.deadline(), None);
    assert_eq!(
        world.router.links(world.now).len(),
        2,
        "those of the settings"
    );
}

#[test]
fn gone_is_gone() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.take();
    world.gone(LAN);
    assert_eq!(world.take_routes(), [(B1, vec![])]);
    assert_eq!(world.lan().ifindex, None);
    assert_eq!(world.router.deadline(), None);
}

#[test]
fn a_link_takes_its_refreshes_along() {
    let mut world = World::running(with(GeneralQueries::Never));
    world.report(M1, B1);
    world.take();
    world.advance(QUERY);
    assert_eq!(world.count(Counter::SpecificQuerySent), 1);
    world.gone(LAN);
    assert_eq!(world.router.deadline(), None);
}

#[test]
fn another_index_is_another_link() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.take();
    let again = Link {
        ifindex: 12,
        ..link(LAN)
    };
    world.link(&again);
    assert_eq!(world.take_routes(), [(B1, vec![])]);
    assert_eq!(world.lan().ifindex, Some(12));
    world.message(12, M1, mld::Message::Report { address: B1 });
    assert_eq!(world.members(B1), [M1]);
}

#[test]
fn another_name_is_another_link() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    // "lan" becomes "dmz", and the old "dmz" has gone without a word.
    world.link(&link(DMZ));
    world.take();
    let renamed = Link {
        name: "dmz".to_owned(),
        ..link(LAN)
    };
    world.link(&renamed);
    assert_eq!(world.take_routes(), [(B1, vec![])]);
    let views = world.router.links(world.now);
    assert_eq!((views[0].ifindex, views[1].ifindex), (None, Some(LAN)));
    let unknown = Link {
        name: "wan".to_owned(),
        ..link(LAN)
    };
    world.link(&unknown);
    assert_eq!(world.router.deadline(), None);
}

#[test]
fn an_address_change_keeps_the_members() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.link(&Link {
        link_local: Some(HIGHER),
        ..link(LAN)
    });
    assert_eq!(world.members(B1), [M1]);
}

#[test]
fn shutdown_withdraws_every_route() {
    let mut world = World::running(settings());
    world.link(&link(DMZ));
    world.report(M1, B1);
    world.message(DMZ, M2, mld::Message::Report { address: B2 });
    world.take();
    world.step(Router::shutdown);
    assert_eq!(
        world
            .actions
            .iter()
            .filter(|(_, action)| matches!(
                action,
                Action::Notice(Notice::MemberLeft {
                    cause: LeaveCause::Shutdown,
                    ..
                })
            ))
            .count(),
        2
    );
    assert_eq!(world.take_routes(), [(B1, vec![]), (B2, vec![])]);
    assert_eq!(world.router.deadline(), None);
    assert_eq!(world.router.groups(world.now), []);
    world.step(Router::shutdown);
    assert_eq!(world.take(), []);
}

#[test]
fn views_are_for_json() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.advance(SECOND);
    let group = serde_json::to_value(world.router.groups(world.now)).unwrap();
    assert_eq!(group[0]["state"], "listeners_present");
    assert_eq!(group[0]["members"][0]["mac"], "02:00:00:00:00:a1");
    assert_eq!(group[0]["members"][0]["since"], 1.0);
    assert_eq!(group[0]["members"][0]["expires_in"], 259.0);
    assert_eq!(group[0]["next_hops"][0]["via"], "fe80::a1");
    let link = serde_json::to_value(world.lan()).unwrap();
    assert_eq!(link["role"], "querier");
    assert_eq!(link["general_queries"], "polite");
    assert_eq!(link["queries"], "general");
    assert_eq!(link["timers"]["query_interval"], 125.0);
    assert_eq!(link["other_querier_expires_in"], serde_json::Value::Null);
}
