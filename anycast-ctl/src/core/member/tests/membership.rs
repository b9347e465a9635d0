//! Joining, leaving, links that come and go, and Queries, through the member.

use super::*;
use crate::core::GroupAction;

const REPORT: mld::Message = mld::Message::Report { address: ANYCAST };
const DONE: mld::Message = mld::Message::Done { address: ANYCAST };

fn report(ifindex: u32) -> (u32, Ipv6Addr, Ipv6Addr, mld::Message) {
    (ifindex, LINK_LOCAL, ipv6::ALL_ROUTERS, REPORT)
}

fn done(ifindex: u32) -> (u32, Ipv6Addr, Ipv6Addr, mld::Message) {
    (ifindex, LINK_LOCAL, ipv6::ALL_ROUTERS, DONE)
}

fn group() -> Ipv6Addr {
    "ff02::1:ff00:1".parse().unwrap()
}

impl Bench {
    fn link(&mut self, now: Time, link: &Link) -> Output {
        self.run(|member, actions| member.link(now, link, actions))
    }

    fn join(&mut self, now: Time, anycast: Ipv6Addr) -> Output {
        self.run(|member, actions| member.join(now, anycast, actions).unwrap())
    }

    fn leave(&mut self, now: Time, anycast: Ipv6Addr) -> Output {
        self.run(|member, actions| member.leave(now, anycast, actions).unwrap())
    }

    fn query(&mut self, now: Time, ifindex: u32, address: Ipv6Addr, delay: u64) -> Output {
        let query = mld::Query {
            max_response_delay: Duration::from_millis(delay),
            address,
            version: mld::Version::V1,
        };
        self.query_from(now, ifindex, ROUTER, query)
    }

    fn query_from(&mut self, now: Time, ifindex: u32, from: Ipv6Addr, query: mld::Query) -> Output {
        let received = Received {
            ifindex,
            mac: [0; 6],
            packet: &[],
        };
        self.run(|member, actions| member.query(now, &received, from, query, actions))
    }

    /// Polls at every deadline until `end`; gives the reports and when they went out.
    fn reports_until(&mut self, end: Time) -> Vec<(Time, u32)> {
        let mut reports = Vec::new();
        while let Some(now) = self.0.deadline().filter(|deadline| *deadline <= end) {
            for (ifindex, .., message) in self.poll(now).mld() {
                assert_eq!(message, REPORT);
                reports.push((now, ifindex));
            }
        }
        reports
    }
}

#[test]
fn joining_opens_the_data_plane_then_listens_then_reports() {
    let mut bench = Bench::new(settings());
    assert_eq!(bench.link(at(0), &link(1, "eth0")), Output(vec![]));
    let output = bench.join(at(1000), ANYCAST);
    assert_eq!(output.mld(), [report(1)]);
    let Output(actions) = output;
    assert!(matches!(
        actions.as_slice(),
        [
            Action::Map(MapAction::SetLocalAnycast {
                anycast: ANYCAST,
                report_clients: true
            }),
            Action::Group(GroupAction::Join { ifindex: 1, group: solicited }),
            Action::Send {
                ifindex: Some(1),
                ..
            },
            Action::Notice(Notice::Membership {
                anycast: ANYCAST,
                joined: true
            }),
        ] if *solicited == group()
    ));
    // Again changes nothing.
    assert_eq!(bench.join(at(1001), ANYCAST), Output(vec![]));
}

#[test]
fn the_first_report_is_repeated_at_random_delays() {
    let mut seen = Vec::new();
    for seed in 0..50 {
        let mut member = Member::new(settings(), at(0), rr::Generator::seed_from_u64(seed));
        let mut actions = Vec::new();
        member.link(at(0), &link(1, "eth0"), &mut actions);
        member.join(at(0), ANYCAST, &mut actions).unwrap();
        let mut bench = Bench(member);
        let reports = bench.reports_until(at(100_000));
        assert_eq!(reports.len(), 2);
        let mut before = at(0);
        for (now, _) in reports {
            let delay = now.since(before);
            assert!(delay <= Duration::from_secs(10));
            seen.push(delay);
            before = now;
        }
        assert_eq!(bench.0.deadline(), None);
        assert_eq!(bench.count(Counter::ReportSent), 3);
    }
    // Uniform over the interval: both ends get their share.
    let early = |delay: &&Duration| **delay < Duration::from_secs(5);
    assert!((30..70).contains(&seen.iter().filter(early).count()));
}

