//! Lines of the log have the names of the events that they tell of.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::Ipv6Addr,
    sync::{Arc, Mutex},
};

use anycast_common::wire;
use serde_json::Value;

use super::*;
use crate::core::notice::{BindingChange, FailureCause, LeaveCause, RefusedBy};

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1);
const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged of a notice, as `--log-format json` has it, `ANYCAST_LOG=debug`.
fn logged(notice: &Notice) -> Vec<Value> {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(log, || {
        Notices::new().log(notice, &LinkTable::new([]));
    });
    let text = lines.0.lock().expect("whole").clone();
    let text = String::from_utf8(text).expect("text");
    let line = |line: &str| serde_json::from_str(line).expect("JSON");
    text.lines().map(line).collect()
}

fn samples() -> Vec<Notice> {
    let (ifindex, name) = (1, String::from("g2"));
    let (client, anycast, care_of) = (Some(A), Some(B), Some(C));
    let health = |healthy| Notice::Health {
        anycast: B,
        healthy,
        said: String::new(),
    };
    let handshake = |outcome| Notice::Handshake {
        client: A,
        anycast: B,
        outcome,
    };
    let peer = |change| Notice::FleetPeer {
        name: name.clone(),
        change,
    };
    vec![
        Notice::Querier {
            ifindex,
            querier: A,
            ours: true,
        },
        Notice::MemberJoined {
            ifindex,
            anycast: B,
            member: A,
            rule: 0,
        },
        Notice::MemberLeft {
            ifindex,
            anycast: B,
            member: A,
            cause: LeaveCause::Done,
        },
        Notice::MldRefused {
            ifindex,
            source: A,
            mac: [2; 6],
            by: RefusedBy::Controller,
            anycast,
            reason: "report_denied",
        },
        Notice::Route {
            anycast: B,
            next_hops: vec![A],
        },
        Notice::Membership {
            anycast: B,
            joined: true,
        },
        health(true),
        health(false),
        Notice::HandshakeStarted {
            client: A,
            anycast: B,
        },
        handshake(HandshakeOutcome::Bound),
        handshake(HandshakeOutcome::Refused(130)),
        Notice::Binding {
            client: A,
            anycast: B,
            care_of: C,
            change: BindingChange::Created,
            moved_from: None,
        },
        Notice::TrialFailed {
            client: A,
            anycast: B,
            care_of: C,
            protocol: 17,
            client_port: 1,
            service_port: 2,
            reason: "reason",
            left_alone: None,
        },
        Notice::CareOfFailed {
            care_of: C,
            cause: FailureCause::Silence,
            flows: 1,
        },
        Notice::Flushed {
            client,
            anycast,
            care_of,
            bindings: 1,
            flows: 1,
        },
        Notice::Forgotten {
            client,
            anycast,
            care_of,
            clients: 1,
        },
        Notice::MobilityRefused {
            source: B,
            destination: A,
            reason: "reason",
        },
        peer(FleetChange::Joined),
        peer(FleetChange::Lost),
        Notice::FleetReady {
            how: FleetReady::Alone,
        },
        Notice::FleetReady {
            how: FleetReady::TimedOut,
        },
        Notice::FleetClock {
            name: name.clone(),
            ahead_seconds: 40,
        },
        Notice::FleetStranger {
            name: name.clone(),
            fingerprint: "01020304".to_owned(),
        },
        Notice::Unparsable {
            ifindex,
            error: wire::Error::HomeAddressOption,
        },
    ]
}

/// The names in the schema of events, which is made from the type.
fn names() -> BTreeSet<String> {
    let schema = schemars::schema_for!(Notice).to_value();
    let variants = schema["oneOf"].as_array().expect("variants");
    let name = |it: &Value| {
        it["properties"]["event"]["const"]
            .as_str()
            .map(str::to_owned)
    };
    variants
        .iter()
        .map(|it| name(it).expect("a name"))
        .collect()
}

#[test]
fn each_line_has_the_name_that_the_monitor_has() {
    let mut seen = BTreeSet::new();
    for notice in samples() {
        let told = serde_json::to_value(&notice).expect("JSON");
        let lines = logged(&notice);
        assert_eq!(lines.len(), 1, "{notice:?}");
        assert_eq!(lines[0]["event"], told["event"], "{notice:?}");
        seen.extend(told["event"].as_str().map(str::to_owned));
    }
    assert_eq!(seen, names(), "events without a sample");
}

#[test]
fn a_gateway_that_is_lost_is_a_warning() {
    let level = |change| {
        let name = "g2".to_owned();
        logged(&Notice::FleetPeer { name, change })[0]["level"].clone()
    };
    assert_eq!(level(FleetChange::Joined), "INFO");
    assert_eq!(level(FleetChange::Lost), "WARN");
}
