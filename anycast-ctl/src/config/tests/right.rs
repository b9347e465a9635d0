//! What becomes of a file that is right.

use std::time::Duration;

use anycast_common::abi::roles;

use super::{CORRESPONDENT, MEMBER, ROUTER, bad, good};
use crate::{
    config::{parse, settings},
    core::router::GeneralQueries,
    model::{nexthop::Resilient, route::Style},
};

#[test]
fn the_examples_are_right() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).expect("examples") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        parse(&text, &path.display().to_string()).unwrap_or_else(|problems| panic!("{problems}"));
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// The sections of the examples that name the defaults, so that an operator sees them.
#[test]
fn the_examples_name_the_defaults() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let sections = [
        ("gateway.toml", "correspondent", Some("limits")),
        ("gateway.toml", "correspondent", Some("flows")),
        ("gateway.toml", "data_plane", None),
        ("member-s1.toml", "member", Some("handshake")),
        ("member-s1.toml", "member", Some("listener")),
        ("member-s1.toml", "data_plane", None),
        ("router.toml", "router", Some("limits")),
        ("router.toml", "router", Some("timers")),
    ];
    for (file, role, section) in sections {
        let text = std::fs::read_to_string(format!("{directory}/{file}")).expect("text");
        let mut without: toml::Table = text.parse().expect("TOML");
        let removed = match section {
            None => without.remove(role),
            Some(section) => without[role].as_table_mut().expect(role).remove(section),
        };
        assert!(removed.is_some(), "{file}: no section {role} {section:?}");
        let both = [text, without.to_string()].map(|text| {
            let config = parse(&text, file).unwrap_or_else(|problems| panic!("{problems}"));
            let member = config.member_role();
            format!(
                "{:#?} {:?} {:?} {}",
                settings::controller(&config),
                settings::sizes(&config),
                member.map(|member| settings::sessions(&member.sessions)),
                config.data_plane.keep,
            )
        });
        assert_eq!(both[0], both[1], "{file}: [{role}] {section:?}");
    }
}

#[test]
fn all_roles_fit_on_one_machine() {
    let config = good(&format!("{ROUTER}{MEMBER}{CORRESPONDENT}"));
    assert_eq!(
        settings::roles(&config),
        roles::ROUTER | roles::MEMBER | roles::CORRESPONDENT
    );
    let names: Vec<_> = settings::interfaces(&config).into_keys().collect();
    assert_eq!(names, ["clients0", "eth0", "lan0", "lan1", "up0"]);
}

#[test]
fn a_router_gets_what_its_file_says() {
    let config = good(ROUTER);
    let router = settings::controller(&config).router.expect("a router");
    let [lan0, lan1] = &router.links[..] else {
        panic!("two links");
    };
    assert_eq!(lan0.general_queries, GeneralQueries::Polite);
    assert_eq!(lan1.general_queries, GeneralQueries::Never);
    assert_eq!((lan0.fast_leave, lan1.fast_leave), (false, true));
    assert_eq!(lan0.timers.query_interval, Duration::from_secs(20));
    assert_eq!(lan0.timers.startup_query_interval, Duration::from_secs(5));
    assert_eq!(router.policy.rules().len(), 2);
    let rule = &router.policy.rules()[0].rule;
    assert_eq!(rule.mac, Some([2, 0, 0, 0, 0x20, 0x11]));
    assert_eq!(rule.max_members_per_group, Some(16));
    assert_eq!(lan0.hold, Duration::from_secs(3));
    assert!(lan0.queriers.is_empty());
    assert_eq!(rule.source.prefix_len(), 128);
    let place = settings::route_place(config.router.as_ref().expect("a router").get_ref());
    assert_eq!((place.table, place.metric, place.protocol), (254, 512, 172));
    assert_eq!(lan0.probe_interval, Some(Duration::from_secs(10)));
}

#[test]
fn next_hops_are_written_as_the_file_says() {
    let style = |lines: &str| {
        let text = ROUTER.replace("next_hops = \"best\"\n", "");
        let config = good(&text.replace("[router]\n", &format!("[router]\n{lines}\n")));
        let router = config.router.as_ref().expect("a router").get_ref();
        let routes = settings::routes(router);
        let link = settings::controller(&config)
            .router
            .expect("a router")
            .links[0]
            .clone();
        (routes.style, routes.multipath, link.probe_interval)
    };
    let probe = Some(Duration::from_secs(10));
    let usual = Resilient {
        buckets: 128,
        idle_timer: Duration::from_secs(120),
        unbalanced_timer: Duration::ZERO,
    };
    assert_eq!(
        style("next_hops = \"all\""),
        (Style::Resilient(usual), true, probe)
    );
    let other = Resilient {
        buckets: 256,
        idle_timer: Duration::from_secs(30),
        unbalanced_timer: Duration::from_secs(600),
    };
    assert_eq!(
        style(
            "next_hops = \"all\"\nbuckets = 256\nidle_timer = \"30s\"\nunbalanced_timer = \"10m\"\nprobe_interval = \"0s\""
        ),
        (Style::Resilient(other), true, None)
    );
    assert_eq!(
        style("next_hops = \"all\"\nresilient = \"never\""),
        (Style::Plain, true, probe)
    );
    assert_eq!(style("next_hops = \"best\""), (Style::Plain, false, probe));
}

