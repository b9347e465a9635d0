//! What correspondents may answer, and how a member takes it.

use serde_json::{Value, json};

use super::{correspondent::Gains, member::Row};

const BOUND: Gains = &[("handshake_bound", 1)];
const REFUSED: Gains = &[("handshake_refused", 1)];
const NOT_CAPABLE: Gains = &[("client_not_capable", 1)];
const STRAY_TEST: Gains = &[("handshake_bound", 1), ("test_unexpected", 1)];
const STRAY_ACK: Gains = &[("handshake_bound", 1), ("binding_ack_unexpected", 1)];
const IGNORED: Gains = &[("handshake_bound", 1), ("icmp_error_ignored", 1)];
const STRAY: Gains = &[("handshake_bound", 1), ("mobility_unexpected", 1)];
const FORGED: Gains = &[("handshake_bound", 1), ("binding_ack_bad_authenticator", 1)];

/// What comes of a first packet when nothing goes wrong.
const PLAIN: &str = "HoTI CoTI BU+0";
const NEXT: &str = "HoTI CoTI BU+0 1s BU+1";
const HOME_AGAIN: &str = "HoTI CoTI 1s HoTI BU+0";

pub fn rows() -> Vec<Row> {
    let single = tests()
        .into_iter()
        .chain(acknowledgements())
        .chain(statuses())
        .chain(errors());
    let rows = single.map(|(what, clause, plan, trace, counts)| Row {
        what,
        clause,
        plan,
        steps: vec![(json!({"do": "knock"}), trace)],
        counts,
    });
    rows.chain(unasked()).collect()
}

