//! A member dies while a client's session is pinned to it.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use xtask::{
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN, MIB, SOON, Session, transfer},
        stage::Lab,
        topology::{B, CLIENT, S1, S2, SERVICE, Server},
        visitor::Visitor,
    },
    net::{
        capture::{self, Flow},
        netlink,
        packet::Upper,
        sysctl, wait,
    },
};

use super::{sessions::bound, stage::in_lab};

/// ICMPv6 Destination Unreachable, address unreachable.
const UNREACHABLE: Upper = Upper::Icmp(1, 3);
/// What the gateway is told to wait for an answer.
const FAILURE: Duration = Duration::from_secs(2);
/// The data plane's clock may be so many seconds late.
const TICK: f64 = 0.01;
/// What the router's kernel and daemon need to find a neighbour gone, and some patience.
const NOTICED: Duration = Duration::from_secs(15);

/// A bound session whose member has just died, and the member that is left.
fn orphaned(lab: &mut Lab, report: &mut Report) -> Result<(Session, Server)> {
    // A router that finds out in a moment: how long it takes is not what is measured here.
    lab.configure(
        "router",
        "probe_interval = \"10s\"",
        "probe_interval = \"1s\"",
    )?;
    let neighbours = [
        ("ipv6/neigh/lan0/base_reachable_time_ms", "500"),
        ("ipv6/neigh/lan0/delay_first_probe_time", "1"),
        ("ipv6/neigh/lan0/retrans_time_ms", "100"),
    ];
    sysctl::set(&lab.network.router, &neighbours)?;
    let session = bound(lab, report)?;
    let other = if session.server == S1 { S2 } else { S1 };
    netlink::down(lab.network.server(session.server), "eth0")?;
    lab.routes.wait(
        NOTICED,
        "the route leads to the other",
        (B, 128),
        |routes| matches!(routes, [route] if scenario::is_via(route, other)).then_some(()),
    )?;
    let steered = scenario::steered(lab)?;
    ensure!(
        steered == Some(session.care_of),
        "the binding is over too soon: {steered:?}"
    );
    Ok((session, other))
}

/// When the first packet of a session's answer passed the link behind the gateway: from B, or from
/// the care-of address where the member has bound the client already.
fn answered(lab: &Lab, visitor: &Visitor) -> Result<u64> {
    let client = (CLIENT, visitor.port()?);
    let answer = |flow: &Flow| flow.destination == client && flow.source.1 == SERVICE;
    let ledger = lab.capture("gateway-router")?.ledger();
    Ok(ledger.wait(SOON, "the answer in the capture", |ledger| {
        let sum = ledger.sum(answer);
        (sum.packets > 0).then_some(sum.first)
    })?)
}

/// Waits until the gateway has no binding and no flow of this address.
fn forgotten(lab: &Lab, care_of: Ipv6Addr, limit: Duration) -> Result<u64> {
    let gateway = lab.daemon("gateway")?;
    let is_left = |entries: Vec<Value>| {
        let mut entries = entries.into_iter();
        entries.any(|entry| entry["care_of"] == json!(care_of))
    };
    let what = format!("the gateway has neither binding nor flow to {care_of}");
    wait::poll(limit, ASK_AGAIN, &what, || {
        let left = is_left(gateway.list("flows")?) || is_left(gateway.list("bindings")?);
        Ok((!left).then(capture::now))
    })
}

/// The pair (A, C) follows when it is sure that no flow uses it.
fn unpaired(lab: &Lab, care_of: Ipv6Addr) -> Result<()> {
    let gateway = lab.daemon("gateway")?;
    let pair = [CLIENT.octets(), care_of.octets()].concat();
    wait::poll(SOON, ASK_AGAIN, "no pair in the map CARE_OF", || {
        let entry = gateway.map_entry("CARE_OF", &pair)?;
        Ok(entry.is_none().then_some(()))
    })
}

fn seconds(from: u64, to: u64) -> f64 {
    Duration::from_nanos(to.saturating_sub(from)).as_secs_f64()
}

