//! The MTU of all links changes while programs are attached and a session is bound.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{
        scenario::{ASK_AGAIN, Carried, MIB, SOON, Session, transfer},
        stage::Lab,
        topology::CLIENT,
        visitor::Visitor,
    },
    net::{netlink, wait},
};

use super::{sessions::bound, stage::in_lab, tcx::modes};

const LONG: Duration = Duration::from_secs(60);
const USUAL: u32 = 1500;
const JUMBO: u32 = 9000;
const CORE: &str = "gateway-router";

pub(super) fn native() -> Result<()> {
    changes("native")
}

pub(super) fn generic() -> Result<()> {
    changes("generic")
}

pub(super) fn tcx() -> Result<()> {
    changes("tcx")
}

/// Up and down again; then the same without programs at the gateway, as the control.
fn changes(mode: &str) -> Result<()> {
    in_lab(None, |lab, report| {
        let nodes = ["router", "gateway", "s1", "s2"];
        for node in nodes {
            lab.configure(node, "mode = \"auto\"", &format!("mode = \"{mode}\""))?;
        }
        let mut session = bound(lab, report)?;
        for mtu in [JUMBO, USUAL] {
            let joined = since(lab)?;
            links(lab, mtu)?;
            let carried = moved(lab, &mut session)?;
            carried.must_be_by_care_of(CORE)?;
            ensure!(carried.resets() == 0, "resets: {carried:?}");
            let another = another(lab, &session)?;
            another.must_be_by_care_of(CORE)?;
            for tally in another.by_care_of {
                let largest = tally.octets / tally.packets > u64::from(USUAL);
                // By TCX, too: this lab's links merge nothing.
                ensure!(largest == (mtu == JUMBO), "at MTU {mtu}: {another:?}");
            }
            ensure!(since(lab)? > joined, "the router has lost its members");
            for node in nodes {
                let configured = (mode.to_owned(), "configured".to_owned());
                let modes = modes(lab, node)?;
                ensure!(modes.iter().all(|mode| *mode == configured), "{modes:?}");
            }
        }

        session.visitor.tell("beat")?;
        lab.kill("gateway")?;
        lab.detach("gateway")?;
        for mtu in [JUMBO, USUAL] {
            links(lab, mtu)?;
            let carried = moved(lab, &mut session)?;
            let [up, down] = carried.by_anycast.map(|tally| tally.packets);
            ensure!(up > 500 && down > 500, "not by B: {carried:?}");
        }
        session.visitor.tell("finish")?;
        session.visitor.event("finished", SOON)?;
        Ok(())
    })
}

fn links(lab: &Lab, mtu: u32) -> Result<()> {
    for (namespace, interface) in lab.network.ends() {
        netlink::mtu(namespace, interface, mtu)?;
    }
    Ok(())
}

fn moved(lab: &Lab, session: &mut Session) -> Result<Carried> {
    let (_, [core]) = transfer(lab, session, 4 * MIB, LONG, [CORE])?;
    Ok(core)
}

/// What a session shows that begins now, whose segments are as large as the links let them be.
fn another(lab: &Lab, session: &Session) -> Result<Carried> {
    let visitor = lab.visit("another", true)?;
    ensure!(
        visitor.server() == session.server.name,
        "served by {}",
        visitor.server()
    );
    let mut another = Session {
        port: visitor.port()?,
        visitor,
        ..*session
    };
    wait::poll(SOON, ASK_AGAIN, "a new session goes by C", || {
        let (_, [core]) = transfer(lab, &mut another, 512, SOON, [CORE])?;
        Ok(core.must_be_by_care_of(CORE).is_ok().then_some(()))
    })?;
    let (event, [core]) = transfer(lab, &mut another, 4 * MIB, LONG, [CORE])?;
    ensure!(Visitor::shows_anycast(&event, CLIENT), "{event}");
    another.visitor.tell("finish")?;
    another.visitor.event("finished", SOON)?;
    Ok(core)
}

/// For how many seconds the router has had the member that joined last.
fn since(lab: &Lab) -> Result<f64> {
    let members = lab.daemon("router")?.list("members")?;
    ensure!(members.len() == 2, "{members:?}");
    let times = members
        .iter()
        .map(|member| member["since_seconds"].as_f64().context("no time"));
    let times = times.collect::<Result<Vec<_>>>()?;
    Ok(times.into_iter().fold(f64::MAX, f64::min))
}