#[test]
fn a_member_gets_what_its_file_says() {
    let config = good(MEMBER);
    let member = settings::controller(&config).member.expect("a member");
    assert_eq!(member.groups.len(), 2);
    assert_eq!(member.groups[1].care_of, None);
    assert_eq!(member.groups[1].interfaces, ["eth0"]);
    assert_eq!(member.listener.robustness, 3);
    assert_eq!(member.handshake.whole.burst, 100);
    let joined: Vec<_> = settings::joined_at_start(&config).collect();
    assert_eq!(joined, [member.groups[0].anycast]);
}

#[test]
fn all_members_of_a_group_can_list_the_same_peers() {
    for list in [
        "\"2001:db8:20::c0/124\"",
        "\"2001:db8:20::c1\", \"2001:db8:20::c2\"",
    ] {
        for own in ["2001:db8:20::c1", "2001:db8:20::c2"] {
            let care_of = format!("care_of = \"{own}\"\npeers = [{list}]");
            let config = good(&MEMBER.replace("care_of = \"2001:db8:20::c1\"", &care_of));
            let member = settings::controller(&config).member.expect("a member");
            assert!(!member.groups[0].peers.is_empty(), "{own}: {list}");
            assert!(member.groups[1].peers.is_empty());
        }
    }
}

#[test]
fn a_correspondent_gets_what_its_file_says() {
    let config = good(CORRESPONDENT);
    let role = config.correspondent.as_ref().expect("a role").get_ref();
    let limits = settings::flow_limits(&role.flows);
    assert_eq!(limits.udp, Duration::from_secs(120));
    assert_eq!(limits.tcp, Duration::from_secs(7440));
    let role = settings::controller(&config).correspondent.expect("a role");
    assert_eq!(role.max_bindings, 100_000);
}

#[test]
fn no_network_and_no_member_takes_all_bindings_unless_it_is_alone() {
    let shares = |prefixes: &str, more: &str| {
        let text = format!(
            "[correspondent]\ninterfaces = [\"up0\"]\nclient_prefixes = [{prefixes}]\n{more}\n"
        );
        let role = settings::controller(&good(&text)).correspondent;
        let role = role.expect("a role");
        (role.max_per_prefix, role.max_per_member)
    };
    let wide = "\"2001:db8:1::/48\"";
    assert_eq!(shares(wide, ""), (25_000, 75_000));
    assert_eq!(shares(wide, "max_bindings = 10"), (3, 8));
    let one = "\"2001:db8:1::/65\", \"2001:db8:1:0:8000::/65\"";
    assert_eq!(shares(one, "").0, 100_000);
    let two = "\"2001:db8:1::/64\", \"2001:db8:1:1::/64\"";
    assert_eq!(shares(two, "").0, 25_000);
    let given = "max_bindings_per_prefix = 7\nmax_bindings_per_member = 9";
    assert_eq!(shares(wide, given), (7, 9));
}

#[test]
fn programs_stay_unless_told_otherwise() {
    let keep = |head: &str| {
        let config = parse(&format!("{head}{MEMBER}"), "f").expect("a configuration");
        config.data_plane.keep
    };
    assert!(keep(""));
    assert!(keep("[data_plane]\n"));
    assert!(!keep("[data_plane]\nkeep = false\n"));
    assert!(bad(&format!("[data_plane]\nkept = true\n{MEMBER}")).contains("kept"));
}

#[test]
fn what_a_router_takes_from_others_is_limited_unless_its_file_says_otherwise() {
    let settings = |more: &str, rule: &str| {
        let text = format!(
            "[router]\ninterfaces = [\"a\"]\n{more}\n[[router.policy]]\nsource = \"fe80::/10\"\n\
             anycast = \"2001:db8::/32\"\naction = \"allow\"\n{rule}"
        );
        let router = settings::controller(&good(&text)).router;
        let router = router.expect("a router");
        let groups = router.policy.rules()[0].rule.max_groups_per_member;
        (groups, router.links[0].queriers.len(), router.links[0].hold)
    };
    let (three, none) = (Duration::from_secs(3), Duration::ZERO);
    assert_eq!(settings("", ""), (Some(1024), 0, three));
    let more = "queriers = [\"fe80::1\", \"fe80::2\"]\nlink_hold = \"0s\"";
    let rule = "max_groups_per_member = 5000";
    assert_eq!(settings(more, rule), (Some(5000), 2, none));
}
