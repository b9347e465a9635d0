//! Step 9: a second gateway, and what it knows when the first one fails.

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    lab::{
        report::Evidence,
        second::{self, BUS, Second},
        stage::Lab,
        topology::{B, S1, S2, Server},
        verdict::{Otherwise as _, expect},
        visitor::Visitor,
    },
    net::{Process, wait},
    process,
};

use super::{
    join,
    plan::{ASK_AGAIN, MIB, SOON},
};

const PORT: u16 = 4222;
/// Octets that the session exchanges each way before and after each event.
const SHARE: u64 = 4 * MIB;
/// And while something is waited for.
const PIECE: u64 = 4096;
/// A member leaves, and the router asks for others before it moves the route (RFC 2710 section 7.8).
const LEAVE: Duration = Duration::from_secs(20);
const TRANSFER: Duration = Duration::from_secs(30);

/// A second gateway comes, and a bus. A session begins by the first one, its route moves, and the first gateway fails.
/// Afterwards all is as before.
pub(super) fn gateways(lab: &mut Lab, serving: Server, evidence: &mut Evidence<'_>) -> Result<()> {
    if process::find("nats-server").is_none() {
        evidence.not_shown("nats-server is not installed (apt-get install nats-server)");
        return Ok(());
    }
    let second = form(lab, evidence)?;
    let other = if serving == S1 { S2 } else { S1 };
    both_are_members(lab)?;
    let mut visitor = lab.visit("fleet", true)?;
    let first = match visitor.server() {
        name if name == serving.name => serving,
        _ => other,
    };
    exchange(&mut visitor)?;
    let port = visitor.port()?;
    wait::poll(SOON, ASK_AGAIN, "gateway2 knows the session", || {
        // A session that began before its binding is led by what its member sends.
        visitor.transfer(PIECE, PIECE, TRANSFER)?;
        let flows = lab.daemon(second::NAME)?.list("flows")?;
        let ours = flows
            .iter()
            .any(|flow| flow["client_port"] == port && flow["state"] == "bound");
        Ok(ours.then_some(()))
    })
    .otherwise(second::NAME, || {
        format!("{:?}", lab.daemon(second::NAME).map(|it| it.list("flows")))
    })?;
    evidence.fact(format_args!(
        "a session with {}, by gateway; gateway2 has heard of it",
        first.name
    ));
    let then = if first == S1 { S2 } else { S1 };
    moves(lab, first, then)?;
    evidence.fact(format_args!(
        "{} leaves; B's route leads to {}",
        first.name, then.name
    ));
    exchange(&mut visitor)?;
    lab.kill("gateway")?;
    second.takes_over(&lab.network)?;
    lab.detach("gateway")?;
    evidence.fact("gateway is gone with all that it knew; packets pass gateway2");
    exchange(&mut visitor)?;
    let carried = lab.daemon(second::NAME)?;
    let carried = carried.counter("data_plane", "correspondent_to_care_of")?;
    expect(carried > 0, "gateway2 sends the session to C", carried)?;
    evidence.fact(format_args!(
        "the session goes on with {}: {} MiB more each way, {carried} packets to C by gateway2",
        first.name,
        SHARE / MIB
    ));
    visitor.tell("finish")?;
    visitor.event("finished", SOON)?;
    // As it was before.
    lab.end(second::NAME)?;
    second.unplug(&lab.network)?;
    lab.restart("gateway")?;
    lab.daemon(first.name)?.tell(&["join", &B.to_string()])?;
    both_are_members(lab)?;
    if first == serving {
        moves(lab, then, first)?;
        lab.daemon(then.name)?.tell(&["join", &B.to_string()])?;
        both_are_members(lab)?;
    }
    Ok(())
}

/// Two gateways with a secret and a bus in common.
fn form(lab: &mut Lab, evidence: &mut Evidence<'_>) -> Result<Second> {
    let directory = lab.network.site().directory().to_owned();
    let mut server = lab.network.router.command("nats-server");
    server.args(["--addr", "::", "--port", &PORT.to_string()]);
    let server = Process::start("nats-server", server, &directory.join("nats.log"))?;
    server.wait_line(SOON, "the bus is there", 0, |line| {
        line.contains("Server is ready").then_some(())
    })?;
    lab.keep(server);
    let secret = directory.join("fleet.secret");
    let mut command = Command::new(lab.program());
    let output = command.args(["fleet", "secret"]).arg(&secret).output()?;
    ensure!(output.status.success(), "no secret: {output:?}");
    let second = Second::up(&lab.network)?;
    let example = crate::workspace().join("examples/gateway.toml");
    for name in ["gateway", second::NAME] {
        let text = format!(
            "{}\n[correspondent.fleet]\nsecret = \"{}\"\nservers = [\"nats://[{BUS}]:{PORT}\"]\nname = \"{name}\"\n",
            fs::read_to_string(&example)?,
            secret.display()
        );
        fs::write(lab.own_config(name), text)?;
    }
    lab.start_on(&second.namespace, second::NAME)?;
    lab.restart("gateway")?;
    for (node, peer) in [("gateway", second::NAME), (second::NAME, "gateway")] {
        wait::poll(SOON, ASK_AGAIN, "gateways hear each other", || {
            let fleet = lab.daemon(node)?.ask("fleet")?;
            let peers = fleet["peers"].as_array();
            let mut peers = peers.into_iter().flatten();
            let there = peers.any(|it| it["name"] == peer && it["there"] == true);
            Ok(there.then_some(()))
        })
        .otherwise(node, || {
            format!("{:?}", lab.daemon(node).map(|it| it.ask("fleet")))
        })?;
    }
    evidence.fact(
        "gateway2 beside gateway, a bus on router, and a secret in common: they hear each other",
    );
    Ok(second)
}

fn both_are_members(lab: &Lab) -> Result<()> {
    wait::poll(LEAVE, ASK_AGAIN, "both are members", || {
        let members = join::members(lab)?;
        let both = [S1, S2].iter().all(|server| join::has(&members, *server));
        Ok(both.then_some(()))
    })
}

/// A member leaves, and the route of B moves to the other.
fn moves(lab: &Lab, from: Server, to: Server) -> Result<()> {
    lab.daemon(from.name)?.tell(&["leave", &B.to_string()])?;
    let what = format!("the kernel's route to B leads to {} alone", to.name);
    lab.routes
        .wait(LEAVE, &what, (B, 128), |routes| match routes {
            [route] if join::is_via(route, to) => Some(()),
            _ => None,
        })
        .otherwise("router", || format!("{:?}", lab.routes.to(B, 128)))
}

fn exchange(visitor: &mut Visitor) -> Result<()> {
    visitor.transfer(SHARE, SHARE, TRANSFER).map(drop)
}
