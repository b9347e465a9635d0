//! Configurations that are right, and every way in which they can be wrong.

use std::time::Duration;

use anycast_common::abi::roles;

use super::{Config, parse, settings};
use crate::{
    core::router::GeneralQueries,
    shell::{dataplane::Sizes, netlink::nexthop::Resilient, reconcile::Style},
};

const ROUTER: &str = r#"
[router]
interfaces = ["lan0", "lan1"]
next_hops = "best"
[router.timers]
query_interval = "20s"
query_response_interval = "2500ms"
[router.interface.lan1]
general_queries = "never"
fast_leave = true
[[router.policy]]
source = "fe80::11"
mac = "02:00:00:00:20:11"
interface = "lan0"
anycast = "2001:db8:a::/48"
action = "allow"
max_members_per_group = 16
[[router.policy]]
source = "::/0"
anycast = "::/0"
action = "deny"
"#;

const MEMBER: &str = r#"
[member]
interfaces = ["eth0"]
[[member.group]]
anycast = "2001:db8:a::53"
care_of = "2001:db8:20::c1"
[[member.group]]
anycast = "2001:db8:a::54"
join = "manual"
[member.listener]
robustness = 3
[member.handshake]
rate = 50
"#;

const CORRESPONDENT: &str = r#"
[correspondent]
interfaces = ["clients0", "up0"]
client_prefixes = ["2001:db8:1::/64"]
[correspondent.pins]
udp = "2m"
"#;

fn good(text: &str) -> Config {
    match parse(text, "test.toml") {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    }
}

/// All complaints about `text`, one per line.
fn bad(text: &str) -> String {
    match parse(text, "f") {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems.to_string(),
    }
}

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
fn next_hop_settings_that_make_no_sense_are_named() {
    for (line, words) in [
        ("buckets = 0", "at least as many as it has members"),
        ("idle_timer = \"2days\"", "idle_timer is above"),
        ("unbalanced_timer = \"2days\"", "unbalanced_timer is above"),
        (
            "probe_interval = \"10ms\"",
            "probe_interval 10ms: at least 1s",
        ),
    ] {
        let text = ROUTER.replace("[router]\n", &format!("[router]\n{line}\n"));
        let problems = bad(&text);
        assert!(problems.contains(words), "{line}: {problems}");
    }
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
    let limits = settings::pins(&role.pins);
    assert_eq!(limits.udp, Duration::from_secs(120));
    assert_eq!(limits.tcp, Duration::from_secs(7440));
    let role = settings::controller(&config).correspondent.expect("a role");
    assert_eq!(role.max_bindings, 100_000);
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let cases = [
        ("[router\n", "f:1: "),
        (
            "[router]\ninterfaces = [\"a\"]\nspeed = 1\n",
            "f:3: unknown field `speed`",
        ),
        ("[rooter]\n", "f:1: unknown field `rooter`"),
        ("[router]\n", "missing field `interfaces`"),
        (
            "[router]\ninterfaces = [\"a\"]\nmode = \"fast\"\n",
            "f:3: unknown variant `fast`",
        ),
        ("[router]\ninterfaces = [\"a\"]\nmetric = -1\n", "f:3: "),
        (
            "[router]\ninterfaces = [\"a\"]\n[router.timers]\nquery_interval = \"soon\"\n",
            "f:4: ",
        ),
        (
            "[correspondent]\ninterfaces = [\"a\"]\nclient_prefixes = [\"10.0.0.0/8\"]\n",
            "f:3: \"10.0.0.0/8\" is not an IPv6 prefix",
        ),
        (
            "[router]\ninterfaces = [\"a\"]\n[[router.policy]]\nsource = \"fe80::1\"\nmac = \"nonsense\"\nanycast = \"::/0\"\naction = \"allow\"\n",
            "f:5: \"nonsense\" is not an Ethernet address",
        ),
        (
            "[member]\ninterfaces = [\"a\"]\n[[member.group]]\nanycast = \"2001:db8::1\"\njoin = \"never\"\n",
            "f:5: unknown variant `never`",
        ),
    ];
    for (text, complaint) in cases {
        let complaints = bad(text);
        assert!(complaints.contains(complaint), "{text}\n{complaints}");
        assert_eq!(complaints.lines().count(), 1, "{complaints}");
    }
}

