//! Who is let in (draft host-anycast section 5).

use super::*;
use crate::core::{
    notice::RefusedBy,
    router::{Decision, MAX_RULES, Mismatch, PolicyError, Position, Step, Verdict},
};

#[test]
fn the_first_match_decides_and_none_is_no() {
    let policy = Policy::new(vec![
        Rule {
            source: "fe80::a2/128".parse().unwrap(),
            allow: false,
            ..everybody()
        },
        Rule {
            interface: Some("dmz".to_owned()),
            ..everybody()
        },
        Rule {
            mac: Some(mac(M1)),
            anycast: "2001:db8::b1/128".parse().unwrap(),
            ..everybody()
        },
    ]);
    let other = [2, 0, 0, 0, 0, 0xee];
    let rows = [
        ("lan", M1, mac(M1), B1, Some(2), true),
        ("lan", M1, other, B1, None, false),
        ("lan", M1, mac(M1), B2, None, false),
        ("dmz", M1, other, B2, Some(1), true),
        ("dmz", M2, mac(M2), B2, Some(0), false),
        ("lan", M2, mac(M1), B1, Some(0), false),
    ];
    for (interface, source, mac, anycast, rule, allow) in rows {
        assert_eq!(
            policy.decide(interface, source, mac, anycast),
            Decision { rule, allow },
            "{interface} {source} {anycast}"
        );
    }
    assert!(!Policy::default().decide("lan", M1, mac(M1), B1).allow);
}

#[test]
fn a_refused_report_leaves_a_trace_and_nothing_else() {
    let mut settings = settings();
    settings.policy = Policy::default();
    let mut world = World::running(settings);
    world.report(M1, B1);
    let refused = Action::Notice(Notice::MldRefused {
        ifindex: LAN,
        source: M1,
        mac: mac(M1),
        by: RefusedBy::Controller,
        anycast: Some(B1),
        reason: "report_denied",
    });
    assert_eq!(world.take(), [refused]);
    assert_eq!(world.count(Counter::ReportDenied), 1);
    assert_eq!(world.count(Counter::ReportAccepted), 0);
    assert_eq!(world.router.groups(world.now), []);
}

#[test]
fn a_done_needs_leave_too() {
    let mut settings = settings();
    settings.policy = Policy::new(vec![Rule {
        mac: Some(mac(M1)),
        ..everybody()
    }]);
    let mut world = World::running(settings);
    world.report(M1, B1);
    world.message_from(LAN, mac(M2), M1, mld::Message::Done { address: B1 });
    assert_eq!(world.count(Counter::ReportDenied), 1);
    assert_eq!(world.state(B1), Some(GroupState::ListenersPresent));
    // A forged Report does not touch the member either.
    world.advance(SECOND);
    world.message_from(LAN, mac(M2), M1, mld::Message::Report { address: B1 });
    assert_eq!(world.left(B1, M1), Some(LISTENER - SECOND));
}

#[test]
fn caps_have_their_own_counters() {
    let mut settings = settings();
    settings.policy = Policy::new(vec![Rule {
        max_members_per_group: Some(2),
        max_groups_per_member: Some(2),
        ..everybody()
    }]);
    let mut world = World::running(settings);
    world.link(&link(DMZ));
    world.report(M1, B1);
    world.message(DMZ, M2, mld::Message::Report { address: B1 });
    world.take();
    world.report(M3, B1);
    assert_eq!(world.count(Counter::GroupFull), 1);
    assert!(matches!(
        world.take()[..],
        [Action::Notice(Notice::MldRefused {
            reason: "group_full",
            ..
        })]
    ));
    world.report(M1, B2);
    world.report(M1, B3);
    assert_eq!(world.count(Counter::MemberFull), 1);
    // Who is in refreshes; who leaves makes room.
    world.report(M1, B1);
    world.done(M1, B1);
    world.advance(CHECK);
    world.report(M3, B1);
    world.report(M1, B3);
    assert_eq!(world.members(B3), [M1]);
    assert_eq!(world.count(Counter::GroupFull), 1);
    assert_eq!(world.count(Counter::MemberFull), 1);
    assert_eq!(world.count(Counter::ReportAccepted), 6);
}

#[test]
fn a_cap_of_zero_lets_nobody_in() {
    let mut world = World::running(settings());
    world.policy(vec![Rule {
        max_members_per_group: Some(0),
        ..everybody()
    }]);
    world.report(M1, B1);
    assert_eq!(world.count(Counter::GroupFull), 1);
}

