//! The peer is the member, our daemon the correspondent.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use xtask::lab::{
    node::Daemon,
    topology::{B, Network, S1},
};

use super::{
    site::{C, Counts, FOREIGN, Peer, daemon, network, with},
    updates,
};

/// Counted for what the rows see themselves, or by the clock.
const ROUTINE: &[&str] = &[
    "home_test_sent",
    "care_of_test_sent",
    "binding_ack_sent",
    "binding_error_sent",
    "parameter_problem_sent",
    "binding_expired",
];

/// Counters, and what each has gained.
pub type Gains = &'static [(&'static str, u64)];

/// One client, and what the peer does in its turn.
pub struct Row {
    /// What is provoked.
    pub what: &'static str,
    /// What demands the answer.
    pub clause: &'static str,
    /// Commands, and all that comes back until each is dealt with.
    pub steps: Vec<(Value, Vec<Value>)>,
    /// What the controller counts.
    pub counts: Gains,
    /// Whether a binding stands in the end.
    pub bound: bool,
}

/// An acknowledgement that the update was accepted.
pub fn accepted(sequence: u16) -> Value {
    with(&ack(0, sequence, "right"), json!({"lifetime": 1}))
}

/// An acknowledgement; `signed` is what its authenticator is like.
pub fn ack(status: u8, sequence: u16, signed: &str) -> Value {
    json!({"type": "BA", "status": status, "sequence": sequence, "signed": signed})
}

/// Our daemon, answering for the clients.
pub fn gateway(network: &Network, more: &str) -> Result<Daemon> {
    let config = format!(
        "[correspondent]\ninterfaces = [\"clients0\", \"up0\"]\n\
         client_prefixes = [\"2001:db8:1::/64\"]\nallow = [\"2001:db8:a::/48\"]\n{more}\n"
    );
    daemon(network, "gateway", &network.gateway, &config)
}

/// Where the kernel's map sends new flows of the client to B.
pub fn holds(gateway: &Daemon, client: Ipv6Addr) -> Result<Option<Ipv6Addr>> {
    let key = [client.octets(), B.octets()].concat();
    let value = gateway.map_entry("BINDINGS", &key)?;
    let care_of = value.and_then(|value| value.first_chunk::<16>().copied());
    Ok(care_of.map(Ipv6Addr::from))
}

/// Whether what came is what was expected, well formed and without extension headers.
pub fn matches(received: &Value, expected: &[Value]) -> Result<()> {
    let received = received.as_array().map_or(&[][..], Vec::as_slice);
    let fits = |found: &Value, wanted: &Value| {
        let mut wanted = wanted.as_object().into_iter().flatten();
        found.get("fault").is_none()
            && found.get("extension_header").is_none()
            && wanted.all(|(name, value)| found[name] == *value)
    };
    let all =
        received.len() == expected.len() && received.iter().zip(expected).all(|(a, b)| fits(a, b));
    ensure!(
        all,
        "received {} instead of {}",
        json!(received),
        json!(expected)
    );
    Ok(())
}

/// Does the rows, with a client for each.
fn run(gateway: &Daemon, peer: &mut Peer, rows: Vec<Row>) -> Result<()> {
    for (number, row) in (1..).zip(rows) {
        let from = peer.mark();
        let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, number);
        let result = play(gateway, peer, &row, client);
        peer.explain(from, row.what, row.clause, result)?;
    }
    Ok(())
}

fn play(gateway: &Daemon, peer: &mut Peer, row: &Row, client: Ipv6Addr) -> Result<()> {
    let before = Counts::of(gateway)?;
    for (command, expected) in &row.steps {
        let done = peer.tell(&with(command, json!({"client": client})))?;
        matches(&done["received"], expected)?;
    }
    Counts::of(gateway)?.must_be(&before, row.counts, ROUTINE)?;
    let held = holds(gateway, client)?;
    let expected = row.bound.then_some(C);
    ensure!(held == expected, "BINDINGS has {held:?}");
    Ok(())
}

pub fn updates() -> Result<()> {
    let network = network()?;
    let gateway = gateway(&network, "")?;
    let mut peer = Peer::start(&network, network.server(S1), "member")?;
    run(&gateway, &mut peer, updates::rows())
}

pub fn others() -> Result<()> {
    let network = network()?;
    let gateway = gateway(&network, "")?;
    let mut peer = Peer::start(&network, network.server(S1), "member")?;
    let rows = malformed().map(|(what, clause, message, answer, counts)| Row {
        what,
        clause,
        steps: vec![(
            with(&message, json!({"do": "message"})),
            answer.into_iter().collect(),
        )],
        counts,
        bound: false,
    });
    run(&gateway, &mut peer, rows.into())
}