#[test]
fn what_makes_no_sense_is_named_with_its_line() {
    // What replaces what in a good file, the line of the complaint, and its words.
    let cases = [
        (
            ROUTER,
            "[\"lan0\", \"lan1\"]",
            "[]",
            2,
            "[router] has no interfaces",
        ),
        (
            ROUTER,
            "[\"lan0\", \"lan1\"]",
            "[\"lan0\", \"lan1\", \"lan0\"]",
            3,
            "listed twice",
        ),
        (
            ROUTER,
            "\"lan1\"]",
            "\"lan1\", \"a name\"]",
            3,
            "cannot be an interface name",
        ),
        (
            ROUTER,
            "\"lan1\"]",
            "\"lan1\", \"sixteen-letters-\"]",
            3,
            "cannot be an interface name",
        ),
        (
            ROUTER,
            "next_hops = \"best\"",
            "table = 0",
            4,
            "table 0 cannot hold",
        ),
        (
            ROUTER,
            "next_hops = \"best\"",
            "table = 255",
            4,
            "table 255 cannot hold",
        ),
        (
            ROUTER,
            "next_hops = \"best\"",
            "metric = 0",
            4,
            "metric 0 means 1024",
        ),
        (
            ROUTER,
            "next_hops = \"best\"",
            "protocol = 2",
            4,
            "use 5 to 255",
        ),
        (ROUTER, "\"2500ms\"", "\"20s\"", 5, "RFC 2710 section 7.3"),
        (
            ROUTER,
            "[router.interface.lan1]",
            "[router.interface.lan2]",
            8,
            "lan2 is not in the `interfaces`",
        ),
        (
            ROUTER,
            "interface = \"lan0\"",
            "interface = \"eth9\"",
            14,
            "the rule would never match",
        ),
        (
            ROUTER,
            "\"fe80::11\"",
            "\"fe80::11/64\"",
            12,
            "write fe80::/64",
        ),
        (
            ROUTER,
            "\"fe80::11\"",
            "\"2001:db8::11\"",
            12,
            "link-local addresses",
        ),
        (
            ROUTER,
            "\"2001:db8:a::/48\"",
            "\"ff02::/16\"",
            15,
            "cannot be anycast",
        ),
        (
            ROUTER,
            "\"2001:db8:a::/48\"",
            "\"::1\"",
            15,
            "loopback addresses cannot be anycast",
        ),
        (
            ROUTER,
            "\"2001:db8:a::/48\"",
            "\"2001:db8:a::1/48\"",
            15,
            "write 2001:db8:a::/48",
        ),
        (
            ROUTER,
            "action = \"allow\"",
            "action = \"deny\"",
            12,
            "denies has no caps",
        ),
        (MEMBER, "[\"eth0\"]", "[]", 2, "[member] has no interfaces"),
        (
            MEMBER,
            "\"2001:db8:a::54\"",
            "\"2001:db8:a::53\"",
            8,
            "a second time",
        ),
        (
            MEMBER,
            "\"2001:db8:a::54\"",
            "\"fe80::1\"",
            8,
            "link-local addresses cannot be anycast",
        ),
        (
            MEMBER,
            "\"2001:db8:20::c1\"",
            "\"2001:db8:a::53\"",
            6,
            "is an anycast address",
        ),
        (
            MEMBER,
            "\"2001:db8:20::c1\"",
            "\"fe80::c1\"",
            6,
            "not a unicast address",
        ),
        (
            MEMBER,
            "\"2001:db8:20::c1\"",
            "\"ff05::c1\"",
            6,
            "not a unicast address",
        ),
        (
            MEMBER,
            "join = \"manual\"",
            "care_of = \"2001:db8:20::c1\"",
            9,
            "each needs its own",
        ),
        (
            MEMBER,
            "join = \"manual\"",
            "peers = [\"2001:db8:20::c2\"]",
            9,
            "peers need a care_of",
        ),
        (
            MEMBER,
            "care_of = \"2001:db8:20::c1\"",
            "care_of = \"2001:db8:20::c1\"\npeers = [\"2001:db8:20::/64\"]",
            7,
            "too wide: the 16 bits",
        ),
        (
            MEMBER,
            "care_of = \"2001:db8:20::c1\"",
            "care_of = \"2001:db8:20::c1\"\npeers = [\"2001:db8:20::c2/120\"]",
            7,
            "write 2001:db8:20::/120",
        ),
        (
            MEMBER,
            "care_of = \"2001:db8:20::c1\"",
            "care_of = \"2001:db8:20::c1\"\npeers = [\"fe80::c2\"]",
            7,
            "no unicast address by which",
        ),
        (
            MEMBER,
            "care_of = \"2001:db8:20::c1\"",
            "care_of = \"2001:db8:20::c1\"\npeers = [\"2001:db8:a::/112\"]",
            7,
            "holds the anycast address",
        ),
        (
            MEMBER,
            "care_of = \"2001:db8:20::c1\"",
            "care_of = \"2001:db8:20::c1\"\npeers = [\"2001:db8:21::/112\"]",
            7,
            "the same 16 bits in a cookie",
        ),
        (
            MEMBER,
            "care_of = \"2001:db8:20::c1\"",
            "care_of = \"2001:db8:20::c1\"\npeers = [\"2001:db8:20::c2\", \"2001:db8:20::c2\"]",
            7,
            "overlap",
        ),
        (
            MEMBER,
            "join = \"manual\"",
            "interfaces = [\"eth9\"]",
            9,
            "eth9 is not in the `interfaces`",
        ),
        (
            MEMBER,
            "rate = 50",
            "first_back_off = \"0s\"",
            12,
            "no back-off can be 0",
        ),
        (
            MEMBER,
            "rate = 50",
            "first_back_off = \"2h\"",
            12,
            "less than first_back_off",
        ),
        (
            "[correspondent]\ninterfaces = [\"up0\"]\nclient_prefixes = [\"2001:db8::/64\"]\n\
             [correspondent.limits]\nprefix_rate = 70\nrate = 500\n",
            "rate = 500",
            "rate = 50",
            4,
            "prefix_rate 70 is above rate 50",
        ),
        (
            CORRESPONDENT,
            "[\"clients0\", \"up0\"]",
            "[]",
            2,
            "[correspondent] has no interfaces",
        ),
        (
            CORRESPONDENT,
            "[\"2001:db8:1::/64\"]",
            "[]",
            2,
            "would answer for nobody",
        ),
        (
            CORRESPONDENT,
            "\"2001:db8:1::/64\"",
            "\"2001:db8:1::1/64\"",
            4,
            "write 2001:db8:1::/64",
        ),
        (
            CORRESPONDENT,
            "\"2001:db8:1::/64\"",
            "\"fe80::/64\"",
            4,
            "holds no client",
        ),
        (
            CORRESPONDENT,
            "/64\"]",
            "/64\", \"2001:db8:1::/56\"]",
            4,
            "2001:db8:1::/56 overlaps 2001:db8:1::/64",
        ),
        (CORRESPONDENT, "\"2m\"", "\"0s\"", 2, "udp cannot be 0"),
    ];
    for (text, good_part, bad_part, line, words) in cases {
        let text = text.replacen(good_part, bad_part, 1);
        let complaints = bad(&text);
        let found = complaints.lines().any(|complaint| {
            complaint.starts_with(&format!("f:{line}: ")) && complaint.contains(words)
        });
        assert!(
            found,
            "{bad_part}: expected {words:?} on line {line}\n{complaints}"
        );
    }
}

