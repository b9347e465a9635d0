//! Joining, leaving and timing out.

use super::*;
use crate::core::router::LinkRole;

#[test]
fn a_report_joins_and_its_member_times_out() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    assert_eq!(
        world.take(),
        [
            joined(B1, M1),
            Action::Route(RouteAction::Set {
                anycast: B1,
                next_hops: vec![via(M1)]
            }),
            Action::Notice(Notice::Route {
                anycast: B1,
                next_hops: vec![M1]
            }),
        ]
    );
    let group = world.group(B1).unwrap();
    assert_eq!(group.state, GroupState::ListenersPresent);
    assert_eq!(group.interface, "lan");
    assert_eq!(group.next_hops, [via(M1)]);
    let member = &group.members[0];
    assert_eq!(member.mac, mac(M1));
    assert_eq!(
        (member.since, member.expires_in),
        (Duration::ZERO, LISTENER)
    );
    assert_eq!((member.rule, member.checking), (0, false));

    world.advance(LISTENER - TICK);
    assert_eq!(world.left(B1, M1), Some(TICK));
    world.actions.clear();
    world.advance(TICK);
    assert_eq!(
        world.take(),
        [
            left(B1, M1, LeaveCause::Timeout),
            Action::Route(RouteAction::Remove { anycast: B1 }),
            Action::Notice(Notice::Route {
                anycast: B1,
                next_hops: vec![]
            }),
        ]
    );
    assert_eq!(world.group(B1), None);
}

#[test]
fn a_report_refreshes_only_its_sender() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.report(M2, B1);
    world.advance(seconds(100));
    world.take();
    world.report(M1, B1);
    assert_eq!(world.take(), [], "nothing changed");
    assert_eq!(world.left(B1, M1), Some(LISTENER));
    assert_eq!(world.left(B1, M2), Some(LISTENER - seconds(100)));
    assert_eq!(world.group(B1).unwrap().members[0].since, seconds(100));
    world.advance(LISTENER - seconds(100));
    assert_eq!(world.members(B1), [M1]);
}

#[test]
fn a_done_as_querier_asks_and_then_lets_go() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.take();
    let start = world.now;
    world.done(M1, B1);
    assert_eq!(world.state(B1), Some(GroupState::CheckingListeners));
    assert_eq!(world.left(B1, M1), Some(CHECK));
    world.advance(CHECK - TICK);
    assert_eq!(world.members(B1), [M1], "it stays in the route so long");
    world.advance(TICK);
    assert!(world.members(B1).is_empty());
    let cause = LeaveCause::Done;
    assert!(
        world
            .actions
            .iter()
            .any(|(_, action)| *action == left(B1, M1, cause))
    );
    world.advance(seconds(5));
    assert_eq!(
        world.take_sent(start),
        [
            (Duration::ZERO, Sent::Specific(LAN, B1)),
            (SECOND, Sent::Specific(LAN, B1)),
        ]
    );
    assert_eq!(world.count(Counter::SpecificQuerySent), 2);
}

#[test]
fn a_done_does_not_lengthen_a_life() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.advance(LISTENER - SECOND);
    world.done(M1, B1);
    assert_eq!(world.left(B1, M1), Some(SECOND));
}

#[test]
fn a_forged_done_is_answered_by_the_member() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    let start = world.now;
    world.take();
    world.done(M1, B1);
    world.advance(Duration::from_millis(20));
    world.report(M1, B1);
    assert_eq!(world.state(B1), Some(GroupState::ListenersPresent));
    assert_eq!(world.left(B1, M1), Some(LISTENER));
    world.advance(seconds(10));
    assert_eq!(
        world.take_sent(start),
        [(Duration::ZERO, Sent::Specific(LAN, B1))],
        "the answer clears the retransmit timer"
    );
    assert_eq!(world.members(B1), [M1]);
}

#[test]
fn forged_dones_do_not_set_the_pace_of_queries() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    let start = world.now;
    world.take();
    for _ in 0..110 {
        world.done(M1, B1);
        world.advance(Duration::from_millis(20));
        world.report(M1, B1);
        world.advance(Duration::from_millis(30));
    }
    let sent = world.take_sent(start);
    assert!(sent.len() <= 6, "in 5.5 s: {sent:?}");
    // The check that has to wait for its first Query leaves all the time to answer it.
    world.done(M1, B1);
    assert!(world.left(B1, M1).unwrap() > CHECK);
    world.advance(CHECK + SECOND);
    assert!(world.members(B1).is_empty());
}

