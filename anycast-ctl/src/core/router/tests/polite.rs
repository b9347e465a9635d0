//! Where no General Queries are sent.

use super::*;
use crate::core::router::{Queries, Reason};

#[test]
fn an_mldv2_querier_stops_general_queries_as_long_as_it_is_heard() {
    let mut world = World::running(settings());
    let start = world.now;
    world.query_v2(LOWER);
    assert_eq!(
        (world.lan().queries, world.lan().reason),
        (Queries::AddressSpecific, Reason::V2Querier)
    );
    for _ in 0..4 {
        world.advance(QUERY);
        world.query_v2(LOWER);
    }
    assert_eq!(world.take_sent(start), [], "there is nobody to ask");
    assert_eq!(world.lan().reason, Reason::V2Querier);
    let last = world.now;
    world.advance(OTHER_QUERIER + QUERY);
    assert_eq!(
        world.take_sent(last),
        [
            (OTHER_QUERIER, Sent::General(LAN)),
            (OTHER_QUERIER + QUERY, Sent::General(LAN)),
        ]
    );
    assert_eq!(world.lan().v2_querier, None);
}

#[test]
fn refreshes_end_when_it_is_gone() {
    let mut world = World::running(settings());
    world.query_v2(LOWER);
    world.report(M1, B1);
    world.advance(OTHER_QUERIER - SECOND);
    world.report(M1, B1);
    world.take();
    world.advance(LISTENER - SECOND);
    let sent = world.take_sent(Time::ZERO);
    assert!(!sent.is_empty());
    assert!(
        sent.iter().all(|(_, sent)| *sent == Sent::General(LAN)),
        "{sent:?}"
    );
}

#[test]
fn its_interval_is_its_own() {
    let mut world = World::running(settings());
    let query = |robustness, interval| {
        mld::Message::Query(mld::Query {
            max_response_delay: seconds(20),
            address: Ipv6Addr::UNSPECIFIED,
            version: Version::V2 {
                suppress: false,
                robustness,
                interval,
            },
        })
    };
    // 3 x 110 s + 20 s / 2. More than three intervals of ours nobody is believed: 7 x 31744 s would be 61 hours.
    for (robustness, interval, present) in [(3, 110, 340), (3, 600, 375), (7, 31744, 375)] {
        let start = world.now;
        world.message(LAN, LOWER, query(robustness, seconds(interval)));
        world.advance(seconds(present) - SECOND);
        assert_eq!(world.take_sent(start), [], "{robustness} x {interval} s");
        world.advance(SECOND);
        assert_eq!(
            world.take_sent(start),
            [(seconds(present), Sent::General(LAN))]
        );
    }
    // Zero is for "see your own": 2 x 125 s + 20 s / 2.
    let start = world.now;
    world.message(LAN, LOWER, query(0, Duration::ZERO));
    world.advance(seconds(260));
    assert_eq!(world.take_sent(start), [(seconds(260), Sent::General(LAN))]);
}

#[test]
fn known_groups_are_refreshed_in_turn() {
    let mut world = World::running(settings());
    world.query_v2(LOWER);
    for group in [B1, B2, B3] {
        world.report(M1, group);
    }
    let start = world.now;
    world.take();
    for _ in 0..2 {
        world.advance(QUERY);
        world.query_v2(LOWER);
        for group in [B1, B2, B3] {
            world.report(M1, group);
        }
    }
    world.advance(SECOND);
    let sent = world.take_sent(start);
    for group in [B1, B2, B3] {
        let times: Vec<u64> = sent
            .iter()
            .filter(|(_, sent)| *sent == Sent::Specific(LAN, group))
            .map(|(time, _)| time.as_secs())
            .collect();
        // Twice, so that one lost answer does no harm at a Non-Querier.
        let [first, again, second, last] = times[..] else {
            panic!("{group}: {times:?}");
        };
        assert_eq!((again, last), (first + 1, second + 1));
        assert_eq!(second - first, QUERY.as_secs());
    }
    let mut firsts: Vec<Duration> = sent.iter().map(|(time, _)| *time).collect();
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts.len(), 12, "no two at the same time");
    assert_eq!(
        world.count(Counter::GeneralQuerySent),
        2,
        "those of the startup"
    );
}

#[test]
fn refresh_keeps_a_member_that_hears_no_general_query() {
    let mut world = World::running(with(GeneralQueries::Never));
    world.report(M1, B1);
    for _ in 0..20 {
        world.actions.clear();
        world.advance(seconds(60));
        let asked = world
            .actions
            .iter()
            .any(|(_, action)| matches!(action, Action::Send { .. }));
        if asked {
            world.report(M1, B1);
        }
    }
    assert_eq!(world.members(B1), [M1]);
    assert_eq!(
        world.state(B1),
        Some(GroupState::ListenersPresent),
        "a refresh is no check"
    );
    assert_eq!(world.count(Counter::GeneralQuerySent), 0);
    assert_eq!(world.lan().reason, Reason::Configured);
}