type Line = (&'static str, &'static str, Value, &'static str, Gains);

#[rustfmt::skip]
fn tests() -> Vec<Line> {
    let lost = json!({"HoTI": [["lose"]]});
    let late = json!({"HoTI": [["hold"]]});
    let both = json!({"HoTI": [["lose"]], "CoTI": [["lose"]]});
    vec![
        ("two nonces, each index in its place", "RFC 6275 5.2.5, 6.2.6", json!({}), PLAIN, BOUND),
        ("a Home Test with a wrong cookie, before the right one", "RFC 6275 11.6.2",
            json!({"HoTI": [["wrong cookie", "answer"]]}), PLAIN, STRAY_TEST),
        ("a Care-of Test with a wrong cookie, before the right one", "RFC 6275 11.6.2",
            json!({"CoTI": [["wrong cookie", "answer"]]}), PLAIN, STRAY_TEST),
        ("a Home Test with a wrong cookie only", "RFC 6275 11.6.2, 11.8",
            json!({"HoTI": [["wrong cookie"]]}), HOME_AGAIN, STRAY_TEST),
        ("a Home Test to C", "RFC 6275 11.6.2",
            json!({"HoTI": [["to the other address", "answer"]]}), PLAIN, STRAY_TEST),
        ("a Care-of Test to B", "RFC 6275 11.6.2",
            json!({"CoTI": [["to the other address", "answer"]]}), PLAIN, STRAY_TEST),
        ("a Home Test twice", "RFC 6275 11.6.2: no token has been received yet",
            json!({"HoTI": [["answer", "answer"]]}), PLAIN, STRAY_TEST),
        ("a Care-of Test twice", "RFC 6275 11.6.2",
            json!({"CoTI": [["answer", "answer"]]}), PLAIN, STRAY_TEST),
        ("a lost Home Test: only its Init again, after INITIAL_BINDACK_TIMEOUT", "RFC 6275 11.8, 12",
            lost, HOME_AGAIN, BOUND),
        ("a Home Test that comes with the answer to the next Init", "RFC 6275 11.8: a new cookie",
            late, HOME_AGAIN, STRAY_TEST),
        ("both lost", "RFC 6275 11.8", both, "HoTI CoTI 1s HoTI CoTI BU+0", BOUND),
    ]
}

#[rustfmt::skip]
fn acknowledgements() -> Vec<Line> {
    let ack = |how: Value| json!({"BU": [[how]]});
    vec![
        ("a lost acknowledgement: the next sequence number", "RFC 6275 11.8",
            ack(json!("lose")), NEXT, BOUND),
        ("a wrong authenticator", "RFC 6275 11.7.3", ack(json!({"sign": "wrong"})), NEXT, FORGED),
        ("no authorization data", "RFC 6275 11.7.3", ack(json!({"sign": "absent"})), NEXT, FORGED),
        ("a refusal with a wrong authenticator", "RFC 6275 11.7.3",
            ack(json!({"status": 129, "sign": "wrong"})), NEXT, FORGED),
        ("135 with a wrong authenticator", "RFC 6275 11.7.3",
            ack(json!({"status": 135, "ahead": 9, "sign": "wrong"})), NEXT, FORGED),
        ("a sequence number that is not outstanding", "RFC 6275 11.7.3",
            ack(json!({"ahead": 5})), NEXT, STRAY_ACK),
        ("padding after the authorization data", "RFC 6275 11.7.3",
            ack(json!({"trailing": true})), NEXT, &[("handshake_bound", 1), ("mobility_invalid", 1)]),
        ("unknown options, and advice, which is not for a correspondent to give", "RFC 6275 6.2.1, 11.7.3",
            ack(json!({"odd": true})), PLAIN, BOUND),
        ("the same one twice", "RFC 6275 11.7.3", json!({"BU": [[{}, {}]]}), PLAIN, STRAY_ACK),
    ]
}

#[rustfmt::skip]
fn statuses() -> Vec<Line> {
    let ack = |how: Value| json!({"BU": [[how]]});
    let status = |status: u8| ack(json!({"status": status}));
    let thrice = |how: Value| json!({"BU": [[how], [how], [how]]});
    let new_round = "HoTI CoTI BU+0 HoTI CoTI BU+1";
    vec![
        ("status 1", "RFC 6275 11.7.3: less than 128 is accepted", status(1), PLAIN, BOUND),
        ("accepted for no time", "RFC 6275 11.7.3", ack(json!({"lifetime": 0})), PLAIN, REFUSED),
        ("status 128", "RFC 6275 11.7.3", status(128), PLAIN, REFUSED),
        ("status 129", "RFC 6275 11.7.3", status(129), PLAIN, REFUSED),
        ("status 130", "RFC 6275 11.7.3", status(130), PLAIN, REFUSED),
        ("status 131", "RFC 6275 11.7.3", status(131), PLAIN, REFUSED),
        ("status 132", "RFC 6275 11.7.3", status(132), PLAIN, REFUSED),
        ("status 133", "RFC 6275 11.7.3", status(133), PLAIN, REFUSED),
        ("status 134", "RFC 6275 11.7.3", status(134), PLAIN, REFUSED),
        ("status 139", "RFC 6275 11.7.3", status(139), PLAIN, REFUSED),
        ("status 174", "RFC 6275 11.7.3", status(174), PLAIN, REFUSED),
        ("status 255, which nobody has given a meaning", "RFC 6275 11.7.3", status(255), PLAIN, REFUSED),
        ("135: at once, from the sequence number that it names", "RFC 6275 11.7.3; profile",
            ack(json!({"status": 135, "ahead": 1000})), "HoTI CoTI BU+0 BU+1001", BOUND),
        ("135 again and again, more than MAX_UPDATE_RATE allows", "RFC 6275 11.8, 12",
            thrice(json!({"status": 135, "ahead": 10})), "HoTI CoTI BU+0 BU+11 BU+22", REFUSED),
        ("136: a new round", "RFC 6275 9.5.4; profile", status(136), new_round, BOUND),
        ("137: a new round", "RFC 6275 9.5.4; profile", status(137), new_round, BOUND),
        ("138: a new round", "RFC 6275 9.5.4; profile", status(138), new_round, BOUND),
        ("138 again and again, more than MAX_UPDATE_RATE allows", "RFC 6275 11.8, 12",
            thrice(json!({"status": 138})), "HoTI CoTI BU+0 HoTI CoTI BU+1 HoTI CoTI BU+2", REFUSED),
        ("138 for a sequence number that is not outstanding", "RFC 6275 11.7.3",
            ack(json!({"status": 138, "ahead": 5})), NEXT, STRAY_ACK),
    ]
}

#[rustfmt::skip]
fn errors() -> Vec<Line> {
    let both = |how: &str| json!({"HoTI": [[how]], "CoTI": [[how]]});
    vec![
        ("Parameter Problem 1 about both Inits, as of a host without mobility", "RFC 6275 11.3.5, 11.6.2",
            both("PP1"), "HoTI CoTI", NOT_CAPABLE),
        ("Parameter Problem 1 about the Care-of Test Init", "RFC 6275 11.3.5",
            json!({"CoTI": [["PP1"]]}), "HoTI CoTI", NOT_CAPABLE),
        ("Parameter Problem 1 about the same Init twice", "RFC 6275 11.3.5",
            json!({"CoTI": [["PP1", "PP1"]]}), "HoTI CoTI",
            &[("client_not_capable", 1), ("mobility_unexpected", 1)]),
        ("Parameter Problem 1 about the update", "RFC 6275 11.3.5",
            json!({"BU": [["PP1"]]}), PLAIN, NOT_CAPABLE),
        ("Parameter Problem 0, which says nothing of the kind", "RFC 6275 11.3.5",
            json!({"HoTI": [["PP0", "answer"]]}), PLAIN, IGNORED),
        ("Parameter Problem 2, which is about options that were not sent", "RFC 6275 11.3.5",
            json!({"HoTI": [["PP2", "answer"]]}), PLAIN, IGNORED),
        ("Binding Error 2 about both Inits", "RFC 6275 11.3.6", both("BE2"), "HoTI CoTI", NOT_CAPABLE),
        ("Binding Error 2 about the update", "RFC 6275 11.3.6",
            json!({"BU": [["BE2"]]}), PLAIN, NOT_CAPABLE),
        ("Binding Error 1, which answers an option that was not sent", "RFC 6275 11.3.6",
            json!({"HoTI": [["BE1", "answer"]]}), PLAIN, STRAY),
    ]
}

/// What comes when nothing is waited for.
fn unasked() -> Vec<Row> {
    let knock = || (json!({"do": "knock"}), PLAIN);
    let error = |status: u8| json!({"do": "error", "status": status});
    let row = |what, clause, steps, counts| Row {
        what,
        clause,
        plan: json!({}),
        steps,
        counts,
    };
    vec![
        row(
            "a flow by C is answered from C",
            "draft anycast-rr",
            vec![knock(), (json!({"do": "echo"}), "HoTI CoTI BU+0 echo")],
            BOUND,
        ),
        row(
            "a Binding Refresh Request from a stranger, and a handshake as ever",
            "RFC 6275 11.7.4",
            vec![(json!({"do": "refresh"}), ""), knock()],
            STRAY,
        ),
        row(
            "a Binding Refresh Request about a binding",
            "RFC 6275 11.7.4",
            vec![
                knock(),
                (json!({"do": "refresh"}), "HoTI CoTI BU+0 HoTI CoTI BU+1"),
            ],
            &[("handshake_bound", 2)],
        ),
        row(
            "a Binding Error 2 about nothing",
            "RFC 6275 11.3.6",
            vec![knock(), (error(2), PLAIN)],
            STRAY,
        ),
    ]
}