#[test]
fn what_concerns_the_whole_file_is_named_without_a_line() {
    assert!(bad("").starts_with("f: no role"));
    let relative = format!("[control]\nsocket = \"control.sock\"\n{MEMBER}");
    assert!(bad(&relative).contains("f:2: control.sock: the socket needs an absolute path"));
    let long = format!("[control]\nsocket = \"/{}\"\n{MEMBER}", "x".repeat(107));
    assert!(bad(&long).contains("f:2: the path of a Unix socket"));
    let modes = format!(
        "{MEMBER}[correspondent]\ninterfaces = [\"eth0\"]\nmode = \"generic\"\nclient_prefixes = [\"2001:db8:1::/64\"]\n"
    );
    assert!(bad(&modes).contains("f:15: interface eth0 has another `mode` in another role"));
    let group = "[[member.group]]\nanycast = \"2001:db8:a::53\"\n";
    assert!(bad(&MEMBER.replace(group, "")).contains("f:"));
}

/// XDP sees nothing of what this host sends.
#[test]
fn local_clients_need_tcx() {
    let with = |mode: &str| {
        format!(
            "[correspondent]\ninterfaces = [\"eth0\"]\n{mode}local = true\nclient_prefixes = [\"2001:db8:1::/64\"]\n"
        )
    };
    for mode in ["native", "generic"] {
        let reason = bad(&with(&format!("mode = \"{mode}\"\n")));
        assert!(
            reason.contains("f:4: local = true needs mode = \"tcx\""),
            "{reason}"
        );
    }
    for mode in ["", "mode = \"auto\"\n", "mode = \"tcx\"\n"] {
        let config = good(&with(mode));
        let wanted = settings::interfaces(&config)["eth0"];
        assert_eq!(wanted.mode, crate::shell::dataplane::Mode::Tcx);
    }
}

