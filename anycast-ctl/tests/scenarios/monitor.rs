//! What operators see of one client: events as they happen, and lists in between.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use xtask::{
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN, MIB, SOON},
        stage::Lab,
        topology::{B, CLIENT, PLAIN, S1, S2, Server},
    },
    net::{Process, process::Output, wait},
};

use super::stage::in_lab;

/// A binding's life, and some patience.
const EXPIRY: Duration = Duration::from_secs(20);
/// Octets of an exchange that fills no segment.
const FEW: u64 = 512;
/// Flows are counted every quarter of the time of a failure, 30 seconds.
const COUNTED: Duration = Duration::from_secs(12);

/// What a monitor has told of this client, each as an event and what became of it.
fn told(output: &Output, client: Ipv6Addr) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = output.lines.iter().filter_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let of_client = event["client"] == json!(client);
        let mut became = [&event["change"], &event["outcome"]].into_iter();
        let became = became.find(|value| value.is_string());
        of_client.then(|| (word(&event["event"]), became.map(word).unwrap_or_default()))
    });
    events.collect()
}

fn wait_told(monitor: &Process, client: Ipv6Addr, expected: &[(&str, &str)]) -> Result<()> {
    let what = format!("{} tells {expected:?}", monitor.name());
    let same = |output: &Output| {
        let told = told(output, client);
        let told = told.iter().map(|(event, became)| (&**event, &**became));
        told.eq(expected.iter().copied()).then_some(())
    };
    let output = monitor.output();
    let waited = output.wait(EXPIRY, &what, same);
    waited.with_context(|| output.read(|output| format!("it told {:?}", told(output, client))))
}

/// What `handshakes` says of a client at its member.
fn handshake(lab: &Lab, server: Server, client: Ipv6Addr) -> Result<Value> {
    let client = client.to_string();
    let daemon = lab.daemon(server.name)?;
    let said = daemon.tell(&["handshakes", "--client", &client, "--json"])?;
    match serde_json::from_str(&said)? {
        Value::Array(rows) if rows.len() == 1 => Ok(rows[0].clone()),
        other => bail!("one handshake with {client}, not {other}"),
    }
}

const STARTED: (&str, &str) = ("handshake_started", "");
const BOUND: (&str, &str) = ("handshake", "bound");

pub(super) fn course() -> Result<()> {
    in_lab(None, |lab: &mut Lab, report: &mut Report| {
        report.step("join", "", |evidence| scenario::join(lab, evidence))?;
        let watch = |node: &str| lab.daemon(node)?.monitor();
        let (gateway, s1, s2) = (watch("gateway")?, watch(S1.name)?, watch(S2.name)?);
        let session = report.step("bind", "", |evidence| {
            scenario::open(lab, "client", evidence)
        })?;
        let member = session.server;
        let members = if member == S1 { s1 } else { s2 };
        wait_told(&members, CLIENT, &[STARTED, BOUND])?;
        wait_told(&gateway, CLIENT, &[("binding", "created")])?;

        let known = handshake(lab, member, CLIENT)?;
        ensure!(known["state"] == "bound", "{known}");
        ensure!(known["attempts"].as_u64() >= Some(2), "{known}");
        let ack = json!({"message": "binding_ack", "status": 0, "status_name": "accepted"});
        ensure!(known["last_answer"] == ack, "{known}");

        let b = B.to_string();
        let ask = ["bindings", "--anycast", &b, "--json"];
        let binding = wait::poll(COUNTED, ASK_AGAIN, "the flow is counted", || {
            let said: Value = serde_json::from_str(&lab.daemon("gateway")?.tell(&ask)?)?;
            let binding = said[0].clone();
            Ok((binding["flows"] == 1).then_some(binding))
        })?;
        ensure!(binding["flows_age_seconds"].is_number(), "{binding}");
        ensure!(binding["care_of"] == json!(session.care_of), "{binding}");
        let [age, left] = ["age_seconds", "remaining_seconds"].map(|name| binding[name].as_f64());
        let whole = age.zip(left).map(|(age, left)| age + left);
        ensure!(
            whole.is_some_and(|whole| (whole - 16.0).abs() < 0.1),
            "{binding}"
        );

        // Who has no gateway cannot bind, and is left alone.
        let mut plain = lab.visit("plain", false)?;
        ensure!(
            plain.server() == member.name,
            "served by {}",
            plain.server()
        );
        let refused = [STARTED, ("handshake", "not_capable")];
        wait_told(&members, PLAIN, &refused)?;
        let known = handshake(lab, member, PLAIN)?;
        ensure!(known["left_alone"] == "not_capable", "{known}");
        ensure!(
            known["last_answer"]["message"] == "parameter_problem",
            "{known}"
        );
        let table = lab.daemon(member.name)?.tell(&["handshakes"])?;
        ensure!(table.contains("left alone: cannot bind"), "{table}");
        // An operator knows better, and it is tried again with its next packet.
        let client = PLAIN.to_string();
        let flush = ["flush", "--client", &client];
        let said = lab.daemon(member.name)?.tell(&flush)?;
        ensure!(said == "forgotten: 1 client", "{said}");
        plain.transfer(MIB, MIB, SOON)?;
        let again = [
            refused[0],
            refused[1],
            ("forgotten", ""),
            refused[0],
            refused[1],
        ];
        wait_told(&members, PLAIN, &again)?;

        let expired = [("binding", "created"), ("binding", "expired")];
        wait_told(&gateway, CLIENT, &expired)?;
        let mut newcomer = lab.visit("newcomer", true)?;
        ensure!(newcomer.server() == member.name, "by {}", newcomer.server());
        wait_told(&members, CLIENT, &[STARTED, BOUND, STARTED, BOUND])?;
        let again = [expired[0], expired[1], ("binding", "created")];
        wait_told(&gateway, CLIENT, &again)?;

        // The newcomer's flow began before the binding: its member leads it, with one of its next packets.
        wait::poll(SOON, ASK_AGAIN, "both flows are bound", || {
            newcomer.transfer(FEW, FEW, SOON)?;
            let flows = lab.daemon("gateway")?.list("flows")?.len();
            Ok((flows == 2).then_some(()))
        })?;
        let client = CLIENT.to_string();
        let said = lab
            .daemon("gateway")?
            .tell(&["flush", "--client", &client])?;
        ensure!(said == "ended: 1 binding, 2 flows", "{said}");
        let [first, second, third] = again;
        let all = [
            first,
            second,
            third,
            ("binding", "flushed"),
            ("flushed", ""),
        ];
        wait_told(&gateway, CLIENT, &all)?;
        ensure!(scenario::steered(lab)?.is_none());
        wait::poll(SOON, ASK_AGAIN, "no binding is listed", || {
            Ok(lab
                .daemon("gateway")?
                .list("bindings")?
                .is_empty()
                .then_some(()))
        })
    })
}
