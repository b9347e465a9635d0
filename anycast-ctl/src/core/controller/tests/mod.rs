//! Which role an input reaches.

mod machine;

use std::{net::Ipv6Addr, sync::Arc, time::Duration};

use anycast_common::wire::{
    self, ipv6, mld,
    mobility::{Message, mh_type},
};
use rand::SeedableRng;

use super::*;
use crate::core::{Action, GroupAction, Notice, Received, RouteAction, notice::RefusedBy};
use machine::*;

#[test]
fn reports_reach_the_router_on_its_own_links_only() {
    let mut machine = Machine::new(settings());
    let actions = machine.packet(kind::MLD, LAN0, &report(S1));
    let route = Action::Route(RouteAction::Set {
        anycast: B,
        next_hops: vec![crate::core::NextHop {
            via: Some(S1),
            ifindex: LAN0,
        }],
    });
    assert!(actions.contains(&route), "{actions:?}");
    assert_eq!(machine.packet(kind::MLD, ETH0, &report(S1)), []);
    assert_eq!(machine.packet(kind::MLD, 99, &report(S1)), []);
    assert_eq!(machine.count(Counter::ReportAccepted), 1);
}

#[test]
fn queries_reach_the_roles_of_their_interface() {
    let mut machine = Machine::new(settings());
    let heard = |machine: &Machine| {
        let router = machine.controller.router().expect("a router");
        router.counters().get(Counter::QueryHeard)
    };
    machine.packet(kind::MLD, ETH0, &query());
    assert_eq!(heard(&machine), 0, "the router is not there");
    machine.packet(kind::MLD, LAN0, &query());
    assert_eq!(heard(&machine), 1);

    // The member answers queries on its interface: Reports come forth in time.
    let join = Command::Join { anycast: B };
    let (now, controller) = (machine.now, &mut machine.controller);
    controller
        .command(now, join, &mut machine.actions)
        .expect("joined");
    let sent = |actions: &Actions| {
        actions
            .iter()
            .filter(|action| {
                matches!(
                    action,
                    Action::Send {
                        ifindex: Some(ETH0),
                        ..
                    }
                )
            })
            .count()
    };
    assert!(sent(&machine.actions) > 0, "{:?}", machine.actions);
    for _ in 0..8 {
        machine.now += Duration::from_secs(10);
        machine.controller.poll(machine.now, &mut machine.actions);
    }
    machine.actions.clear();
    machine.packet(kind::MLD, ETH0, &query());
    machine.now += Duration::from_secs(10);
    machine.controller.poll(machine.now, &mut machine.actions);
    assert_eq!(sent(&machine.actions), 1, "{:?}", machine.actions);
}

#[test]
fn roles_that_share_an_interface_share_no_group() {
    let mut settings = settings();
    for group in settings
        .member
        .iter_mut()
        .flat_map(|member| &mut member.groups)
    {
        group.interfaces = vec!["lan0".into()];
    }
    let mut machine = Machine::new(settings);
    let (now, controller) = (machine.now, &mut machine.controller);
    for command in [Command::Join { anycast: B }, Command::Leave { anycast: B }] {
        controller
            .command(now, command, &mut machine.actions)
            .expect("a group of ours");
    }
    // The router is still in its group, and leaves it now.
    let solicited = ipv6::solicited_node(B);
    let left = |actions: &Actions| -> Vec<Ipv6Addr> {
        let group = |action: &Action| match action {
            Action::Group(GroupAction::Leave { group, .. }) => Some(*group),
            _ => None,
        };
        actions.iter().filter_map(group).collect()
    };
    assert_eq!(left(&machine.actions), [solicited]);
    machine.actions.clear();
    machine.now += Duration::from_secs(1);
    machine.controller.poll(machine.now, &mut machine.actions);
    let groups = left(&machine.actions);
    assert_eq!(groups.len(), 1);
    assert!(groups[0].is_multicast() && groups[0] != solicited);
}

#[test]
fn tests_inits_reach_the_correspondent_and_tests_the_member() {
    let mut machine = Machine::new(settings());
    let init = Message::HomeTestInit { cookie: [7; 8] };
    let actions = machine.mobility(B, A, &init);
    let answer = actions.iter().find_map(|action| match action {
        Action::Send { packet, .. } => Some(packet.clone()),
        _ => None,
    });
    let packet = answer.expect("a Home Test");
    let parsed = Packet::parse(&packet).expect("a packet");
    assert_eq!((parsed.source, parsed.destination), (A, B));
    let test = Message::parse(&parsed).expect("a message");
    assert_eq!(test.mh_type(), mh_type::HOME_TEST);
    assert_eq!(machine.count(Counter::HomeTestSent), 1);

    // Nobody asked for it, but it is the member that says so.
    machine.mobility(A, B, &test);
    assert_eq!(machine.count(Counter::TestUnexpected), 1);
    assert_eq!(machine.count(Counter::MobilityUnexpected), 0);
}

#[test]
fn mobility_for_nobody_of_ours_is_counted() {
    let mut machine = Machine::new(settings());
    let init = Message::HomeTestInit { cookie: [7; 8] };
    let actions = machine.mobility(B, ELSEWHERE, &init);
    let refused =
        |action: &Action| matches!(action, Action::Notice(Notice::MobilityRefused { .. }));
    assert!(actions.iter().all(refused), "{actions:?}");
    assert_eq!(machine.count(Counter::MobilityUnexpected), 1);
    // A test init for the member itself: it is no correspondent.
    machine.mobility(ELSEWHERE, B, &init);
    assert_eq!(machine.count(Counter::MobilityUnexpected), 2);
    assert_eq!(machine.count(Counter::HomeTestSent), 0);
}