/// The router answers for the dead member. It is a hint, for anybody could say so; that the session is not
/// answered while its client goes on is believed. From the router's first word, another member has the session's
/// packets, and serves new connections, within four seconds.
pub(super) fn unreachable() -> Result<()> {
    in_lab(None, |lab, report| {
        let (mut session, other) = orphaned(lab, report)?;
        let care_of = session.care_of;
        let since = capture::now();
        session.visitor.tell("transfer 1000 1000")?;
        let told = lab.capture("gateway-router")?.ledger().wait(
            NOTICED,
            "the router says that the care-of address is unreachable",
            |ledger| {
                let mut errors = ledger.messages(since, |packet| {
                    packet.upper == UNREACHABLE && packet.destination == CLIENT
                });
                errors.next().map(|message| message.time)
            },
        )?;
        let newcomer = lab.visit("newcomer", true)?;
        ensure!(
            newcomer.server() == other.name,
            "served by {}",
            newcomer.server()
        );
        let took = seconds(told, answered(lab, &newcomer)?);
        ensure!(took < 4.0, "answered after {took:.3} s");
        let gone = seconds(told, forgotten(lab, care_of, SOON)?);
        ensure!(gone < 4.0, "forgotten after {gone:.3} s");
        println!(
            "unreachable: {} answers a new connection {:.0} ms after the router's first word, the \
             gateway has forgotten {care_of} after {:.0} ms",
            other.name,
            took * 1e3,
            gone * 1e3
        );

        unpaired(lab, care_of)?;
        // The old session learns its end by the other member's reset, and not by an error.
        session.visitor.event("reset", NOTICED)?;
        let edge = lab.capture("client-gateway")?.ledger().read(|ledger| {
            let errors = ledger.messages(since, |packet| packet.upper == UNREACHABLE);
            errors.count()
        });
        // What quotes C when the flow is free already is left to the client's kernel, which has no socket for it.
        let gateway = lab.daemon("gateway")?;
        let late = gateway.counter("data_plane", "icmp_error_no_flow")?;
        ensure!(
            edge as u64 <= late,
            "the client has seen {edge} errors, {late} of them late"
        );
        ensure!(gateway.counter("data_plane", "care_of_unreachable")? > 0);
        ensure!(gateway.counter("controller", "flow_unreachable")? > 0);
        ensure!(gateway.counter("controller", "binding_failed")? == 1);
        Ok(())
    })
}

/// Nobody answers for the dead member: the router believes that it knows where it is.
pub(super) fn silent() -> Result<()> {
    in_lab(None, |lab, report| {
        lab.configure("gateway", "failure = \"30s\"", "failure = \"2s\"")?;
        for server in [S1, S2] {
            if let Some(care_of) = server.care_of {
                netlink::neighbour(&lab.network.router, "lan0", care_of, server.mac())?;
            }
        }
        let (mut session, other) = orphaned(lab, report)?;
        let since = capture::now();
        session.visitor.tell("transfer 1000 1000")?;
        let gone = seconds(since, forgotten(lab, session.care_of, FAILURE * 3)?);
        // A sweep every quarter of the time; no error that would have told.
        let time = FAILURE.as_secs_f64();
        ensure!(
            gone > time - TICK && gone < time * 1.25 + 1.0,
            "forgotten after {gone:.3} s"
        );
        let newcomer = lab.visit("newcomer", true)?;
        ensure!(
            newcomer.server() == other.name,
            "served by {}",
            newcomer.server()
        );
        let took = seconds(since, answered(lab, &newcomer)?);
        println!(
            "silent: with failure = {time} s the gateway has forgotten the care-of address after \
             {gone:.2} s, and {} answers after {took:.2} s",
            other.name
        );
        session.visitor.event("reset", NOTICED)?;
        let gateway = lab.daemon("gateway")?;
        ensure!(gateway.counter("data_plane", "care_of_unreachable")? == 0);
        ensure!(gateway.counter("controller", "care_of_failed")? == 1);
        ensure!(gateway.counter("controller", "binding_failed")? == 1);
        Ok(())
    })
}

/// By hand: the session goes on, over plain anycast.
pub(super) fn flush() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        let other = if session.server == S1 { S2 } else { S1 };
        let gateway = lab.daemon("gateway")?;
        let refused = gateway.tell(&["flush"]).map_err(|error| error.to_string());
        ensure!(
            matches!(&refused, Err(error) if error.contains("--all")),
            "{refused:?}"
        );
        let to = |care_of: Option<Ipv6Addr>| care_of.map(|care_of| care_of.to_string());
        let elsewhere = to(other.care_of).unwrap_or_default();
        let said = gateway.tell(&["flush", "--care-of", &elsewhere])?;
        ensure!(said == "ended: 0 bindings, 0 flows", "{said}");
        let client = CLIENT.to_string();
        let said = gateway.tell(&["flush", "--client", &client, "--json"])?;
        let said: Value = serde_json::from_str(&said)?;
        ensure!(said == json!({"bindings": 1, "flows": 1}), "{said}");
        ensure!(scenario::steered(lab)?.is_none());
        ensure!(lab.daemon("gateway")?.list("flows")?.is_empty());
        let links = ["gateway-router"];
        let (_, [core]) = transfer(lab, &mut session, MIB, SOON, links)?;
        let [up, down] = core.by_anycast.map(|tally| tally.packets);
        ensure!(up > 0 && down > 0, "not by B: {core:?}");
        // The member was not told. Its few tries from C end at the client's kernel, whose resets it holds back.
        let [up, down] = core.by_anycast.map(|tally| tally.resets);
        ensure!(up == 0 && down == 0, "resets: {core:?}");
        let [_, tries] = core.by_care_of.map(|tally| tally.packets);
        ensure!(
            tries * 10 < core.by_anycast[1].packets,
            "not by B: {core:?}"
        );
        session.visitor.tell("finish")?;
        session.visitor.event("finished", SOON)?;
        Ok(())
    })
}