#[test]
fn another_policy_takes_effect_at_once() {
    let mut world = World::running(settings());
    for member in [M1, M2] {
        world.report(member, B1);
    }
    world.report(M2, B2);
    world.take();
    world.policy(vec![
        Rule {
            source: "fe80::a2/128".parse().unwrap(),
            allow: false,
            ..everybody()
        },
        everybody(),
    ]);
    assert_eq!(
        world.take(),
        [
            left(B1, M2, LeaveCause::Policy),
            left(B2, M2, LeaveCause::Policy),
            Action::Route(RouteAction::Set {
                anycast: B1,
                next_hops: vec![via(M1)]
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
    assert_eq!(
        world.group(B1).unwrap().members[0].rule,
        1,
        "the rule it owes it to now"
    );
    world.policy(vec![everybody()]);
    assert_eq!(world.take(), []);
}

#[test]
fn lower_caps_keep_those_who_are_in() {
    let mut world = World::running(settings());
    world.report(M1, B1);
    world.report(M2, B1);
    world.policy(vec![Rule {
        max_members_per_group: Some(1),
        ..everybody()
    }]);
    world.report(M2, B1);
    assert_eq!(world.members(B1), [M1, M2]);
}

fn ids(policy: &Policy) -> Vec<usize> {
    policy.rules().iter().map(|known| known.id).collect()
}

#[test]
fn a_rule_keeps_its_number_wherever_others_come_and_go() {
    let mut policy = Policy::new(vec![everybody(), everybody()]);
    assert_eq!(policy.add(everybody(), Position::End), Ok(2));
    assert_eq!(policy.add(everybody(), Position::Before(0)), Ok(3));
    assert_eq!(policy.add(everybody(), Position::After(0)), Ok(4));
    assert_eq!(ids(&policy), [3, 0, 4, 1, 2]);
    assert_eq!(policy.remove(4), Ok(everybody()));
    assert_eq!(policy.remove(4), Err(PolicyError::NoRule(4)));
    assert_eq!(
        policy.add(everybody(), Position::After(4)),
        Err(PolicyError::NoRule(4))
    );
    // The number is not another rule's at once.
    assert_eq!(policy.add(everybody(), Position::End), Ok(5));
    assert_eq!(ids(&policy), [3, 0, 1, 2, 5]);
    let added: Vec<_> = policy.rules().iter().map(|known| known.added).collect();
    assert_eq!(added, [true, false, false, true, true]);
    while policy.rules().len() < MAX_RULES {
        let id = policy.add(everybody(), Position::End).unwrap();
        assert!(id < MAX_RULES);
    }
    assert!(
        ids(&policy).contains(&4),
        "when all were used, the free ones are again"
    );
    assert_eq!(
        policy.add(everybody(), Position::End),
        Err(PolicyError::Full)
    );
    let mut sorted = ids(&policy);
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), MAX_RULES);
}

#[test]
fn a_decision_names_the_number_of_its_rule() {
    let mut world = World::running(settings());
    let mut policy = Policy::new(vec![everybody()]);
    policy.add(everybody(), Position::Before(0)).unwrap();
    let mut actions = Vec::new();
    world.router.set_policy(world.now, policy, &mut actions);
    world.report(M1, B1);
    assert_eq!(world.group(B1).unwrap().members[0].rule, 1);
}

#[test]
fn an_explanation_says_why_each_rule_does_not_decide() {
    let mut settings = settings();
    let narrow = Rule {
        interface: Some("dmz".to_owned()),
        source: "fe80::a2/128".parse().unwrap(),
        mac: Some([9; 6]),
        anycast: "2001:db8::b2/128".parse().unwrap(),
        ..everybody()
    };
    let capped = Rule {
        max_members_per_group: Some(1),
        max_groups_per_member: Some(5),
        ..everybody()
    };
    settings.policy = Policy::new(vec![narrow.clone(), capped, everybody()]);
    let mut world = World::running(settings);
    world.report(M1, B1);

    let both = world.router.explain(None, M3, None, B1);
    assert_eq!(both.len(), 2, "one for each link");
    let lan = &world.router.explain(Some("lan"), M3, None, B1)[0];
    assert_eq!(lan.verdict, Verdict::GroupFull);
    assert_eq!(
        lan.steps,
        [
            Step {
                rule: 0,
                mismatches: vec![
                    Mismatch::Interface("dmz".to_owned()),
                    Mismatch::Source(narrow.source),
                    Mismatch::NoMac([9; 6]),
                    Mismatch::Anycast(narrow.anycast),
                ]
            },
            Step {
                rule: 1,
                mismatches: vec![]
            }
        ]
    );
    assert_eq!(
        (lan.members_per_group.now, lan.members_per_group.most),
        (1, Some(1))
    );
    assert_eq!(
        (lan.groups_per_member.now, lan.groups_per_member.most),
        (0, Some(5))
    );
    let text: Vec<_> = lan.steps[0]
        .mismatches
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        text[2],
        "it is for MAC 09:09:09:09:09:09, and none is given"
    );

    // Who is in stays in, and its MAC is known.
    let member = &world.router.explain(Some("lan"), M1, None, B1)[0];
    assert_eq!(
        (member.verdict, member.mac),
        (Verdict::Allow, Some(mac(M1)))
    );
    assert!(member.member);

    let verdict =
        |source, anycast| world.router.explain(Some("lan"), source, None, anycast)[0].verdict;
    assert_eq!(
        verdict("2001:db8::1".parse().unwrap(), B1),
        Verdict::BadSource
    );
    assert_eq!(verdict(M1, "ff02::1".parse().unwrap()), Verdict::BadAddress);
    assert_eq!(
        verdict(M1, "2001:db9::1".parse().unwrap()),
        Verdict::DefaultDeny
    );
    assert_eq!(verdict(M3, B2), Verdict::Allow);
    world.policy(vec![Rule {
        allow: false,
        ..everybody()
    }]);
    assert_eq!(
        world.router.explain(Some("lan"), M1, None, B1)[0].verdict,
        Verdict::Deny
    );
    assert!(world.router.explain(Some("other"), M1, None, B1).is_empty());
}