#[test]
fn damaged_mobility_messages_are_answered_by_the_correspondent() {
    let mut machine = Machine::new(settings());
    let init = Message::CareOfTestInit { cookie: [7; 8] };
    let mut packet = [0; 128];
    let length = init.emit(C, A, &mut packet).expect("emitted");
    packet[length - 1] ^= 1;
    let actions = machine.packet(kind::MOBILITY, ETH0, &packet[..length]);
    assert_eq!(machine.count(Counter::MobilityInvalid), 1, "{actions:?}");
    assert_eq!(machine.count(Counter::CareOfTestSent), 0);
}

#[test]
fn a_new_client_starts_a_handshake() {
    let mut machine = Machine::new(settings());
    let (now, controller) = (machine.now, &mut machine.controller);
    controller
        .command(now, Command::Join { anycast: B }, &mut machine.actions)
        .expect("joined");
    // The record holds no more than the start of the packet.
    let mut start = [0; 104];
    ipv6::header(&mut start, A, B, 6, 64, 1000).expect("a header");
    machine.packet(kind::NEW_CLIENT, ETH0, &start);
    assert_eq!(machine.count(Counter::HandshakeStarted), 1);
    assert_eq!(machine.count(Counter::HomeTestInitSent), 1);
    assert_eq!(machine.count(Counter::CareOfTestInitSent), 1);
    assert_eq!(machine.packet(kind::NEW_CLIENT, ETH0, &start[..39]), []);
}

#[test]
fn what_does_not_parse_is_counted_and_told() {
    let mut machine = Machine::new(settings());
    let mut damaged = report(S1);
    damaged[60] ^= 1;
    let actions = machine.packet(kind::MLD, LAN0, &damaged);
    assert_eq!(
        actions,
        [Action::Notice(Notice::Unparsable {
            ifindex: LAN0,
            error: wire::Error::BadChecksum
        })]
    );
    assert_eq!(machine.count(Counter::MldInvalid), 1);
    machine.packet(kind::MOBILITY, LAN0, &[0x60; 20]);
    assert_eq!(machine.count(Counter::MobilityInvalid), 1);
}

#[test]
fn a_machine_without_roles_does_nothing() {
    let mut machine = Machine::new(Settings::default());
    assert_eq!(machine.packet(kind::MLD, LAN0, &report(S1)), []);
    machine.handle(Input::NewClient {
        client: A,
        anycast: B,
    });
    machine.handle(Input::Flows {
        began: machine.now,
        flows: &Arc::default(),
    });
    machine.handle(Input::LinkGone { ifindex: LAN0 });
    machine.controller.poll(machine.now, &mut machine.actions);
    machine
        .controller
        .shutdown(machine.now, &mut machine.actions);
    assert_eq!(machine.actions, []);
    assert_eq!(machine.controller.deadline(), None);
    let join = Command::Join { anycast: B };
    let error = machine
        .controller
        .command(machine.now, join, &mut machine.actions);
    assert_eq!(error, Err(CommandError::NotMember));
}

#[test]
fn only_configured_groups_can_be_joined() {
    let mut machine = Machine::new(settings());
    let (now, controller) = (machine.now, &mut machine.controller);
    for command in [
        Command::Join { anycast: ELSEWHERE },
        Command::Leave { anycast: ELSEWHERE },
    ] {
        let error = controller.command(now, command, &mut machine.actions);
        assert_eq!(error, Err(CommandError::UnknownGroup(ELSEWHERE)));
    }
    assert_eq!(machine.actions, []);
}

#[test]
fn the_earliest_deadline_of_all_roles_counts() {
    let mut machine = Machine::new(settings());
    let router = machine.controller.router().and_then(Router::deadline);
    assert_eq!(machine.controller.deadline(), router);
    let (now, controller) = (machine.now, &mut machine.controller);
    controller
        .command(now, Command::Join { anycast: B }, &mut machine.actions)
        .expect("joined");
    let member = machine.controller.member().and_then(Member::deadline);
    assert_eq!(machine.controller.deadline(), router.min(member));
    machine
        .controller
        .shutdown(machine.now, &mut machine.actions);
    assert_eq!(machine.controller.member().and_then(Member::deadline), None);
}

#[test]
fn what_the_data_plane_refuses_is_shown_as_far_as_it_can_be_read() {
    let mut packet = [0; mld::PACKET_LEN];
    let report = mld::Message::Report { address: B };
    report
        .emit(S1, ipv6::ALL_ROUTERS, &mut packet)
        .expect("room for it");
    let rows: [(&[u8], Option<Option<Ipv6Addr>>); 4] = [
        (&packet, Some(Some(B))),
        (&packet[..60], Some(None)),
        (&packet[..40], Some(None)),
        (&packet[..39], None),
    ];
    for (packet, expected) in rows {
        let mut controller = Controller::new(settings(), Time::ZERO, Generator::seed_from_u64(1));
        let mut actions = Actions::new();
        let input = Input::Refused {
            reason: "mld_report_denied",
            received: Received {
                ifindex: LAN0,
                mac: [2; 6],
                packet,
            },
        };
        controller.handle(Time::ZERO, input, &mut actions);
        let notice = expected.map(|anycast| {
            Action::Notice(Notice::MldRefused {
                ifindex: LAN0,
                source: S1,
                mac: [2; 6],
                by: RefusedBy::DataPlane,
                anycast,
                reason: "mld_report_denied",
            })
        });
        assert_eq!(actions, notice.into_iter().collect::<Vec<_>>());
    }
}
