//! Step 1: members of the policy join, and the rogue is refused.

use anyhow::Result;
use serde_json::Value;

use crate::{
    lab::{
        report::Evidence,
        stage::Lab,
        topology::{B, ROGUE, S1, S2, Server},
        verdict::{Otherwise as _, expect},
    },
    net::{
        capture::{self, Message},
        packet::{Upper, mld},
        routes::Route,
        wait,
    },
};

use super::plan::{ASK_AGAIN, SOON};

/// Starts the router, the gateway and the members, and waits until both members have joined and B has a route.
pub fn join(lab: &mut Lab, evidence: &mut Evidence<'_>) -> Result<()> {
    lab.start(&["router", "gateway"])?;
    let since = capture::now();
    lab.start(&["s1", "s2"])?;
    let report = |member| heard(lab, "router-lan", member, mld::REPORT, since);
    let mut reports = [report(S1)?, report(S2)?];
    reports.sort_by_key(|report| report.time);
    reports.iter().for_each(|report| tell(evidence, report));
    let members = wait::poll(SOON, ASK_AGAIN, "the router has both members", || {
        let members = members(lab)?;
        let found = [S1, S2].iter().all(|server| has(&members, *server));
        Ok(found.then_some(members))
    })
    .otherwise("router", || format!("members: {:?}", members(lab)))?;
    evidence.fact(format_args!("router's members: {}", names(&members)));
    let route = lab
        .routes
        .wait(
            SOON,
            "a kernel route to B by a member",
            (B, 128),
            |routes| {
                let by_member =
                    |route: &&Route| [S1, S2].iter().any(|server| is_via(route, *server));
                routes.iter().find(by_member).cloned()
            },
        )
        .otherwise("router", || {
            format!("routes to B: {:?}", lab.routes.to(B, 128))
        })?;
    evidence.fact(format_args!("router's kernel: {route}"));
    Ok(())
}

/// Starts the rogue. Its Report must change nothing but a counter.
pub fn refuse(lab: &mut Lab, evidence: &mut Evidence<'_>) -> Result<()> {
    const COUNTER: (&str, &str) = ("data_plane", "mld_report_denied");
    let routes = lab.routes.all();
    let denied = lab.daemon("router")?.counter(COUNTER.0, COUNTER.1)?;
    let since = capture::now();
    lab.start(&["rogue"])?;
    tell(
        evidence,
        &heard(lab, "lan-rogue", ROGUE, mld::REPORT, since)?,
    );
    let what = format!("the router's XDP program counts {}", COUNTER.1);
    let ask = || lab.daemon("router")?.counter(COUNTER.0, COUNTER.1);
    let now = wait::poll(SOON, ASK_AGAIN, &what, || {
        Ok(Some(ask()?).filter(|now| *now > denied))
    })
    .otherwise("router", || format!("{:?}", ask()))?;
    evidence.fact(format_args!(
        "router's XDP: {} {denied} -> {now}",
        COUNTER.1
    ));
    let after = lab.routes.all();
    expect(
        after == routes,
        format_args!("the kernel routes of before: {routes:?}"),
        format_args!("{after:?}"),
    )?;
    let members = members(lab)?;
    expect(!has(&members, ROGUE), "no member rogue", names(&members))?;
    evidence.fact(format_args!(
        "router's kernel: its {} IPv6 routes as before; members as before",
        routes.len()
    ));
    Ok(())
}

/// Checks that every daemon's programs run in native mode.
pub(super) fn native(lab: &Lab, evidence: &mut Evidence<'_>) -> Result<()> {
    let mut attached = Vec::new();
    for daemon in lab.daemons() {
        let status = daemon.ask("status")?;
        for interface in status["interfaces"].as_array().into_iter().flatten() {
            let name = interface["name"].as_str().unwrap_or_default();
            expect(
                interface["mode"] == "native",
                format_args!("{}'s XDP program native on {name}", daemon.node()),
                interface,
            )?;
            attached.push(format!("{} {name}", daemon.node()));
        }
    }
    expect(
        attached.len() == 6,
        "XDP on six interfaces",
        attached.join(", "),
    )?;
    evidence.fact(format_args!("XDP, native: {}", attached.join(", ")));
    Ok(())
}

/// Waits for an MLD message of this server about B.
pub(super) fn heard(
    lab: &Lab,
    link: &str,
    server: Server,
    kind: u8,
    since: u64,
) -> Result<Message> {
    let what = format!(
        "{} about B by {} on {link}",
        Upper::Mld(kind, B),
        server.name
    );
    let capture = lab.capture(link)?;
    capture
        .ledger()
        .wait(SOON, &what, |ledger| {
            let mut found = ledger.messages(since, |packet| {
                packet.source == server.link_local() && packet.upper == Upper::Mld(kind, B)
            });
            found.next().cloned()
        })
        .otherwise(server.name, || {
            capture.ledger().read(|ledger| {
                let all = ledger.messages(since, |_| true);
                let all: Vec<_> = all
                    .map(|m| format!("{} {}", m.packet.source, m.packet.upper))
                    .collect();
                format!("[{}]", all.join(", "))
            })
        })
}

pub(super) fn tell(evidence: &mut Evidence<'_>, message: &Message) {
    let packet = &message.packet;
    let (source, destination) = (packet.source.to_string(), packet.destination.to_string());
    evidence.event(
        message.time,
        format_args!("{source:>18} > {destination:<18} {}", packet.upper),
    );
}

/// Whether this route leads to this server and to no other.
pub fn is_via(route: &Route, server: Server) -> bool {
    !route.next_hops.is_empty()
        && route
            .next_hops
            .iter()
            .all(|(via, _)| *via == Some(server.link_local()))
}

pub(super) fn members(lab: &Lab) -> Result<Vec<Value>> {
    lab.daemon("router")?.list("members")
}

pub(super) fn has(members: &[Value], server: Server) -> bool {
    let address = server.link_local().to_string();
    members
        .iter()
        .any(|member| member["member"].as_str() == Some(&*address))
}

fn names(members: &[Value]) -> String {
    let names: Vec<_> = members
        .iter()
        .filter_map(|member| member["member"].as_str())
        .collect();
    names.join(", ")
}