#[test]
fn of_two_members_one_leaves() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.report(M2, B1);
    world.take();
    world.done(M1, B1);
    world.report(M2, B1);
    assert_eq!(
        world.state(B1),
        Some(GroupState::CheckingListeners),
        "the other's Report is no answer for the first"
    );
    let start = world.now;
    world.advance(CHECK);
    assert_eq!(
        world.take_routes(),
        [(B1, vec![via(M2)])],
        "the route changes once"
    );
    assert_eq!(world.left(B1, M2), Some(LISTENER - (world.now - start)));
    assert_eq!(world.state(B1), Some(GroupState::ListenersPresent));
}

#[test]
fn two_members_leave_together() {
    let mut world = World::running(settings());
    for member in [M1, M2, M3] {
        world.report(member, B1);
    }
    world.take();
    let start = world.now;
    world.done(M1, B1);
    world.advance(Duration::from_millis(500));
    world.done(M2, B1);
    // M2's check waits for the Query at 1 s, and has two of its own.
    assert_eq!(world.left(B1, M2), Some(Duration::from_millis(2500)));
    world.advance(Duration::from_millis(1500));
    assert_eq!(world.members(B1), [M2, M3]);
    world.advance(SECOND);
    assert_eq!(world.members(B1), [M3]);
    world.advance(seconds(5));
    let expected = [0, 1, 2].map(|second| (seconds(second), Sent::Specific(LAN, B1)));
    assert_eq!(world.take_sent(start), expected);
}

#[test]
fn a_check_goes_on_after_the_election_is_lost() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.take();
    let start = world.now;
    world.done(M1, B1);
    world.query(LOWER);
    world.done(M1, B1);
    assert_eq!(world.count(Counter::DoneIgnored), 1);
    world.advance(CHECK);
    assert!(world.members(B1).is_empty());
    assert_eq!(
        world.take_sent(start),
        [
            (Duration::ZERO, Sent::Specific(LAN, B1)),
            (SECOND, Sent::Specific(LAN, B1)),
        ]
    );
}

#[test]
fn a_non_querier_ignores_done() {
    let mut world = World::quiet(settings());
    world.report(M1, B1);
    world.take();
    world.done(M1, B1);
    assert_eq!(world.take(), []);
    assert_eq!(world.left(B1, M1), Some(LISTENER));
    assert_eq!(world.count(Counter::DoneIgnored), 1);
}

#[test]
fn a_non_querier_makes_the_checks_of_the_querier_its_own() {
    // The Query may be one that no member has heard: what it says about the time to answer does not count.
    for delay in [SECOND / 4, Duration::ZERO, seconds(500)] {
        let mut world = World::quiet(settings());
        world.report(M1, B1);
        world.report(M2, B1);
        world.report(M1, B2);
        world.take();
        let start = world.now;
        world.query_about(LOWER, B1, delay);
        assert_eq!(world.left(B1, M1), Some(CHECK), "{delay:?}");
        assert_eq!(world.left(B1, M2), Some(CHECK), "{delay:?}");
        assert_eq!(world.left(B2, M1), Some(LISTENER), "another group");
        assert_eq!(world.state(B1), Some(GroupState::CheckingListeners));
        world.report(M2, B1);
        assert_eq!(world.left(B1, M2), Some(LISTENER));
        world.advance(CHECK);
        assert_eq!(world.members(B1), [M2]);
        let asked = [0, 1].map(|second| (seconds(second), Sent::Specific(LAN, B1)));
        assert_eq!(world.take_sent(start), asked, "{delay:?}");
        assert_eq!(world.lan().role, LinkRole::NonQuerier);
    }
}

#[test]
fn a_query_takes_no_member_away_that_answers_us() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.take();
    let start = world.now;
    // One that never asks the members: a host with the lowest address, whose Queries reach this router alone.
    for _ in 0..20 {
        world.query_about(LOWEST, B1, Duration::ZERO);
        let asked = world.take_sent(world.now);
        assert_eq!(asked, [(Duration::ZERO, Sent::Specific(LAN, B1))]);
        world.report(M1, B1);
        world.advance(seconds(100));
        assert_eq!(world.members(B1), [M1]);
    }
    // One that keeps the role and asks nobody: the members are asked when their time is over.
    let start_of_silence = world.now;
    world.report(M1, B1);
    world.take();
    for _ in 0..2 {
        world.query(LOWEST);
        world.advance(LISTENER / 2);
    }
    let due = (LISTENER, Sent::Specific(LAN, B1));
    assert_eq!(world.take_sent(start_of_silence), [due]);
    world.report(M1, B1);
    world.advance(LISTENER - SECOND);
    assert_eq!(world.members(B1), [M1]);
    // It gave no sign of life to us either.
    world.query(LOWEST);
    world.advance(SECOND + CHECK);
    assert_eq!(world.members(B1), [M1; 0]);
    assert!(world.now > start);
}

