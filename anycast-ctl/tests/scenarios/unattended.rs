//! Sessions while no daemon runs: their programs and maps stay in the kernel.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        report::Report,
        scenario::{
            self, ASK_AGAIN, Carried, MIB, SOON, Session, carried, carried_since, transfer,
        },
        stage::Lab,
        topology::{B, S1, S2, Server},
    },
    net::wait,
};

use super::{
    paths::more,
    sessions::{LEAVE, LIFETIME, bindings, bound, group},
    stage::in_lab,
};

const LINKS: [&str; 2] = ["gateway-router", "client-gateway"];
/// What a session exchanges each way while its daemon dies and comes back.
const AMOUNT: u64 = 1024 * MIB;
const LONG: Duration = Duration::from_secs(60);

fn the_other(server: Server) -> Server {
    if server == S1 { S2 } else { S1 }
}

/// No packet has met an interface without its program: behind the gateway each carries C, at the client
/// each B, and nobody was asked for a connection that it does not know.
fn unharmed([core, edge]: [Carried; 2]) -> Result<()> {
    core.must_be_by_care_of(LINKS[0])?;
    let hidden = edge.by_care_of.iter().all(|tally| tally.packets == 0);
    ensure!(hidden, "the client has seen C: {edge:?}");
    ensure!(core.resets() + edge.resets() == 0, "resets: {core:?}");
    Ok(())
}

/// The daemon of a node dies in full flow, and the next one starts in full flow.
fn dies_and_returns(lab: &mut Lab, session: &mut Session, node: &'static str) -> Result<()> {
    let before = carried(lab, session, LINKS)?;
    let all = before[0].by_care_of[1].octets + AMOUNT;
    session
        .visitor
        .tell(&format!("transfer {AMOUNT} {AMOUNT}"))?;
    more(lab, session.care_of, 4 * MIB)?;
    lab.kill(node)?;
    more(lab, session.care_of, 4 * MIB)?;
    lab.restart(node)?;
    let under_way = more(lab, session.care_of, 4 * MIB)?;
    ensure!(under_way < all, "the transfer was over too soon");
    session.visitor.event("transferred", LONG)?;
    unharmed(carried_since(lab, session, AMOUNT, LINKS, before)?)
}

fn exchange(lab: &Lab, session: &mut Session) -> Result<()> {
    let (_, carried) = transfer(lab, session, MIB, SOON, LINKS)?;
    unharmed(carried)
}

/// When its binding has expired, the client is bound anew with a new connection.
fn binds_again(lab: &mut Lab, report: &mut Report) -> Result<Session> {
    wait::poll(LIFETIME + SOON, ASK_AGAIN, "the binding expires", || {
        Ok((bindings(lab)? == 0).then_some(()))
    })?;
    report.step("again", "", |evidence| {
        scenario::open(lab, "client2", evidence)
    })
}

fn finish(mut session: Session) -> Result<()> {
    session.visitor.tell("finish")?;
    session.visitor.event("finished", SOON)?;
    Ok(())
}

pub(super) fn member() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        let member = session.server.name;
        dies_and_returns(lab, &mut session, member)?;
        ensure!(group(lab, member)?["sessions"] == 1, "it knows its session");
        lab.kill(member)?;
        exchange(lab, &mut session)?;
        lab.restart(member)?;
        exchange(lab, &mut session)?;
        let second = binds_again(lab, report)?;
        exchange(lab, &mut session)?;
        finish(session)?;
        finish(second)
    })
}

pub(super) fn gateway() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        dies_and_returns(lab, &mut session, "gateway")?;
        lab.kill("gateway")?;
        let (here, other) = (session.server, the_other(session.server));
        lab.daemon(here.name)?.tell(&["drain", &B.to_string()])?;
        lab.routes
            .wait(LEAVE, "the route leads to the other", (B, 128), |routes| {
                matches!(routes, [route] if scenario::is_via(route, other)).then_some(())
            })?;
        exchange(lab, &mut session)?;
        lab.restart("gateway")?;
        exchange(lab, &mut session)?;
        let flows = lab.daemon("gateway")?.list("flows")?;
        ensure!(
            flows.len() == 1 && flows[0]["care_of"] == session.care_of.to_string(),
            "it knows its flow: {flows:?}"
        );
        let second = binds_again(lab, report)?;
        ensure!(second.server == other, "new sessions go where routing says");
        exchange(lab, &mut session)?;
        finish(session)?;
        finish(second)
    })
}

/// Ends the daemon of a member in order.
fn stop(lab: &mut Lab, node: &str) -> Result<()> {
    for daemon in lab.daemons_mut() {
        if daemon.node() == node {
            ensure!(daemon.end()?.success(), "{:?}", daemon.tail(5));
        }
    }
    Ok(())
}

/// The session does not go on: what the member's kernel says from C is held back for six seconds. Then the next member
/// by B resets it, or where there is none, nobody answers.
fn is_lost(mut session: Session, how: &str) -> Result<()> {
    let lost = session.visitor.transfer(MIB, MIB, Duration::from_secs(15));
    let told = lost.err().map(|error| error.to_string());
    ensure!(
        told.as_deref().is_some_and(|told| told.contains(how)),
        "{told:?}"
    );
    Ok(())
}

pub(super) fn stopped() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        let member = session.server.name;
        let refused = lab.detach(member).err().map(|error| error.to_string());
        ensure!(
            refused.is_some_and(|told| told.contains("end it first")),
            "a daemon lost its programs"
        );
        stop(lab, member)?;
        exchange(lab, &mut session)?;
        lab.restart(member)?;
        exchange(lab, &mut session)?;

        // One without sessions leaves nothing.
        let other = the_other(session.server).name;
        stop(lab, other)?;
        ensure!(lab.detach(other)? == "nothing was attached");

        stop(lab, member)?;
        ensure!(lab.detach(member)? == "2 programs detached");
        // Nobody has B any more.
        is_lost(session, "not within")
    })
}

pub(super) fn not_kept() -> Result<()> {
    in_lab(None, |lab, report| {
        for server in [S1, S2] {
            lab.configure(server.name, "keep = true", "keep = false")?;
        }
        let session = bound(lab, report)?;
        stop(lab, session.server.name)?;
        ensure!(lab.detach(session.server.name)? == "nothing was attached");
        is_lost(session, "reset")
    })
}