#[test]
fn a_new_group_does_not_wait_for_a_slow_turn() {
    let mut world = World::running(with(GeneralQueries::Never));
    world.report(M1, B1);
    let start = world.now;
    for group in [B2, B3] {
        world.report(M1, group);
    }
    world.take();
    world.advance(QUERY);
    let mut groups: Vec<Sent> = world
        .take_sent(start)
        .into_iter()
        .map(|(_, sent)| sent)
        .collect();
    groups.sort();
    groups.dedup();
    assert_eq!(groups, [B1, B2, B3].map(|group| Sent::Specific(LAN, group)));
}

#[test]
fn a_refresh_ends_with_the_election() {
    let mut world = World::running(with(GeneralQueries::Never));
    world.report(M1, B1);
    world.advance(QUERY);
    world.take();
    world.query(LOWER);
    world.report(M1, B1);
    world.advance(seconds(250));
    assert_eq!(world.take_sent(Time::ZERO), []);
    // Won again, it goes on without a General Query.
    world.report(M1, B1);
    world.advance(QUERY);
    let sent = world.take_sent(Time::ZERO);
    assert!(
        sent.iter()
            .all(|(_, sent)| *sent == Sent::Specific(LAN, B1))
    );
    assert_eq!(world.count(Counter::GeneralQuerySent), 0);
}

/// The last Query of the other Querier is answered, then it dies. Without haste all its members
/// would time out before anybody asks them.
#[test]
fn an_election_loses_no_member() {
    let mut world = World::running(with(GeneralQueries::Never));
    world.query(LOWER);
    for group in [B1, B2, B3] {
        world.report(M1, group);
    }
    for _ in 0..200 {
        world.take();
        world.advance(SECOND * 2);
        let sent = world.take_sent(Time::ZERO);
        for group in [B1, B2, B3] {
            if sent
                .iter()
                .any(|(_, sent)| *sent == Sent::Specific(LAN, group))
            {
                world.report(M1, group);
            }
        }
        assert_eq!(world.router.groups(world.now).len(), 3, "{:?}", world.now);
    }
}

#[test]
fn always_does_not_mind_an_mldv2_querier() {
    let mut world = World::running(with(GeneralQueries::Always));
    world.query_v2(LOWER);
    world.advance(QUERY);
    assert_eq!(world.count(Counter::GeneralQuerySent), 3);
    assert_eq!(
        (world.lan().queries, world.lan().reason),
        (Queries::General, Reason::Querier)
    );
}

#[test]
fn a_check_works_next_to_an_mldv2_querier_with_a_lower_address() {
    let mut world = World::running(settings());
    world.query_v2(LOWEST);
    world.report(M1, B1);
    world.done(M1, B1);
    world.advance(CHECK);
    assert!(world.members(B1).is_empty());
}

#[test]
fn of_two_polite_routers_the_higher_one_is_quiet() {
    let mut world = World::running(settings());
    world.query_v2(LOWEST);
    world.report(M1, B1);
    world.query_about(LOWER, B1, Duration::ZERO);
    assert!(!world.lan().ours);
    // The Querier's refresh is two Queries: an answer to either will do.
    world.advance(SECOND);
    world.report(M1, B1);
    assert_eq!(world.left(B1, M1), Some(LISTENER));
}

#[test]
fn an_mldv2_query_about_a_group_counts_like_a_general_one() {
    let mut world = World::running(settings());
    world.query_v2_about(HIGHER, B1);
    assert_eq!(
        world.lan().v2_querier,
        None,
        "RFC 3810 has none about unicast"
    );
    assert_eq!(world.lan().queries, Queries::General);
    let start = world.now;
    world.query_v2_about(HIGHER, "ff05::1".parse().unwrap());
    assert_eq!(world.lan().reason, Reason::V2Querier);
    // Its own Query Interval, but not the second in which the listeners of the group answer.
    world.advance(OTHER_QUERIER);
    assert_eq!(world.lan().v2_querier, None);
    assert_eq!(
        world.take_sent(start),
        [(OTHER_QUERIER, Sent::General(LAN))]
    );
}

#[test]
fn of_two_mldv2_queriers_the_longer_counts() {
    let mut world = World::running(settings());
    let query = |interval| {
        mld::Message::Query(mld::Query {
            max_response_delay: seconds(10),
            address: Ipv6Addr::UNSPECIFIED,
            version: Version::V2 {
                suppress: false,
                robustness: 2,
                interval,
            },
        })
    };
    world.message(LAN, LOWER, query(seconds(125)));
    world.message(LAN, LOWEST, query(seconds(20)));
    world.take();
    world.advance(seconds(254));
    assert_eq!(world.take_sent(Time::ZERO), []);
}
