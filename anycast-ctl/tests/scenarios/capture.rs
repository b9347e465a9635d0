//! `capture`: what the programs of a gateway, a member and a router saw and did, beside a session. tshark reads it
//! where it is there, and else another parser.

mod busy;
mod frames;
mod running;
#[path = "../verdicts/tracing.rs"]
mod tracing;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aya::programs::loaded_programs;
use xtask::{
    kernel_tests::Suite,
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN, MIB, SOON},
        stage::Lab,
        topology::{B, CLIENT, ROGUE},
    },
    net::wait,
};

use frames::{Frame, pairs};
use running::{Running, count};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");

pub fn tests() -> Suite {
    let suite = Suite::new().test("a capture of nothing says what is wrong", refused);
    let sees = "a capture has what the programs saw and did";
    let ends = "a capture that is busy ends when it is told, and its file is whole";
    match tracing::obstacle() {
        Some(reason) => suite.ignored(sees, reason).ignored(ends, reason),
        None => suite.test(sees, seen).test(ends, busy::ends),
    }
}

/// A program that went the way from `source` to `destination` into that from and to the other.
fn changed(
    pairs: &[(Frame, Frame)],
    from: [&str; 2],
    to: [&str; 2],
    comment: &[&str],
) -> Result<Frame> {
    let found = pairs.iter().find(|(before, after)| {
        before.goes(from[0], from[1])
            && after.goes(to[0], to[1])
            && comment.iter().all(|word| after.comment.contains(word))
    });
    let found = found.with_context(|| format!("{from:?} to {to:?}, {comment:?}: {pairs:#?}"))?;
    Ok(found.1.clone())
}

/// Programs of captures that the kernel has.
fn ours() -> usize {
    loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.name().starts_with(b"capture_"))
        .count()
}

fn seen() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    lab.start(&["router", "gateway", "s1", "s2"])?;
    wait::poll(SOON, ASK_AGAIN, "both are members", || {
        let members = lab.daemon("router")?.list("members")?;
        Ok((members.len() == 2).then_some(()))
    })?;
    let (a, b) = (CLIENT.to_string(), B.to_string());
    let rogue = ROGUE.link_local().to_string();
    let network = &lab.network;
    let gateway = Running::start(
        &lab,
        "at-gateway",
        &network.gateway,
        &["--client", &a, "--rate", "0"],
    )?;
    let slow = Running::start(
        &lab,
        "slow",
        &network.gateway,
        &["--client", &a, "--rate", "10", "--length", "64"],
    )?;
    // Nobody has this address.
    let nobody = Running::start(
        &lab,
        "nobody",
        &network.gateway,
        &["--client", "2001:db8:77::1", "--rate", "0"],
    )?;
    let dropped = Running::start(
        &lab,
        "dropped",
        &network.router,
        &["--client", &rogue, "--anycast", &b, "--verdict", "drop"],
    )?;
    let members = [xtask::lab::topology::S1, xtask::lab::topology::S2];
    let members = members.map(|member| {
        let filter = ["--client", &a, "--rate", "0"];
        let name = format!("at-{}", member.name);
        Running::start(&lab, &name, lab.network.server(member), &filter)
    });
    let mut report = Report::begin(true);
    let mut session = report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;
    // What the applications say is enough: the lab's own captures are late where the machine is slow.
    session.visitor.transfer(MIB, MIB, SOON)?;
    report.step("refuse", "", |evidence| {
        scenario::refuse(&mut lab, evidence)
    })?;
    let c = session.care_of.to_string();
    let (a, b, c) = (a.as_str(), b.as_str(), c.as_str());

    let (totals, frames) = gateway.end()?;
    let pairs_there = pairs(&frames)?;
    ensure!(
        count(&totals, "changed")? == pairs_there.len() as u64,
        "{totals}"
    );
    ensure!(count(&totals, "limited")? == 0, "{totals}");
    let there = changed(
        &pairs_there,
        [a, b],
        [a, c],
        &["anycast_c: redirect (", "to_care_of", "forwarded"],
    )?;
    ensure!(there.interface == "clients0", "{there:?}");
    let back = changed(
        &pairs_there,
        [c, a],
        [b, a],
        &["anycast_c: redirect (", "from_care_of"],
    )?;
    ensure!(back.interface == "up0", "{back:?}");
    // And the Test Inits that the programs answered or gave to the controller.
    let answered = frames.iter().any(|frame| {
        let why = [
            "home_test_answered",
            "care_of_test_answered",
            "mobility_punted",
        ];
        why.iter().any(|why| frame.comment.contains(why))
    });
    ensure!(answered, "no message of the protocol: {frames:#?}");

    let (totals, frames) = slow.end()?;
    ensure!(count(&totals, "limited")? > 0, "{totals}");
    ensure!(
        count(&totals, "packets")? < count(&totals, "limited")? && !frames.is_empty(),
        "{totals}"
    );
    let (totals, frames) = nobody.end()?;
    ensure!(
        frames.is_empty() && count(&totals, "packets")? == 0,
        "{totals}"
    );

    let (_, frames) = dropped.end()?;
    let refused =
        |frame: &Frame| frame.source == rogue && frame.comment.contains("drop (mld_report_denied)");
    ensure!(
        !frames.is_empty() && frames.iter().all(refused),
        "{frames:#?}"
    );

    for (member, running) in ["s1", "s2"].into_iter().zip(members) {
        let (_, frames) = running?.end()?;
        if member == session.server.name {
            let pairs = pairs(&frames)?;
            changed(&pairs, [a, c], [a, b], &["anycast_m: pass"])?;
            changed(&pairs, [b, a], [c, a], &["anycast_m_out: pass"])?;
        }
    }

    // What is not captured has nothing that looks at it.
    wait::poll(SOON, ASK_AGAIN, "no program of a capture is left", || {
        Ok((ours() == 0).then_some(()))
    })?;
    Ok(())
}

/// Where nothing is attached, and what is wrong, is said at once.
fn refused() -> Result<()> {
    let lab = Lab::up(Path::new(DAEMON), None)?;
    let file = lab.network.site().directory().join("none.pcapng");
    let say = |arguments: &[&str]| -> Result<String> {
        let mut command = lab.network.client.command(DAEMON);
        let output = command.arg("capture").arg(&file).args(arguments).output()?;
        ensure!(!output.status.success(), "{arguments:?} is taken");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = say(&[])?;
    ensure!(said.contains("no program of anycast is attached"), "{said}");
    let said = say(&["--interface", "nothing0"])?;
    ensure!(said.contains("there is no interface nothing0"), "{said}");
    let said = say(&["--length", "5000"])?;
    ensure!(said.contains("5000"), "{said}");
    ensure!(!file.exists(), "a file of nothing");
    Ok(())
}
