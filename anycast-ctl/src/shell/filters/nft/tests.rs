use super::{super::chain::Unread, *};

/// Whether a chain at `hook` with these rules, as nft writes them, and a policy of `drop` stops a message.
fn stops(hook: &str, way: Way, rules: &[&str]) -> bool {
    stops_with(hook, way, rules, Unread::LetPass)
}

fn stops_with(hook: &str, way: Way, rules: &[&str], unread: Unread) -> bool {
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
        serde_json::json!({"chain": {"family": "inet", "table": "f", "name": "o", "hook": hook, "policy": "drop"}}),
    ];
    listed.extend(rules);
    let interface = "up0";
    let packet = Packet { interface, way };
    let tables = tables(&serde_json::json!({"nftables": listed}), &packet);
    assert_eq!(tables.len(), 1);
    !tables[0].stopping(&packet.hooks(), unread).is_empty()
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
                way: Way::In
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
