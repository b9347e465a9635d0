//! Binding Updates as they should and should not be.

use serde_json::{Value, json};
use xtask::lab::topology::B;

use super::{
    correspondent::{Gains, Row, accepted, ack},
    site::{FOREIGN, NOT_ALLOWED, with},
};

const BOUND: Gains = &[("binding_update_accepted", 1)];
const UNSIGNED: Gains = &[("binding_update_bad_authenticator", 1)];
const INCOMPLETE: Gains = &[("binding_update_incomplete", 1)];
const INVALID: Gains = &[("mobility_invalid", 1)];
const HOME: Gains = &[("binding_update_home_registration", 1)];
const DROPPED: Gains = &[(NOT_ALLOWED, 1)];
const NOT_E: Gains = &[("binding_update_not_equivalent", 1)];
const OTHER_HOME: &str = "binding_update_expired_home_nonce";
const OTHER_CARE_OF: &str = "binding_update_expired_care_of_nonce";
const OLD: &str = "binding_update_bad_sequence";

/// A table's line for one update: sequence number 100 unless it says otherwise.
struct Line(
    &'static str,
    &'static str,
    Value,
    Option<Value>,
    Gains,
    bool,
);

pub fn rows() -> Vec<Row> {
    let lines = good().into_iter().chain(dropped()).chain(expired()).map(
        |Line(what, clause, update, answer, counts, bound)| Row {
            what,
            clause,
            steps: vec![test(json!({})), step(update, answer)],
            counts,
            bound,
        },
    );
    lines.chain(courses()).collect()
}

fn test(how: Value) -> (Value, Vec<Value>) {
    (with(&json!({"do": "test"}), how), vec![])
}

fn step(how: Value, answer: Option<Value>) -> (Value, Vec<Value>) {
    let update = with(&json!({"do": "update", "sequence": 100}), how);
    (update, answer.into_iter().collect())
}

#[rustfmt::skip]
fn good() -> Vec<Line> {
    let yes = || Some(accepted(100));
    vec![
        Line("as it should be", "RFC 6275 9.5.2, 9.5.4",
            json!({}), yes(), BOUND, true),
        Line("without A: an accepted one is not acknowledged", "RFC 6275 9.5.4",
            json!({"flags": "E"}), None, BOUND, true),
        Line("a longer lifetime: one unit is granted", "draft anycast-rr, profile",
            json!({"lifetime": 65535}), yes(), BOUND, true),
        Line("S, D, L, reserved flags and the reserved octet", "RFC 6275 6.1.1, 6.1.7",
            json!({"flags": "ASDLE", "reserved": 0xff}), yes(), BOUND, true),
        Line("options in another order, unknown ones and padding between", "RFC 6275 6.2.1",
            json!({"layout": ["pad:1", "unknown", "indices", "pad:9", "advice", "alternate", "pad:1", "pad:1", "authorization"]}),
            yes(), BOUND, true),
        Line("without E: no binding of an anycast address", "profile: 129 when policy refuses",
            json!({"flags": "A"}), Some(ack(129, 100, "right")), NOT_E, false),
        Line("neither A nor E", "RFC 6275 9.5.4",
            json!({"flags": ""}), None, NOT_E, false),
        Line("a deletion of nothing", "RFC 6275 9.5.3",
            json!({"lifetime": 0}), Some(with(&ack(0, 100, "right"), json!({"lifetime": 0}))),
            &[("binding_deleted", 1)], false),
        Line("a deletion whose care-of nonce is unknown, and not looked at", "RFC 6275 9.5.1",
            json!({"lifetime": 0, "shift": [0, 9]}), Some(ack(0, 100, "right")),
            &[("binding_deleted", 1)], false),
    ]
}

#[rustfmt::skip]
fn dropped() -> Vec<Line> {
    let drop = |what, clause, update, counts| Line(what, clause, update, None, counts, false);
    vec![
        drop("a wrong authenticator", "RFC 6275 9.5.1", json!({"sign": "wrong"}), UNSIGNED),
        drop("an authenticator over B in the place of C", "RFC 6275 6.2.7, 9.5.1",
            json!({"sign": "over the home address"}), UNSIGNED),
        drop("signed as a deletion", "RFC 6275 5.2.5", json!({"sign": "as if the other"}), UNSIGNED),
        drop("a deletion signed as a binding", "RFC 6275 5.2.5",
            json!({"lifetime": 0, "sign": "as if the other"}), UNSIGNED),
        drop("a care-of address that was not tested", "RFC 6275 5.2.6",
            json!({"care_of": "2001:db8:20::c2"}), UNSIGNED),
        drop("a home address that was not tested", "RFC 6275 5.2.5",
            json!({"home": "2001:db8:a::54"}), UNSIGNED),
        drop("H: no home agent here", "RFC 6275 9.5.1: H and Nonce Indices exclude each other",
            json!({"flags": "AHE"}), HOME),
        drop("H without Nonce Indices: IPsec would have to vouch for it", "RFC 6275 5.1, 9.5.1",
            json!({"flags": "AHE", "layout": ["alternate"]}), HOME),
        drop("no Nonce Indices", "RFC 6275 9.5.1",
            json!({"layout": ["alternate", "authorization"]}), INCOMPLETE),
        drop("no authorization data", "RFC 6275 9.5.1",
            json!({"layout": ["alternate", "indices"]}), INCOMPLETE),
        drop("no Alternate Care-of Address", "profile: C travels in that option",
            json!({"layout": ["indices", "authorization"]}), INCOMPLETE),
        drop("an option after the authorization data", "RFC 6275 9.5.1",
            json!({"layout": ["alternate", "authorization", "indices"]}), INVALID),
        drop("padding after the authorization data", "RFC 6275 9.5.1",
            json!({"layout": ["alternate", "indices", "authorization", "pad:8"]}), INVALID),
        drop("an authenticator of 10 octets", "RFC 6275 6.2.7",
            json!({"layout": ["alternate", "indices", "short:10"]}), INVALID),
        drop("a wrong checksum", "RFC 6275 9.2", json!({"spoil": 1}), INVALID),
        // The programs refuse it before the controller sees it: C is not in `allow`.
        drop("from C, with a Home Address option", "profile: the source is B",
            json!({"home_address": B}), DROPPED),
        drop("an anycast address that may not be bound", "profile: what allow does not name is not answered",
            json!({"home": FOREIGN}), DROPPED),
        drop("the same without A", "profile: what allow does not name is not answered",
            json!({"home": FOREIGN, "flags": "E"}), DROPPED),
    ]
}

