//! Querier and Non-Querier (RFC 2710 sections 4 and 6).

use super::*;
use crate::core::router::{LinkRole, Queries, Reason};

fn querier(querier: Ipv6Addr) -> Notice {
    Notice::Querier {
        ifindex: LAN,
        querier,
        ours: querier == OWN,
    }
}

#[test]
fn startup_queries_then_periodic_ones() {
    let mut world = World::new(settings());
    world.link(&link(LAN));
    assert_eq!(
        world.actions[0].1,
        Action::Notice(querier(OWN)),
        "the first thing to know is who asks"
    );
    world.advance(seconds(300));
    let times: Vec<Duration> = world
        .take_sent(Time::ZERO)
        .into_iter()
        .map(|(time, sent)| {
            assert_eq!(sent, Sent::General(LAN));
            time
        })
        .collect();
    // It listens for 3 s. Startup Query Count 2, Startup Query Interval 31.25 s, then Query
    // Interval 125 s.
    let millis = [3_000, 34_250, 159_250, 284_250].map(Duration::from_millis);
    assert_eq!(times, millis);
    assert_eq!(world.count(Counter::GeneralQuerySent), 4);
}

#[test]
fn a_lower_querier_silences_us_and_a_higher_one_does_not() {
    let mut world = World::running(settings());
    world.query(HIGHER);
    assert!(world.lan().ours);
    world.query(LOWER);
    assert_eq!(world.take_notices(), [querier(LOWER)]);
    let view = world.lan();
    assert_eq!(view.role, LinkRole::NonQuerier);
    assert_eq!(
        (view.queries, view.reason),
        (Queries::None, Reason::OtherQuerier)
    );
    assert_eq!(view.other_querier_expires_in, Some(OTHER_QUERIER));
    let start = world.now;
    world.advance(OTHER_QUERIER - TICK);
    assert_eq!(world.take_sent(start), []);
    world.advance(TICK);
    assert!(world.lan().ours);
    world.advance(QUERY);
    assert_eq!(
        world.take_sent(start),
        [
            (OTHER_QUERIER, Sent::General(LAN)),
            (OTHER_QUERIER + QUERY, Sent::General(LAN)),
        ],
        "no startup Queries after an election"
    );
    assert_eq!(world.count(Counter::QueryHeard), 2);
}

#[test]
fn every_lower_query_restarts_the_timer_specific_ones_too() {
    let mut world = World::quiet(settings());
    for address in [Ipv6Addr::UNSPECIFIED, B1, "ff05::2".parse().unwrap()] {
        world.advance(seconds(200));
        world.query_about(LOWER, address, SECOND);
        assert_eq!(world.lan().other_querier_expires_in, Some(OTHER_QUERIER));
    }
    assert!(!world.lan().ours);
}

#[test]
fn the_lowest_of_several_is_shown() {
    let mut world = World::quiet(settings());
    world.query(LOWEST);
    world.query(LOWER);
    assert_eq!(world.lan().querier, Some(LOWEST));
    assert_eq!(world.take_notices(), [querier(LOWEST)]);
    // The lowest falls silent; the other one takes over.
    world.advance(seconds(200));
    world.query(LOWER);
    assert_eq!(world.lan().querier, Some(LOWEST));
    world.advance(seconds(55));
    world.query(LOWER);
    assert_eq!(world.lan().querier, Some(LOWER));
}

#[test]
fn startup_ends_with_the_election() {
    let mut world = World::new(settings());
    world.link(&link(LAN));
    world.query(LOWER);
    world.take();
    world.advance(seconds(250));
    assert_eq!(world.take_sent(Time::ZERO), []);
}

#[test]
fn an_mldv2_query_takes_no_part() {
    for mode in [
        GeneralQueries::Always,
        GeneralQueries::Polite,
        GeneralQueries::Never,
    ] {
        let mut world = World::running(with(mode));
        world.query_v2(LOWER);
        assert!(world.lan().ours, "{mode:?}");
        assert_eq!(world.lan().v2_querier, Some(LOWER));
        assert_eq!(world.take_notices(), []);
    }
}

#[test]
fn our_own_address_is_refused() {
    let mut world = World::running(settings());
    world.query(OWN);
    world.report(OWN, B1);
    assert_eq!(world.count(Counter::MldInvalid), 2);
    assert_eq!(world.count(Counter::QueryHeard), 0);
    assert!(world.members(B1).is_empty());
}

#[test]
fn another_address_may_win_or_keep_the_election() {
    let mut world = World::quiet(settings());
    let numbered = |address| Link {
        link_local: Some(address),
        ..link(LAN)
    };
    world.link(&numbered(HIGHER));
    assert_eq!(world.take(), []);
    world.link(&numbered(LOWEST));
    let start = world.now;
    assert!(world.lan().ours);
    assert_eq!(world.lan().other_querier_expires_in, None);
    assert_eq!(
        world.take_sent(start),
        [(Duration::ZERO, Sent::General(LAN))]
    );
    // As the Querier there is only the notice.
    world.link(&numbered(HIGHER));
    assert_eq!(
        world.take_notices(),
        [Notice::Querier {
            ifindex: LAN,
            querier: HIGHER,
            ours: true
        }]
    );
    world.advance(QUERY);
    let Some((_, Action::Send { packet, .. })) = world.actions.first() else {
        panic!("a General Query is due");
    };
    assert_eq!(ipv6::Packet::parse(packet).unwrap().source, HIGHER);
}

#[test]
fn without_a_link_local_address_nothing_is_sent() {
    let mut world = World::new(settings());
    world.link(&Link {
        link_local: None,
        ..link(LAN)
    });
    world.report(M1, B1);
    world.query(LOWER);
    world.done(M1, B1);
    world.advance(seconds(100));
    assert_eq!(world.take_sent(Time::ZERO), []);
    assert_eq!(world.members(B1), [M1], "a host may join nevertheless");
    assert_eq!(world.lan().reason, Reason::NoLinkLocal);
    assert_eq!(world.count(Counter::DoneIgnored), 1);
    let start = world.now;
    world.link(&link(LAN));
    world.advance(seconds(40));
    assert_eq!(world.take_sent(start), STARTUP);
    // It goes away again.
    world.link(&Link {
        link_local: None,
        ..link(LAN)
    });
    world.advance(seconds(100));
    assert_eq!(world.take_sent(start), []);
    assert_eq!(world.members(B1), [M1]);
}