type Line = (&'static str, &'static str, Value, Option<Value>, Gains);

#[rustfmt::skip]
fn malformed() -> [Line; 13] {
    const HOME_ADDRESS: Gains = &[("test_init_home_address_option", 1)];
    const INVALID: Gains = &[("mobility_invalid", 1)];
    let error = |home_address| Some(json!({"type": "BE", "status": 2, "home_address": home_address}));
    let problem = |pointer| Some(json!({"type": "PP", "code": 0, "pointer": pointer, "quotes": true}));
    let nobody = Ipv6Addr::UNSPECIFIED;
    [
        ("a Home Test Init with a Home Address option", "RFC 6275 9.4.1",
            json!({"kind": "HoTI", "home_address": FOREIGN}), None, HOME_ADDRESS),
        ("a Care-of Test Init with a Home Address option", "RFC 6275 9.4.2",
            json!({"kind": "CoTI", "home_address": B}), None, HOME_ADDRESS),
        ("an MH Type that nobody knows", "RFC 6275 9.2, 9.3.3", json!({"kind": 77}), error(nobody), &[]),
        ("one that came to be after RFC 6275", "RFC 6275 9.2, 9.3.3",
            json!({"kind": 8, "body": 2}), error(nobody), &[]),
        ("an unknown MH Type with a Home Address option, which the error names", "RFC 6275 9.3.3",
            json!({"kind": 255, "home_address": FOREIGN}), error(FOREIGN), &[]),
        ("an unknown MH Type and another Payload Proto: the type is judged first", "RFC 6275 9.2",
            json!({"kind": 77, "payload_proto": 6}), error(nobody), &[]),
        ("a Payload Proto other than 59", "RFC 6275 9.2",
            json!({"kind": "HoTI", "payload_proto": 6}), problem(40), INVALID),
        ("the same behind Destination Options, which move the pointer", "RFC 6275 9.2",
            json!({"kind": "HoTI", "payload_proto": 6, "padding": 2}), problem(56), INVALID),
        ("a Home Test Init with the Header Len of a shorter message", "RFC 6275 9.2",
            json!({"kind": "HoTI", "body": 2}), problem(41), INVALID),
        ("a Binding Update with the Header Len of a shorter message", "RFC 6275 9.2",
            json!({"kind": "BU", "body": 2}), problem(41), INVALID),
        ("fewer octets than Header Len says, which no checksum can cover", "RFC 6275 9.2",
            json!({"kind": "HoTI", "body": 2, "units": 1}), None, INVALID),
        ("a wrong checksum", "RFC 6275 9.2", json!({"kind": "HoTI", "spoil": 1}), None, INVALID),
        ("a wrong checksum under an unknown MH Type", "RFC 6275 9.2",
            json!({"kind": 77, "spoil": 1}), None, INVALID),
    ]
}

/// Status 130, and the nonces of a correspondent that has begun anew.
pub fn refused() -> Result<()> {
    let network = network()?;
    let mut first = gateway(&network, "max_bindings = 1")?;
    let mut peer = Peer::start(&network, network.server(S1), "member")?;
    let test = |more| (with(&json!({"do": "test"}), more), vec![]);
    let update = |more| with(&json!({"do": "update", "sequence": 7}), more);
    let row = |what, clause, steps, counts, bound| Row {
        what,
        clause,
        steps,
        counts,
        bound,
    };
    let rows = vec![
        row(
            "the one binding that there is room for",
            "RFC 6275 9.5.2",
            vec![test(json!({})), (update(json!({})), vec![accepted(7)])],
            &[("binding_update_accepted", 1)],
            true,
        ),
        row(
            "one more",
            "RFC 6275 9.5.2",
            vec![
                test(json!({})),
                (update(json!({})), vec![ack(130, 7, "right")]),
            ],
            &[("binding_table_full", 1)],
            false,
        ),
        row(
            "one more, without A",
            "RFC 6275 9.5.4",
            vec![
                test(json!({})),
                (update(json!({"flags": "E"})), vec![ack(130, 7, "right")]),
            ],
            &[("binding_table_full", 1)],
            false,
        ),
    ];
    run(&first, &mut peer, rows)?;

    let client = json!({"client": Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 2, 1)});
    let from = peer.mark();
    peer.tell(&with(&json!({"do": "test"}), client.clone()))?;
    first.end()?;
    let _second = gateway(&network, "")?;
    let done = peer.tell(&update(client));
    let result = done.and_then(|done| matches(&done["received"], &[ack(138, 7, "absent")]));
    let what = "tokens from before a restart of the correspondent";
    peer.explain(from, what, "RFC 6275 9.5.1", result)
}