#[test]
fn leaving_says_done_and_takes_the_group_back() {
    let mut bench = Bench::new(settings());
    bench.link(at(0), &link(1, "eth0"));
    bench.join(at(0), ANYCAST);
    let output = bench.leave(at(1), ANYCAST);
    assert_eq!(output.mld(), [done(1)]);
    let Output(actions) = output;
    assert!(matches!(
        actions.as_slice(),
        [
            // Pinned flows go on, so that the address stays.
            Action::Map(MapAction::SetLocalAnycast {
                anycast: ANYCAST,
                report_clients: false
            }),
            Action::Send { .. },
            Action::Group(GroupAction::Leave { ifindex: 1, group: solicited }),
            Action::Notice(Notice::Membership {
                anycast: ANYCAST,
                joined: false
            }),
        ] if *solicited == group()
    ));
    assert_eq!(bench.0.deadline(), None);
    assert_eq!(bench.leave(at(2), ANYCAST), Output(vec![]));
    assert_eq!(bench.query(at(3), 1, ANYCAST, 0).mld(), []);
    // And back.
    assert_eq!(bench.join(at(4), ANYCAST).mld(), [report(1)]);
}

#[test]
fn a_solicited_node_group_is_left_with_its_last_address() {
    let mut bench = Bench::new(settings());
    bench.link(at(0), &link(1, "eth0"));
    bench.join(at(0), ANYCAST);
    bench.join(at(0), PLAIN);
    let leaves = |Output(actions): Output| {
        let leave = |action: &&Action| matches!(action, Action::Group(GroupAction::Leave { .. }));
        actions.iter().filter(leave).count()
    };
    assert_eq!(leaves(bench.leave(at(1), ANYCAST)), 0);
    assert_eq!(leaves(bench.leave(at(1), PLAIN)), 1);
}

#[test]
fn an_unknown_address_is_an_error() {
    let mut bench = Bench::new(settings());
    let mut actions = Vec::new();
    let error = CommandError::UnknownGroup(CLIENT);
    assert_eq!(bench.0.join(at(0), CLIENT, &mut actions), Err(error));
    assert_eq!(bench.0.leave(at(0), CLIENT, &mut actions), Err(error));
    assert_eq!(actions, []);
    assert_eq!(
        error.to_string(),
        "2001:db8:a::1 is not an anycast address of this member"
    );
}

#[test]
fn a_group_without_care_of_address_reports_no_clients() {
    let mut bench = Bench::new(settings());
    let Output(actions) = bench.join(at(0), PLAIN);
    let set = Action::Map(MapAction::SetLocalAnycast {
        anycast: PLAIN,
        report_clients: false,
    });
    assert_eq!(actions[0], set);
    let output = bench.run(|member, actions| member.new_client(at(1), CLIENT, PLAIN, actions));
    assert_eq!(output, Output(vec![]));
    assert_eq!(bench.count(Counter::ClientIgnored), 1);
}

#[test]
fn reports_go_out_on_configured_interfaces_that_are_up_and_have_an_address() {
    let down = Link {
        up: false,
        ..link(1, "eth0")
    };
    let tentative = Link {
        link_local: None,
        ..link(1, "eth0")
    };
    for (link, reports) in [
        (link(1, "eth0"), 1),
        (link(2, "eth1"), 1),
        (link(3, "eth2"), 0),
        (down, 0),
        (tentative, 0),
    ] {
        let mut bench = Bench::joined();
        assert_eq!(bench.link(at(1), &link).mld().len(), reports, "{link:?}");
        // The same again changes nothing.
        assert_eq!(bench.link(at(2), &link), Output(vec![]));
    }
}

#[test]
fn a_link_that_goes_down_is_left_in_silence_and_joined_again() {
    let down = Link {
        up: false,
        ..link(1, "eth0")
    };
    let mut bench = Bench::joined();
    bench.link(at(1), &link(1, "eth0"));
    let Output(actions) = bench.link(at(2), &down);
    let group = group();
    assert_eq!(
        actions,
        [Action::Group(GroupAction::Leave { ifindex: 1, group })]
    );
    assert_eq!(bench.0.deadline(), None);
    assert_eq!(bench.link(at(3), &link(1, "eth0")).mld(), [report(1)]);
    let Output(actions) = bench.run(|member, actions| member.link_gone(at(4), 1, actions));
    assert_eq!(
        actions,
        [Action::Group(GroupAction::Leave { ifindex: 1, group })]
    );
    assert_eq!(bench.0.deadline(), None);
}

#[test]
fn a_new_link_local_address_is_reported() {
    let other: Ipv6Addr = "fe80::2".parse().unwrap();
    let mut bench = Bench::joined();
    bench.link(at(1), &link(1, "eth0"));
    let renumbered = Link {
        link_local: Some(other),
        ..link(1, "eth0")
    };
    let output = bench.link(at(2), &renumbered);
    assert_eq!(output.mld(), [(1, other, ipv6::ALL_ROUTERS, REPORT)]);
}

