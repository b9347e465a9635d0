use super::{
    super::chain::{Unread, Way},
    *,
};

/// Whether a chain at `hook` with these rules, as nft writes them, and a policy of `drop` stops a message.
fn stops(hook: &str, way: Way, rules: &[&str]) -> bool {
    stops_with(hook, way, rules, Unread::LetPass)
}

fn stops_with(hook: &str, way: Way, rules: &[&str], unread: Unread) -> bool {
    let packet = Packet {
        interface: "up0",
        way,
        astray: false,
    };
    stops_packet(hook, &packet, "drop", rules, unread)
}

fn stops_packet(
    hook: &str,
    packet: &Packet<'_>,
    policy: &str,
    rules: &[&str],
    unread: Unread,
) -> bool {
    let rules: Vec<Value> = rules
        .iter()
        .map(|statements| {
            let statements: Value = serde_json::from_str(statements).expect("JSON");
            serde_json::json!({"rule": {"family": "inet", "table": "f", "chain": "o", "expr": statements}})
        })
        .collect();
    let mut listed = vec![
        serde_json::json!({"set": {
            "family": "inet", "name": "s", "table": "f", "elem": [6, {"range": [130, 140]}]
        }}),
        serde_json::json!({"set": {"family": "inet", "name": "none", "table": "f"}}),
        serde_json::json!({"chain": {"family": "inet", "table": "f", "name": "o", "hook": hook, "policy": policy}}),
    ];
    listed.extend(rules);
    let tables = tables(&serde_json::json!({"nftables": listed}), packet);
    assert_eq!(tables.len(), 1);
    !tables[0].stopping(packet.hooks(), unread).is_empty()
}

#[test]
fn what_is_forwarded_meets_the_hook_forward() {
    let accept = |key: &str, name: &str| {
        format!(
            r#"[{{"match": {{"op": "==", "left": {{"meta": {{"key": "{key}"}}}}, "right": "{name}"}}}}, {{"accept": null}}]"#
        )
    };
    let established = r#"[{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": [2, 4]}}, {"accept": null}]"#;
    for (hook, rule, from, to) in [
        ("forward", "[]".to_owned(), true, true),
        ("input", "[]".to_owned(), false, false),
        ("output", "[]".to_owned(), false, false),
        ("forward", accept("iifname", "up*"), false, false),
        ("forward", accept("iifname", "x0"), true, false),
        ("forward", accept("oifname", "x0"), false, true),
        ("forward", established.to_owned(), true, false),
    ] {
        let stops = |way| stops(hook, way, &[&rule]);
        assert_eq!((stops(Way::From), stops(Way::To)), (from, to), "{rule}");
    }
}

