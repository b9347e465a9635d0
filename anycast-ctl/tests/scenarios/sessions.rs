//! Sessions, when what carries them goes.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        node::Daemon,
        report::Report,
        scenario::{self, ASK_AGAIN, MIB, SOON, Session, transfer},
        stage::Lab,
        topology::{B, S1, S2},
    },
    net::wait,
};

use super::stage::in_lab;

/// Two Address-Specific Queries, a second apart, and a second more.
pub(super) const LEAVE: Duration = Duration::from_secs(10);

/// What the Binding Update's lifetime of 1 means when its E bit is set.
pub(super) const LIFETIME: Duration = Duration::from_secs(16);

/// Both members in, and a session of the client that is bound to one of them.
pub(super) fn bound(lab: &mut Lab, report: &mut Report) -> Result<Session> {
    report.step("join", "", |evidence| scenario::join(lab, evidence))?;
    report.step("bind", "", |evidence| {
        scenario::open(lab, "client", evidence)
    })
}

/// Nobody is sent to a member any more when a drain has been waited for: no binding of before lives.
pub(super) fn may_go(member: &Daemon) -> Result<()> {
    let groups = member.ask("groups")?;
    let drained = groups["member"][0]["draining_seconds"].as_f64();
    ensure!(
        drained.is_some_and(|drained| drained >= LIFETIME.as_secs_f64()),
        "it did not wait for bindings: {groups}"
    );
    Ok(())
}

pub(super) fn bindings(lab: &Lab) -> Result<usize> {
    Ok(lab.daemon("gateway")?.list("bindings")?.len())
}

/// The binding steers new flows for 16 s; the flow that used it does not need it any more.
pub(super) fn expiry() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        wait::poll(LIFETIME + SOON, ASK_AGAIN, "the binding expires", || {
            Ok((bindings(lab)? == 0).then_some(()))
        })?;
        let steered = scenario::steered(lab)?;
        ensure!(steered.is_none(), "the BPF map still has {steered:?}");
        let lived = xtask::net::capture::now() - session.bound_at;
        let lived = Duration::from_nanos(lived);
        ensure!(
            lived > LIFETIME - Duration::from_millis(500)
                && lived < LIFETIME + wait::patience(Duration::from_secs(2)),
            "it lived for {lived:?}"
        );
        let (_, [core]) = transfer(lab, &mut session, MIB, SOON, ["gateway-router"])?;
        core.must_be_by_care_of("gateway-router")?;
        ensure!(
            bindings(lab)? == 0,
            "the session's packets have renewed its binding"
        );
        Ok(())
    })
}

/// The programs and all state of the gateway go at once, as when it is rebooted.
pub(super) fn gateway_gone() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        session.visitor.tell("beat")?;
        lab.kill("gateway")?;
        lab.detach("gateway")?;
        let links = ["gateway-router", "client-gateway"];
        let (_, [core, edge]) = transfer(lab, &mut session, 4 * MIB, LIFETIME, links)?;
        let [up, down] = core.by_anycast.map(|tally| tally.packets);
        ensure!(up > 1000 && down > 1000, "not by B: {core:?}");
        ensure!(edge.resets() + core.resets() == 0, "resets: {core:?}");
        let hidden = edge.by_care_of.iter().all(|tally| tally.packets == 0);
        ensure!(hidden, "the client has seen C: {edge:?}");
        session.visitor.tell("finish")?;
        session.visitor.event("finished", SOON)?;
        Ok(())
    })
}

/// What `groups` says of B at a member.
pub(super) fn group(lab: &Lab, server: &str) -> Result<serde_json::Value> {
    Ok(lab.daemon(server)?.ask("groups")?["member"][0].take())
}

/// Draining, a member keeps the session that it has and gets no other, and says when it is over.
pub(super) fn drain() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        let (here, b) = (session.server, B.to_string());
        let before = group(lab, here.name)?;
        ensure!(
            before["sessions"] == 1 && before["joined"] == true,
            "{before}"
        );
        let said = lab.daemon(here.name)?.tell(&["drain", &b])?;
        ensure!(said == format!("{b} draining, 1 session left"), "{said}");
        let draining = group(lab, here.name)?;
        ensure!(
            draining["joined"] == false && draining["draining_seconds"].is_number(),
            "{draining}"
        );
        let other = if here == S1 { S2 } else { S1 };
        lab.routes
            .wait(LEAVE, "the route leads to the other", (B, 128), |routes| {
                matches!(routes, [route] if scenario::is_via(route, other)).then_some(())
            })?;
        let impatient = lab
            .daemon(here.name)?
            .tell(&["drain", &b, "--wait", "--timeout", "1s"]);
        let error = impatient
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        ensure!(error.contains("not yet: 1 left"), "{error}");

        // Nobody new, and the old one as before.
        let newcomer = lab.visit("newcomer", false)?;
        ensure!(
            newcomer.server() == other.name,
            "served by {}",
            newcomer.server()
        );
        let (_, [core]) = transfer(lab, &mut session, MIB, SOON, ["gateway-router"])?;
        core.must_be_by_care_of("gateway-router")?;
        let daemon = lab.daemon(here.name)?;
        let mut waiting =
            daemon.start_telling("drain", &["drain", "--all", "--wait", "--timeout", "60s"])?;
        let says = |left: &str| format!("{b} draining, {left}");
        let one = says("1 session left");
        let (_, next) = waiting.wait_line(SOON, "it tells what is left", 0, |line| {
            (line == one).then_some(())
        })?;
        session.visitor.tell("finish")?;
        session.visitor.event("finished", SOON)?;
        // One that does not wait has ended without this line.
        let none = says("no sessions left");
        waiting.wait_line(LEAVE, "it tells that none is left", next, |line| {
            (line == none).then_some(())
        })?;
        let status = waiting.wait_end(LIFETIME + SOON)?;
        ensure!(status.success(), "{status}");
        may_go(daemon)?;
        let said = daemon.tell(&["undrain", "--all"])?;
        ensure!(said == format!("{b} joined"), "{said}");
        wait::poll(SOON, ASK_AGAIN, "two members again", || {
            Ok((lab.daemon("router")?.list("members")?.len() == 2).then_some(()))
        })?;
        Ok(())
    })
}
