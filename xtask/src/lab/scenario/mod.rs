//! The steps of the lab, in order. Each step shows its evidence, and the first step that fails ends the lab.

mod bind;
mod close;
mod drain;
mod fleet;
mod handshake;
mod join;
mod members;
mod plan;
mod proof;
mod session;

use anyhow::Result;

pub use bind::{open, steered};
pub use join::{is_via, join, refuse};
pub use plan::{ASK_AGAIN, MIB, Plan, SOON};
pub use proof::{Carried, carried, carried_since, transfer};
pub use session::Session;

use super::{report::Report, stage::Lab};

/// Runs all steps, from the first Report to the counters.
pub fn play(lab: &mut Lab, report: &mut Report, plan: Plan) -> Result<()> {
    report.step(
        "join",
        "s1 and s2 join B, the rogue is refused",
        |evidence| {
            join::join(lab, evidence)?;
            join::refuse(lab, evidence)?;
            join::native(lab, evidence)
        },
    )?;
    let mut session = report.step(
        "bind",
        "client opens a session; the handshake runs beside it",
        |evidence| bind::open(lab, "client", evidence),
    )?;
    let mut plain = report.step(
        "plain",
        "plain opens one too: plain anycast, no gateway",
        |evidence| bind::open_plain(lab, &session, evidence),
    )?;
    let other = report.step(
        "drain",
        &format!("{} drains; the route moves", session.server.name),
        |evidence| drain::drain(lab, &mut session, &mut plain, evidence),
    )?;
    let lost = report.step(
        "outlive",
        "client's session goes on, plain's is reset",
        |evidence| drain::outlive(lab, &mut session, &mut plain, other, plan, evidence),
    )?;
    let [first, second] = report.step(
        "rebind",
        "the binding expires; a new connection goes to the other member",
        |evidence| bind::rebind(lab, session, other, evidence),
    )?;
    report.step(
        "attack",
        "the rogue lies and floods; who is a member stays one",
        |evidence| members::attack(lab, other, evidence),
    )?;
    report.step(
        "routers",
        "a second router comes; the daemon of the first dies and comes back",
        |evidence| members::routers(lab, other, evidence),
    )?;
    report.step(
        "gateways",
        "a second gateway comes; the first one fails in mid-session, after the route moved",
        |evidence| fleet::gateways(lab, other, evidence),
    )?;
    report.step(
        "silence",
        &format!("{} is cut off, and nobody says Done", other.name),
        |evidence| members::silence(lab, other, evidence),
    )?;
    report.step("close", "what it came to", |evidence| {
        close::table(lab, &[first, lost, second], evidence)?;
        match plan.keep {
            true => Ok(()),
            false => close::shut_down(lab, evidence),
        }
    })
}
