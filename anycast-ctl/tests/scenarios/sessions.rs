//! Sessions, when what carries them goes.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN, MIB, SOON, Session, transfer},
        stage::Lab,
    },
    net::wait,
};

use super::in_lab;

/// What the Binding Update's lifetime of 1 means when its E bit is set.
const LIFETIME: Duration = Duration::from_secs(16);

/// Both members in, and a session of the client that is bound to one of them.
pub(super) fn bound(lab: &mut Lab, report: &mut Report) -> Result<Session> {
    report.step("join", "", |evidence| scenario::join(lab, evidence))?;
    report.step("bind", "", |evidence| {
        scenario::open(lab, "client", evidence)
    })
}

fn bindings(lab: &Lab) -> Result<usize> {
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
                && lived < LIFETIME + Duration::from_secs(2),
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

/// SIGKILL takes the programs and all state of the gateway at once.
pub(super) fn gateway_killed() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        session.visitor.tell("beat")?;
        for daemon in lab.daemons_mut() {
            if daemon.node() == "gateway" {
                daemon.kill()?;
            }
        }
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