#[rustfmt::skip]
fn expired() -> Vec<Line> {
    let answer = |status| Some(ack(status, 100, "absent"));
    let clause = "RFC 6275 9.5.1, 9.5.4";
    vec![
        Line("an unknown home nonce index", clause,
            json!({"shift": [-9, 0]}), answer(136), &[(OTHER_HOME, 1)], false),
        Line("an unknown care-of nonce index", clause,
            json!({"shift": [0, -9]}), answer(137), &[(OTHER_CARE_OF, 1)], false),
        Line("both unknown, told without A", clause,
            json!({"shift": [-9, -9], "flags": "E"}), answer(138), &[("binding_update_expired_nonces", 1)], false),
        Line("a nonce index that is not yet given", clause,
            json!({"shift": [9, 0]}), answer(136), &[(OTHER_HOME, 1)], false),
        Line("a deletion with an unknown home nonce index", clause,
            json!({"lifetime": 0, "shift": [-9, 0]}), answer(136), &[(OTHER_HOME, 1)], false),
        Line("an unknown nonce and a wrong authenticator, which cannot be told", clause,
            json!({"shift": [0, -9], "sign": "wrong"}), answer(137), &[(OTHER_CARE_OF, 1)], false),
    ]
}

/// What takes more than one update.
fn courses() -> Vec<Row> {
    let sequence = |sequence: u16| json!({"sequence": sequence});
    let deletion = |sequence: u16| json!({"sequence": sequence, "lifetime": 0});
    let ok = |number| step(sequence(number), Some(accepted(number)));
    let old = |number, last| step(sequence(number), Some(ack(135, last, "right")));
    let deleted = |number| step(deletion(number), Some(ack(0, number, "right")));
    let unasked = json!({"sequence": 9, "flags": "E"});
    let forged = json!({"sequence": 9, "sign": "wrong"});
    let row = |what, clause, steps: Vec<_>, counts, bound| Row {
        what,
        clause,
        steps: [vec![test(json!({}))], steps].concat(),
        counts,
        bound,
    };
    vec![
        row(
            "sequence numbers that are not greater",
            "RFC 6275 9.5.1: of the 65536, the last and the 32768 before it",
            vec![ok(15), old(15, 15), old(0, 15), old(32783, 15), ok(32782)],
            &[("binding_update_accepted", 2), (OLD, 3)],
            true,
        ),
        row(
            "sequence numbers wrap",
            "RFC 6275 9.5.1",
            vec![ok(65535), ok(0), old(65535, 0)],
            &[("binding_update_accepted", 2), (OLD, 1)],
            true,
        ),
        row(
            "an old sequence number is told without A, and not to a forger",
            "RFC 6275 9.5.4",
            vec![
                ok(10),
                step(unasked, Some(ack(135, 10, "right"))),
                step(forged, None),
            ],
            &[
                ("binding_update_accepted", 1),
                (OLD, 1),
                ("binding_update_bad_authenticator", 1),
            ],
            true,
        ),
        row(
            "a binding, its deletion, and both again from a recording",
            "RFC 6275 5.2.8, 9.5.3",
            vec![ok(10), deleted(11), old(10, 11), {
                let last = Some(ack(135, 11, "right"));
                step(deletion(11), last)
            }],
            &[
                ("binding_update_accepted", 1),
                ("binding_deleted", 1),
                (OLD, 2),
            ],
            false,
        ),
        row(
            "a new number under the nonces of a deleted binding; then new nonces, at once",
            "RFC 6275 9.5.3",
            vec![
                ok(10),
                deleted(11),
                step(sequence(12), Some(ack(138, 12, "absent"))),
                test(json!({})),
                ok(13),
            ],
            &[
                ("binding_update_accepted", 2),
                ("binding_deleted", 1),
                ("binding_update_barred", 1),
            ],
            true,
        ),
        row(
            "B as its own care-of address, tested and signed",
            "profile: C is a routable unicast address, and another one",
            vec![
                test(json!({"care_of": B})),
                step(json!({"care_of": B}), None),
            ],
            &[("binding_update_bad_care_of", 1)],
            false,
        ),
    ]
}
