//! Steps 4 and 5: the serving member leaves, and the sessions with it react.

use std::time::Duration;

use anyhow::Result;

use crate::{
    lab::{
        report::Evidence,
        stage::Lab,
        topology::{B, CLIENT, PLAIN, S1, S2, Server},
        verdict::{Otherwise as _, expect},
        visitor::Visitor,
    },
    net::{
        capture,
        packet::{Upper, mld},
    },
};

use super::{
    close::Account,
    join,
    plan::{MIB, Plan, SOON},
    proof,
    session::Session,
};

/// Time in which a leave must be complete. RFC 2710 lets the router send two Queries, one second apart, and wait
/// another second.
const LEAVE: Duration = Duration::from_secs(10);
const BULK: Duration = Duration::from_secs(45);

/// The serving member leaves while both sessions are in use. Gives the remaining member.
pub(super) fn drain(
    lab: &Lab,
    session: &mut Session,
    plain: &mut Visitor,
    evidence: &mut Evidence<'_>,
) -> Result<Server> {
    let leaving = session.server;
    let other = if leaving == S1 { S2 } else { S1 };
    session.visitor.tell("beat")?;
    plain.tell("beat")?;
    let since = capture::now();
    lab.daemon(leaving.name)?.tell(&["leave", &B.to_string()])?;
    evidence.fact(format_args!("{}: anycast-ctl leave {B}", leaving.name));
    join::tell(
        evidence,
        &join::heard(lab, "router-lan", leaving, mld::DONE, since)?,
    );
    let what = format!("the kernel's route to B leads to {} alone", other.name);
    let route = lab
        .routes
        .wait(LEAVE, &what, (B, 128), |routes| match routes {
            [route] if join::is_via(route, other) => Some(route.clone()),
            _ => None,
        })
        .otherwise("router", || format!("{:?}", lab.routes.to(B, 128)))?;
    let moved = capture::now();
    let queries: Vec<_> = lab.capture("router-lan")?.ledger().read(|ledger| {
        let queries = ledger.messages(since, |packet| packet.upper == Upper::Mld(mld::QUERY, B));
        queries.cloned().collect()
    });
    queries.iter().for_each(|query| join::tell(evidence, query));
    expect(
        !queries.is_empty(),
        "Address-Specific Queries for B before the route moves",
        "none",
    )?;
    evidence.event(moved, format_args!("router's kernel: {route}"));
    Ok(other)
}

/// The bound session transfers a lot of data although its route no longer exists. The plain session cannot.
pub(super) fn outlive(
    lab: &Lab,
    session: &mut Session,
    plain: &mut Visitor,
    other: Server,
    plan: Plan,
    evidence: &mut Evidence<'_>,
) -> Result<Account> {
    let end = plain.event("reset", SOON)?;
    evidence.fact(format_args!(
        "plain: its session is reset, after {} octets each way",
        end["received"]
    ));
    let resets = lab.capture("plain-router")?.ledger().wait(
        SOON,
        "the reset in the capture of plain-router",
        |ledger| {
            let sum = ledger.sum(|flow| flow.source.0 == B && flow.destination.0 == PLAIN);
            (sum.resets > 0).then_some(sum)
        },
    )?;
    evidence.event(
        resets.last,
        format_args!("{:>18} > {:<18} TCP RST", B.to_string(), PLAIN.to_string()),
    );
    let megabytes = plan.outlive / MIB;
    evidence.progress(format_args!("client: {megabytes} MiB each way"));
    let stray = format!("lan-{}", other.name);
    let serving = format!("lan-{}", session.server.name);
    let links = ["gateway-router", &serving, "client-gateway"];
    let (event, [core, member, edge]) = proof::transfer(lab, session, plan.outlive, BULK, links)?;
    evidence.fact(format_args!(
        "client: {megabytes} MiB each way in {:.1} s by {}, every octet verified at both ends",
        event["seconds"].as_f64().unwrap_or(f64::NAN),
        session.server.name,
    ));
    core.must_be_by_care_of(links[0])?;
    member.must_be_by_care_of(links[1])?;
    let [up, down] = core.by_care_of.map(|tally| tally.packets);
    evidence.fact(format_args!(
        "gateway-router: {up} packets to {0} and {down} from it",
        session.care_of
    ));
    let (care_of, port) = (session.care_of, session.port);
    let strays = lab.capture(&stray)?.ledger().read(|ledger| {
        let ours = (CLIENT, port);
        ledger.sum(|flow| flow.source == ours || flow.destination == ours)
    });
    expect(
        strays.packets == 0,
        format_args!("none of them on {stray}"),
        strays.packets,
    )?;
    let resets = edge.resets() + core.resets();
    expect(resets == 0, "no reset", resets)?;
    expect(
        Visitor::shows_anycast(&event, CLIENT),
        "both ends' sockets show B",
        &event,
    )?;
    session.visitor.tell("pause")?;
    let beats = session.visitor.event("paused", SOON)?;
    evidence.fact(format_args!(
        "client: not one reset; {} exchanges ran through the move of the route",
        beats["beats"]
    ));
    evidence.tell(format_args!(
        "\n      with a gateway (client)     the session stays with {} by {care_of}\n      \
         without one (plain)         the session is reset when the route moves to {}",
        session.server.name, other.name
    ));
    Ok(Account {
        client: "plain",
        server: session.server.name,
        by: B,
        sent: end["sent"].as_u64().unwrap_or(0),
        received: end["received"].as_u64().unwrap_or(0),
        end: format!("reset, when the route moved to {}", other.name),
    })
}