#[test]
fn non_queriers_do_not_answer_each_other_for_ever() {
    let between: Ipv6Addr = "fe80::30".parse().unwrap();
    let mut world = World::quiet(settings());
    world.report(M1, B1);
    world.take();
    for _ in 0..5 {
        world.query_about(between, B1, Duration::ZERO);
        world.advance(SECOND);
    }
    assert_eq!(world.take_sent(Time::ZERO), []);
    assert_eq!(world.lan().querier, Some(LOWER));
}

#[test]
fn queries_of_strangers_change_nothing() {
    let mut settings = settings();
    settings.links[0].queriers = vec!["fe80::10/128".parse().unwrap()];
    let mut world = World::running(settings);
    world.report(M1, B1);
    world.take();
    let start = world.now;
    world.query(LOWEST);
    world.query_about(LOWEST, B1, Duration::ZERO);
    world.query_v2(LOWEST);
    assert_eq!(world.count(Counter::QueryDenied), 3);
    assert_eq!(world.count(Counter::QueryHeard), 0);
    let view = world.lan();
    assert!(view.ours && view.v2_querier.is_none());
    assert_eq!(world.left(B1, M1), Some(LISTENER));
    let notices = world.take_notices();
    assert!(notices.iter().all(|notice| matches!(
        notice,
        Notice::MldRefused {
            reason: "query_denied",
            ..
        }
    )));
    world.query(LOWER);
    assert_eq!(world.lan().querier, Some(LOWER));
    assert_eq!(world.now, start);
}

#[test]
fn a_querier_does_not_follow_a_higher_router() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.query_about(HIGHER, B1, Duration::ZERO);
    assert_eq!(world.left(B1, M1), Some(LISTENER));
    // A lower one's Query decides the election first, and then counts.
    world.query_about(LOWER, B1, Duration::ZERO);
    assert_eq!(world.left(B1, M1), Some(CHECK));
}

#[test]
fn a_done_of_a_stranger_is_ignored() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.take();
    world.done(M2, B1);
    world.done(M1, B2);
    assert_eq!(world.take(), []);
    assert_eq!(world.count(Counter::DoneIgnored), 2);
}

#[test]
fn fast_leave_lets_go_at_once_and_asks_after() {
    let mut settings = settings();
    settings.links[0].fast_leave = true;
    let mut world = World::running(settings);
    world.report(M1, B1);
    world.report(M2, B1);
    world.take_routes();
    let start = world.now;
    world.done(M1, B1);
    assert_eq!(world.members(B1), [M2]);
    assert_eq!(world.state(B1), Some(GroupState::ListenersPresent));
    world.advance(seconds(3));
    world.done(M2, B1);
    assert!(world.members(B1).is_empty());
    world.advance(seconds(3));
    assert_eq!(
        world.take_sent(start),
        [0, 1, 3].map(|second| (seconds(second), Sent::Specific(LAN, B1)))
    );
    // As Non-Querier it is ignored all the same.
    world.query(LOWER);
    world.report(M1, B1);
    world.done(M1, B1);
    assert_eq!(world.members(B1), [M1]);
}

#[test]
fn what_is_not_for_a_router_is_refused() {
    let mut world = World::running(settings());
    world.report("2001:db8::1".parse().unwrap(), B1);
    for address in ["::", "::1", "fe80::1", "::ffff:192.0.2.1", "ff05::1"] {
        world.report(M1, address.parse().unwrap());
        world.done(M1, address.parse().unwrap());
    }
    assert_eq!(world.count(Counter::MldInvalid), 11);
    let notices = world.take_notices();
    assert_eq!(notices.len(), 11);
    assert!(notices.iter().all(|notice| matches!(
        notice,
        Notice::MldRefused { reason, .. } if *reason == Counter::MldInvalid.name()
    )));
    world.message(9, M1, mld::Message::Report { address: B1 });
    assert_eq!(world.count(Counter::MldNoLink), 1);
    assert_eq!(world.router.groups(world.now), []);
}
