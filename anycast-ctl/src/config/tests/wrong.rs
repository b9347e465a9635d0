//! Every complaint, with its line.

use super::{CORRESPONDENT, MEMBER, ROUTER, bad, good};
use crate::{config::settings, model::program::Mode};

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
        ("link_hold = \"5min\"", "link_hold 300s: at most 60s"),
        ("queriers = [\"2001:db8::1\"]", "link-local addresses"),
        ("queriers = [\"fe80::1/64\"]", "bits beyond its length"),
    ] {
        let text = ROUTER.replace("[router]\n", &format!("[router]\n{line}\n"));
        let problems = bad(&text);
        assert!(problems.contains(words), "{line}: {problems}");
    }
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
    let problems = crate::config::running::Running::load("/nonexistent/anycast.toml".as_ref())
        .expect_err("no file");
    assert!(
        problems
            .to_string()
            .starts_with("/nonexistent/anycast.toml: cannot be read: ")
    );
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
        assert_eq!(wanted.mode, Mode::Tcx);
    }
}