#[test]
fn a_renamed_interface_is_another_one() {
    let mut bench = Bench::joined();
    bench.link(at(1), &link(1, "eth0"));
    bench.link(at(2), &link(1, "elsewhere"));
    assert_eq!(bench.query(at(3), 1, ANYCAST, 0).mld(), []);
}

#[test]
fn a_general_query_is_answered_within_its_delay_for_each_group() {
    let mut bench = Bench::joined();
    bench.link(at(0), &link(1, "eth0"));
    bench.join(at(0), PLAIN);
    while let Some(now) = bench.0.deadline() {
        bench.poll(now);
    }
    let now = at(100_000);
    assert_eq!(bench.query(now, 1, Ipv6Addr::UNSPECIFIED, 5000).mld(), []);
    let mut answered = Vec::new();
    while let Some(now) = bench.0.deadline() {
        assert!(now <= at(105_000));
        answered.extend(bench.poll(now).mld());
    }
    assert_eq!(answered.len(), 2);
}

#[test]
fn a_query_is_for_its_interface() {
    let mut bench = Bench::joined();
    bench.link(at(0), &link(1, "eth0"));
    bench.link(at(0), &link(2, "eth1"));
    bench.reports_until(at(100_000));
    bench.query(at(200_000), 2, Ipv6Addr::UNSPECIFIED, 1000);
    let reports = bench.reports_until(at(300_000));
    assert!(matches!(reports.as_slice(), [(_, 2)]));
}

#[test]
fn an_address_specific_query_with_delay_0_is_answered_at_once() {
    let mut bench = Bench::joined();
    bench.link(at(0), &link(1, "eth0"));
    bench.reports_until(at(100_000));
    assert_eq!(bench.query(at(200_000), 1, ANYCAST, 0).mld(), [report(1)]);
    assert_eq!(bench.0.deadline(), None);
    for other in [PLAIN, CLIENT, group()] {
        assert_eq!(bench.query(at(200_000), 1, other, 0).mld(), []);
    }
}

#[test]
fn mldv2_queries_are_answered_too() {
    let mut bench = Bench::joined();
    bench.link(at(0), &link(1, "eth0"));
    bench.reports_until(at(100_000));
    let query = mld::Query {
        max_response_delay: Duration::from_secs(10),
        address: Ipv6Addr::UNSPECIFIED,
        version: mld::Version::V2 {
            suppress: false,
            robustness: 2,
            interval: Duration::from_secs(125),
        },
    };
    bench.query_from(at(200_000), 1, ROUTER, query);
    assert_eq!(bench.reports_until(at(210_000)).len(), 1);
    // Not from off the link.
    bench.query_from(at(300_000), 1, CLIENT, query);
    assert_eq!(bench.0.deadline(), None);
    assert_eq!(bench.count(Counter::MldInvalid), 1);
    assert_eq!(bench.count(Counter::QueryHeard), 1);
}

#[test]
fn a_shutdown_says_done_for_every_group() {
    let mut bench = Bench::new(settings());
    bench.link(at(0), &link(1, "eth0"));
    bench.link(at(0), &link(2, "eth1"));
    bench.join(at(0), ANYCAST);
    bench.join(at(0), PLAIN);
    let output = bench.run(|member, actions| member.shutdown(at(1), actions));
    let plain = mld::Message::Done { address: PLAIN };
    assert_eq!(
        output.mld(),
        [done(1), done(2), (1, LINK_LOCAL, ipv6::ALL_ROUTERS, plain)]
    );
    assert_eq!(bench.0.deadline(), None);
}

#[test]
fn the_view_shows_groups_and_where_they_are_reported() {
    let mut bench = Bench::joined();
    bench.link(at(0), &link(1, "eth0"));
    bench.query(at(0), 1, Ipv6Addr::UNSPECIFIED, 1000);
    // An interface that is not ours.
    bench.query(at(1000), 9, Ipv6Addr::UNSPECIFIED, 1000);
    let interface = InterfaceView {
        ifindex: 1,
        name: "eth0".into(),
        report_owed: true,
        last_query: Some(QueryView {
            from: ROUTER,
            age: Duration::from_secs(2),
        }),
    };
    let expected = [
        GroupView {
            anycast: ANYCAST,
            care_of: Some(CARE_OF),
            joined: true,
            wanted: true,
            draining: None,
            health: None,
            interfaces: vec![interface],
        },
        GroupView {
            anycast: PLAIN,
            care_of: None,
            joined: false,
            wanted: false,
            draining: None,
            health: None,
            interfaces: vec![],
        },
    ];
    assert_eq!(bench.0.groups(at(2000)), expected);
}
