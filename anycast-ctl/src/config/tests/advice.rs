//! What is legal and surely not meant, and what is said about words that are not known.

use super::{CORRESPONDENT, MEMBER, ROUTER, bad, good};
use crate::config::advice;

/// All that is said about a file that is right, one a line.
fn said(text: &str) -> String {
    let said = advice::of(&good(text), text);
    let line = |problem: &crate::config::Problem| {
        format!("{}: {}\n", problem.line.unwrap_or_default(), problem.reason)
    };
    said.iter().map(line).collect()
}

#[test]
fn what_is_legal_and_surely_not_meant_is_said_with_its_line() {
    let allowed = format!(
        "{}\n",
        CORRESPONDENT.replace(
            "[correspondent.flows]",
            "allow = [\"2001:db8:a::/48\"]\n[correspondent.flows]"
        )
    );
    for text in [ROUTER, MEMBER, &allowed] {
        assert_eq!(said(text), "", "{text}");
    }
    let rule = "[[router.policy]]\nsource = \"fe80::11\"\nmac = \"02:00:00:00:20:11\"\ninterface = \"lan0\"\n\
                anycast = \"2001:db8:a::1\"\naction = \"deny\"\n";
    let elsewhere = rule.replace("lan0", "lan1");
    let both = format!(
        "{MEMBER}{}",
        allowed.replace("2001:db8:1::/64", "2001:db8:a::/48")
    );
    let health = "[member.group.health]\ntype = \"command\"\ncommand = [\"check\", \"/now\"]\n[member.listener]";
    let state = "allow = [\"2001:db8:a::/48\"]\nstate = \"/nonexistent/anycast/nonces\"";
    for (text, line, words) in [
        (
            "[router]\ninterfaces = [\"lan0\"]\n".into(),
            1,
            "nobody may join",
        ),
        (
            format!("{ROUTER}{rule}"),
            22,
            "never matches: that of line 11 comes before it",
        ),
        (
            format!("{ROUTER}{elsewhere}"),
            22,
            "never matches: that of line 18 comes before it",
        ),
        (
            ROUTER.replace("\"2001:db8:a::/48\"", "\"::/0\""),
            15,
            "take any address",
        ),
        (
            MEMBER.replace("[member.listener]", health),
            10,
            "runs check",
        ),
        (CORRESPONDENT.into(), 2, "has no allow"),
        (
            allowed.replace("\"clients0\", ", ""),
            2,
            "has one interface",
        ),
        (
            allowed.replace("2001:db8:1::/64", "::/0"),
            4,
            "client_prefixes has ::/0",
        ),
        (
            allowed.replace("2001:db8:a::/48", "::/0"),
            5,
            "allow has ::/0",
        ),
        (
            both.clone(),
            5,
            "anycast 2001:db8:a::53 is within client_prefixes",
        ),
        (both, 18, "allow 2001:db8:a::/48 is within client_prefixes"),
        (
            allowed.replace("allow = [\"2001:db8:a::/48\"]", state),
            6,
            "/nonexistent/anycast is not there",
        ),
    ] {
        let said = said(&text);
        let mut lines = said.lines();
        let found =
            lines.any(|said| said.starts_with(&format!("{line}: ")) && said.contains(words));
        assert!(found, "expected {words:?} on line {line}\n{said}\n{text}");
    }
    let client = allowed
        .replace("\"clients0\", ", "")
        .replace("[correspondent]", "[correspondent]\nlocal = true");
    assert_eq!(said(&client), "", "a client's own host has one interface");
}

#[test]
fn everything_wrong_is_said_at_once_each_with_its_line() {
    let text = "[router]\ninterface = [\"lan0\"]\nnext_hops = \"bets\"\nmetric = \"low\"\nbuckets = 0\n\
                [router.timers]\nquery_interval = \"soon\"\n\
                [[router.policy]]\nsource = \"fe80::1\"\nanycast = \"10.0.0.0/8\"\naction = \"alow\"\n\
                [[router.policy]]\nsource = \"2001:db8::1\"\nanycast = \"2001:db8:a::/48\"\naction = \"allow\"\n\
                [correspondent]\ninterfaces = [\"up0\"]\nclient_prefixes = [\"2001:db8:1::/64\", \"nowhere\"]\n\
                allow = [\"2001:db8:a::1/48\"]\n[memb]\n";
    let complaints = bad(text);
    let expected = [
        "f:2: `interface` is a table of settings by interface: did you mean `interfaces`?",
        "f:3: unknown variant `bets`: did you mean `best`?",
        "f:4: invalid type: string \"low\", expected u32, for example: metric = 512",
        "f:7: ",
        "f:10: \"10.0.0.0/8\" is not an IPv6 prefix",
        "f:11: unknown variant `alow`: did you mean `allow`?",
        "f:18: \"nowhere\" is not an IPv6 prefix such as",
        "f:19: 2001:db8:a::1/48 has bits beyond its length",
        "f:20: unknown field `memb`",
    ];
    let lines: Vec<_> = complaints.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{complaints}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}: not {expected}");
    }
    assert!(
        lines[3].ends_with("for example: query_interval = \"125s\""),
        "{}",
        lines[3]
    );
    let member =
        bad("[member]\ninterface = [\"eth0\"]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\n");
    assert_eq!(
        member,
        "f:2: unknown field `interface`: did you mean `interfaces`?"
    );
    let mended = text.replace("interface =", "interfaces =");
    let complaints = bad(&mended);
    for expected in ["f:5: buckets = 0", "f:13: source 2001:db8::1/128"] {
        let mut lines = complaints.lines();
        assert!(
            lines.any(|line| line.starts_with(expected)),
            "{expected}: {complaints}"
        );
    }
}

#[test]
fn every_error_of_the_syntax_is_said() {
    let complaints = bad("[router]\ninterfaces = [\"a\"\n[member]\ninterfaces = = 1\n");
    assert!(complaints.lines().count() >= 1, "{complaints}");
    assert!(
        bad("[router]\ninterfaces = [\"a\"]\ninterfaces = [\"b\"]\n")
            .contains("f:3: duplicate key")
    );
    let two = bad("[control]\nsocket == \"/a\"\n[router]\ninterfaces == [\"a\"]\n");
    assert!(two.contains("f:2: ") && two.contains("f:4: "), "{two}");
}

#[test]
fn a_missing_key_shows_what_one_looks_like() {
    let complaints = bad("[correspondent]\ninterfaces = [\"a\"]\n");
    let expected = "f:1: missing field `client_prefixes`, for example: client_prefixes = [\"2001:db8:1::/64\"]";
    assert_eq!(complaints, expected);
}