#[test]
fn every_problem_is_told_at_once_and_in_order() {
    let text = ROUTER.replace("next_hops = \"best\"", "table = 0\nprotocol = 0");
    let complaints = bad(&text);
    let lines: Vec<_> = complaints.lines().collect();
    assert_eq!(lines.len(), 2, "{complaints}");
    assert!(
        lines[0].starts_with("f:4: ") && lines[1].starts_with("f:5: "),
        "{complaints}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let problems = super::load("/nonexistent/anycast.toml".as_ref()).expect_err("no file");
    assert!(
        problems
            .to_string()
            .starts_with("/nonexistent/anycast.toml: cannot be read: ")
    );
}

const CHECKED: &str = r#"
[member]
interfaces = ["eth0"]
[[member.group]]
anycast = "2001:db8:a::53"
care_of = "2001:db8:20::c1"
assign = true
[member.group.health]
type = "tcp"
port = 53
interval = "3s"
timeout = "1s"
rise = 1
[[member.group]]
anycast = "2001:db8:a::54"
interfaces = ["eth0"]
join = "start"
assign = true
assign_to = "dummy0"
health = { type = "http", address = "[::1]:8080", path = "/health", status = 204 }
[[member.group]]
anycast = "2001:db8:a::55"
join = "manual"
health = { type = "command", command = ["/usr/bin/check", "dns"] }
[member.sessions]
udp = "1m"
"#;

#[test]
fn health_checks_and_addresses_become_settings() {
    use crate::{
        config::file::Join,
        shell::health::{Target, Web},
    };

    let config = good(CHECKED);
    let joins: Vec<_> = settings::groups(&config)
        .map(|group| group.join())
        .collect();
    assert_eq!(joins, [Join::Health, Join::Start, Join::Manual]);
    assert_eq!(settings::joined_at_start(&config).count(), 2);
    let targets: Vec<_> = settings::health_targets(&config).into_values().collect();
    assert_eq!(
        targets,
        [
            Target::Tcp("[2001:db8:a::53]:53".parse().expect("an address")),
            Target::Http(Web {
                address: "[::1]:8080".parse().expect("an address"),
                path: "/health".into(),
                status: Some(204),
            }),
            Target::Command(vec!["/usr/bin/check".into(), "dns".into()]),
        ]
    );
    let member = settings::controller(&config).member.expect("a member");
    let health: Vec<_> = member
        .groups
        .iter()
        .filter_map(|group| group.health)
        .collect();
    assert_eq!(
        (health[0].interval, health[0].timeout),
        (Duration::from_secs(3), Duration::from_secs(1))
    );
    assert_eq!((health[0].rise, health[0].fall), (1, 3));
    let presumed: Vec<_> = health.iter().map(|health| health.presumed).collect();
    assert_eq!(presumed, [false, true, false]);
    let assigned: Vec<_> = settings::assigned(&config)
        .into_iter()
        .map(|at| (at.address.to_string(), at.interface, at.detect_duplicates))
        .collect();
    let at = |address: &str, interface: &str, detect| (address.into(), interface.into(), detect);
    assert_eq!(
        assigned,
        [
            at("2001:db8:a::53", "lo", false),
            at("2001:db8:20::c1", "eth0", true),
            at("2001:db8:a::54", "dummy0", false),
        ]
    );
    let role = config.member_role().expect("a member");
    let sessions = settings::sessions(&role.sessions);
    assert_eq!(sessions.udp, Duration::from_secs(60));
    assert_eq!(sessions.tcp, Duration::from_secs(7440));
}

#[test]
fn health_checks_and_addresses_that_cannot_be() {
    let with = |line: &str| {
        bad(&format!(
            "[member]\ninterfaces = [\"eth0\"]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\n{line}\n"
        ))
    };
    let rows = [
        (r#"join = "health""#, "needs a health check"),
        (r#"health = { type = "tcp" }"#, "needs a `port`"),
        (
            r#"health = { type = "tcp", port = 53, address = "[::1]:53" }"#,
            "not both",
        ),
        (
            r#"health = { type = "tcp", port = 53, path = "/" }"#,
            "`path` is for",
        ),
        (
            r#"health = { type = "tcp", port = 53, status = 200 }"#,
            "`status` is for",
        ),
        (
            r#"health = { type = "tcp", port = 53, command = ["x"] }"#,
            "`command` is for",
        ),
        (
            r#"health = { type = "http", path = "x" }"#,
            "`path` starts with /",
        ),
        (
            r#"health = { type = "http", path = "/ HTTP/1.1" }"#,
            "has no spaces",
        ),
        (
            r#"health = { type = "http", status = 99 }"#,
            "`status` is from",
        ),
        (r#"health = { type = "command" }"#, "needs its `command`"),
        (
            r#"health = { type = "command", command = [] }"#,
            "needs its `command`",
        ),
        (
            r#"health = { type = "command", command = ["x"], port = 1 }"#,
            "no port",
        ),
        (
            r#"health = { type = "tcp", port = 53, timeout = "0s" }"#,
            "cannot be 0",
        ),
        (
            r#"health = { type = "tcp", port = 53, interval = "1s" }"#,
            "less than `timeout`",
        ),
        (
            r#"health = { type = "tcp", port = 53, rise = 0 }"#,
            "nonzero",
        ),
        (r#"assign_to = "lo""#, "needs assign = true"),
        (
            "assign = true\nassign_to = \"eth0\"",
            "overriding Neighbor Advertisements",
        ),
        (
            "assign = true\nassign_to = \"a b\"",
            "cannot be an interface name",
        ),
    ];
    for (line, reason) in rows {
        let problems = with(line);
        assert!(problems.contains(reason), "{line}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{line}: {problems}");
    }
}

#[test]
fn nothing_is_more_than_the_data_plane_holds() {
    let correspondent = |prefixes: usize, bindings: usize| {
        let prefixes: Vec<String> = (0..prefixes)
            .map(|number| format!("\"2001:db8:{number:x}::/48\""))
            .collect();
        format!(
            "[correspondent]\ninterfaces = [\"up0\"]\nmax_bindings = {bindings}\n\
             client_prefixes = [{}]\n",
            prefixes.join(", ")
        )
    };
    let problems = |text: &str| {
        parse(text, "f")
            .err()
            .map_or(0, |found| found.problems.len())
    };
    assert_eq!(problems(&correspondent(1024, 131_072)), 0);
    assert_eq!(problems(&correspondent(1025, 131_072)), 1);
    assert_eq!(problems(&correspondent(1, 131_073)), 1);
    let sized = |bindings: &str, max| format!("[data_plane]\n{bindings}{}", correspondent(1, max));
    assert_eq!(problems(&sized("bindings = 1000000\n", 1_000_000)), 0);
    assert_eq!(problems(&sized("bindings = 1000000\n", 1_000_001)), 1);
    assert_eq!(problems(&sized("bindings = 50000\n", 50_000)), 0);
    // As many as without a word about it, of which there would be no room.
    let default = sized("bindings = 50000\n", 0).replace("max_bindings = 0\n", "");
    assert_eq!(problems(&default), 1);
}

#[test]
fn maps_are_as_large_as_they_are_told() {
    let sizes = |text: &str| settings::sizes(&parse(&format!("{text}{MEMBER}"), "f").expect(text));
    assert_eq!(sizes(""), Sizes::default());
    let given = "flows = 4000000\nbindings = 1000000\nmember_flows = 2048\nclients = 1024\nfragments = 16777216\n";
    let wanted = Sizes {
        flows: 4_000_000,
        bindings: 1_000_000,
        member_flows: 2048,
        clients: 1024,
        fragments: 16_777_216,
    };
    assert_eq!(sizes(&format!("[data_plane]\n{given}")), wanted);
    for name in ["flows", "bindings", "member_flows", "clients", "fragments"] {
        for (value, reason) in [
            ("1023", "is between 1024 and 16777216"),
            ("16777217", "is between 1024 and 16777216"),
            ("-1", "u32"),
        ] {
            let found = bad(&format!("[data_plane]\n{name} = {value}\n{MEMBER}"));
            assert!(found.contains(reason), "{name} = {value}: {found}");
        }
    }
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