/// As nft 1.0.6 writes `fib saddr . iif oif missing` and its kind.
#[test]
fn a_test_of_the_reverse_path_stops_what_comes_by_another_way() {
    let rule = |op: &str, flags: &str, right: &str, verdict: &str| {
        format!(
            r#"[{{"match": {{"op": "{op}", "left": {{"fib": {{"result": "oif", "flags": [{flags}]}}}}, "right": {right}}}}},
               {{"{verdict}": null}}]"#
        )
    };
    let (strict, marked) = (r#""saddr", "iif""#, r#""saddr", "mark", "iif""#);
    for (rule, policy, stopped) in [
        (rule("==", strict, "false", "drop"), "accept", true),
        (rule("==", marked, "false", "drop"), "accept", true),
        (rule("==", strict, r#""0""#, "drop"), "accept", true),
        (rule("==", strict, "true", "accept"), "drop", true),
        (rule("!=", strict, r#""0""#, "accept"), "drop", true),
        (rule("==", strict, "false", "continue"), "accept", false),
        (rule("==", strict, "true", "drop"), "accept", false),
        // Any route to the source will do.
        (rule("==", r#""saddr""#, "false", "drop"), "accept", false),
        (
            rule("==", r#""daddr", "iif""#, "false", "drop"),
            "accept",
            false,
        ),
    ] {
        for (astray, expected) in [(true, stopped), (false, false)] {
            let packet = Packet {
                interface: "up0",
                way: Way::Back,
                astray,
            };
            let stops = stops_packet("prerouting", &packet, policy, &[&rule], Unread::LetPass);
            assert_eq!(stops, expected, "{rule} {astray}");
        }
    }
}

#[test]
fn rules_that_let_a_message_pass_are_known() {
    let accept = |condition: &str| format!("[{{\"match\": {condition}}}, {{\"accept\": null}}]");
    for (condition, passes_in, passes_out) in [
        (
            r#"{"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 135}"#,
            true,
            true,
        ),
        (
            r#"{"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 58}"#,
            false,
            false,
        ),
        (
            r#"{"op": "!=", "left": {"meta": {"key": "l4proto"}}, "right": 58}"#,
            true,
            true,
        ),
        (
            r#"{"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": [6, 135]}}"#,
            true,
            true,
        ),
        (
            r#"{"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": [{"range": [1, 9]}]}}"#,
            false,
            false,
        ),
        (
            r#"{"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "@s"}"#,
            true,
            true,
        ),
        (
            r#"{"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "@none"}"#,
            false,
            false,
        ),
        (
            r#"{"op": "==", "left": {"payload": {"protocol": "ip6", "field": "nexthdr"}}, "right": 135}"#,
            true,
            true,
        ),
        (
            r#"{"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}"#,
            false,
            false,
        ),
        (
            r#"{"op": "!=", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}"#,
            false,
            false,
        ),
        (
            r#"{"op": "in", "left": {"ct": {"key": "state"}}, "right": [2, 4]}"#,
            true,
            false,
        ),
        (
            r#"{"op": "in", "left": {"ct": {"key": "state"}}, "right": 8}"#,
            false,
            true,
        ),
        (
            r#"{"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}"#,
            false,
            false,
        ),
        (
            r#"{"op": "==", "left": {"meta": {"key": "iifname"}}, "right": {"set": ["eth*", "up*"]}}"#,
            true,
            false,
        ),
        (
            r#"{"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "up0"}"#,
            false,
            true,
        ),
        // What depends on the packet may pass.
        (
            r#"{"op": "==", "left": {"payload": {"protocol": "ip6", "field": "saddr"}}, "right": "::1"}"#,
            true,
            true,
        ),
        (
            r#"{"op": "==", "left": {"exthdr": {"name": "mh", "field": "type"}}, "right": 1}"#,
            true,
            true,
        ),
        (
            r#"{"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": 2}"#,
            true,
            true,
        ),
    ] {
        let rule = accept(condition);
        let within = stops("input", Way::In, &[&rule]);
        let out = stops("output", Way::Out, &[&rule]);
        assert_eq!((!within, !out), (passes_in, passes_out), "{condition}");
    }
}

#[test]
fn the_order_of_rules_maps_and_words_of_iptables_are_known() {
    let mobility = r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 135}}"#;
    let target = |name: &str| {
        format!("[{mobility}, {{\"xt\": {{\"type\": \"target\", \"name\": \"{name}\"}}}}]")
    };
    let accept = format!(
        "[{mobility}, {{\"counter\": {{\"packets\": 0, \"bytes\": 0}}}}, {{\"accept\": null}}]"
    );
    let map = r#"[{"vmap": {"key": {"meta": {"key": "l4proto"}},
        "data": {"set": [[6, {"accept": null}], [135, {"VERDICT": null}]]}}}]"#;
    for (rules, passes) in [
        (vec![target("REJECT"), accept.clone()], false),
        (vec![target("LOG"), accept.clone()], true),
        (vec![target("SECMARK")], false),
        (vec![target("NFQUEUE")], true),
        (vec![target("MASQUERADE")], true),
        (vec![accept.clone(), target("REJECT")], true),
        (vec![map.replace("VERDICT", "drop"), accept.clone()], false),
        (vec![map.replace("VERDICT", "accept")], true),
        (
            vec![
                map.replace("135", "17").replace("VERDICT", "drop"),
                accept.clone(),
            ],
            true,
        ),
        (
            vec![
                r#"[{"limit": {"rate": 1}}, {"drop": null}]"#.to_owned(),
                accept,
            ],
            true,
        ),
        (vec![r#"[{"reject": {"type": "icmpx"}}]"#.to_owned()], false),
        (vec![r#"[{"queue": null}]"#.to_owned()], true),
    ] {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        assert_eq!(!stops("output", Way::Out, &rules), passes, "{rules:?}");
    }
    assert!(
        tables(
            &Value::Null,
            &Packet {
                interface: "up0",
                way: Way::In,
                astray: false,
            }
        )
        .is_empty()
    );
}

#[test]
fn what_iptables_has_said_and_nft_cannot_is_in_doubt() {
    let mobility = r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 135}}"#;
    let tcp = mobility.replace("135", "6");
    let accept = |condition: &str| format!("[{condition}, {{\"accept\": null}}]");
    let xt = |name: &str| format!(r#"{{"xt": {{"type": "match", "name": "{name}"}}}}"#);
    for (rule, doubtful) in [
        (accept(mobility), false),
        (accept(&xt("comment")), false),
        (accept(&xt("hashlimit")), false),
        (accept(&xt("conntrack")), true),
        (accept(&format!("{mobility}, {}", xt("mh"))), true),
        // An nft that does not say which one.
        (accept(r#"{"xt": null}"#), true),
        (format!("[{mobility}, {{\"xt\": null}}]"), true),
        (format!("[{tcp}, {{\"xt\": null}}]"), false),
        (
            accept(
                r#"{"match": {"op": "==", "left": {"exthdr": {"name": "mh", "field": "type"}}, "right": 1}}"#,
            ),
            true,
        ),
        (format!("[{mobility}, {{\"queue\": null}}]"), true),
    ] {
        let stops = |unread| stops_with("output", Way::Out, &[&rule], unread);
        let doubt = stops(Unread::Stop) && !stops(Unread::LetPass);
        assert_eq!(doubt, doubtful, "{rule}");
    }
    let ruleset = |rule: &str| {
        let statements: Value = serde_json::from_str(rule).expect("JSON");
        serde_json::json!({"nftables": [{"rule": {"expr": statements}}]})
    };
    assert!(has_words_of_iptables(&ruleset(&accept(&xt("mh")))));
    assert!(!has_words_of_iptables(&ruleset(&accept(mobility))));
}
