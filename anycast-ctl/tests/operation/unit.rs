//! The life of a member under systemd, by the unit that is shipped, beside a session that is bound to it.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        report::Report,
        scenario::{
            self, ASK_AGAIN, Carried, MIB, SOON, Session, carried, carried_since, transfer,
        },
        stage::Lab,
        topology::S1,
    },
    net::wait,
};

use super::machine::Machine;

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
pub const LINKS: [&str; 2] = ["gateway-router", "client-gateway"];
const CONFIG: &str = "etc/anycast/anycast.toml";
/// What a session exchanges each way while its daemon is stopped and started.
const AMOUNT: u64 = 512 * MIB;
const LONG: Duration = Duration::from_secs(60);
/// What `systemd-analyze security` says at most, in tenths.
const EXPOSURE: &str = "--threshold=26";

pub fn life() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    lab.start(&["router", "gateway"])?;
    let workspace = xtask::workspace();
    let directory = lab.network.site().directory();
    // Short, so that the test does not wait for the half minute of the unit.
    let soon = directory.join("watchdog.conf");
    let bite = wait::patience(Duration::from_secs(2)).as_secs();
    fs::write(&soon, format!("[Service]\nWatchdogSec={bite}s\n"))?;
    let machine = Machine::boot(
        lab.network.server(S1),
        directory,
        &[
            (Path::new(DAEMON), "usr/sbin/anycast-ctl"),
            (
                &workspace.join("contrib/anycast.service"),
                "usr/lib/systemd/system/anycast.service",
            ),
            (&soon, "etc/systemd/system/anycast.service.d/watchdog.conf"),
            (&workspace.join("examples/member-s1.toml"), CONFIG),
        ],
    )?;
    machine.tell(&["systemctl", "start", "anycast"])?;
    wait::poll(LONG, ASK_AGAIN, "the router knows the member", || {
        let members = lab.daemon("router")?.list("members")?;
        Ok((members.len() == 1).then_some(()))
    })?;
    let mut report = Report::begin(true);
    let mut session = report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;

    stopped_and_started(&lab, &machine, &mut session)?;
    restarted(&lab, &machine, &mut session)?;
    reloaded(&machine)?;
    hung(&machine)?;
    unharmed(transfer(&lab, &mut session, MIB, SOON, LINKS)?.1)?;
    machine.tell(&["systemd-analyze", "security", EXPOSURE, "anycast"])?;

    session.visitor.tell("finish")?;
    session.visitor.event("finished", SOON)?;
    Ok(())
}

/// The session goes on while no daemon runs, and when the next one takes over.
fn stopped_and_started(lab: &Lab, machine: &Machine, session: &mut Session) -> Result<()> {
    machine.tell(&["systemctl", "stop", "anycast"])?;
    ensure!(machine.property("ActiveState")? == "inactive");
    ensure!(
        machine.property("Result")? == "success",
        "{}",
        machine.journal()
    );
    unharmed(transfer(lab, session, MIB, SOON, LINKS)?.1)?;
    machine.tell(&["systemctl", "start", "anycast"])?;
    unharmed(transfer(lab, session, MIB, SOON, LINKS)?.1)
}

/// In full flow.
fn restarted(lab: &Lab, machine: &Machine, session: &mut Session) -> Result<()> {
    let before = carried(lab, session, LINKS)?;
    session
        .visitor
        .tell(&format!("transfer {AMOUNT} {AMOUNT}"))?;
    machine.tell(&["systemctl", "restart", "anycast"])?;
    let now = carried(lab, session, LINKS)?;
    ensure!(
        now[0].by_care_of[1].octets < before[0].by_care_of[1].octets + AMOUNT,
        "the transfer was over too soon"
    );
    session.visitor.event("transferred", LONG)?;
    unharmed(carried_since(lab, session, AMOUNT, LINKS, before)?)
}

/// A reload of a wrong file fails, the journal has the reason as an error, and the daemon runs on.
fn reloaded(machine: &Machine) -> Result<()> {
    let daemon = machine.property("MainPID")?;
    machine.tell(&["systemctl", "reload", "anycast"])?;
    let path = format!("/{CONFIG}");
    machine.tell(&["cp", &path, "/tmp/right.toml"])?;
    machine.tell(&["sh", "-c", &format!("echo wrong >>{path}")])?;
    let refused = machine.run(&["systemctl", "reload", "anycast"])?;
    ensure!(!refused.status.success(), "a wrong file was taken");
    machine.tell(&["journalctl", "--sync"])?;
    let errors = ["journalctl", "-u", "anycast", "-p", "err", "-o", "cat"];
    let errors = machine.tell(&errors)?;
    ensure!(errors.contains("not reloaded: /etc/anycast"), "{errors}");
    ensure!(machine.property("MainPID")? == daemon);
    machine.tell(&["anycast-ctl", "status"])?;
    machine.tell(&["cp", "/tmp/right.toml", &path])?;
    machine.tell(&["systemctl", "reload", "anycast"])?;
    Ok(())
}

/// A daemon that hangs is replaced; one that works is not.
fn hung(machine: &Machine) -> Result<()> {
    let (daemon, restarts) = (machine.property("MainPID")?, machine.property("NRestarts")?);
    ensure!(
        restarts == "0",
        "the watchdog has bitten a daemon that works"
    );
    machine.tell(&[
        "systemctl",
        "kill",
        "--signal=STOP",
        "--kill-who=main",
        "anycast",
    ])?;
    wait::poll(LONG, ASK_AGAIN, "another daemon is ready", || {
        let another = machine.property("MainPID")? != daemon;
        let ready = machine.property("ActiveState")? == "active";
        Ok((another && ready).then_some(()))
    })?;
    ensure!(machine.property("NRestarts")? == "1");
    Ok(())
}

/// Each packet behind the gateway carries C, and no connection was reset.
pub fn unharmed([core, edge]: [Carried; 2]) -> Result<()> {
    core.must_be_by_care_of(LINKS[0])?;
    let hidden = edge.by_care_of.iter().all(|tally| tally.packets == 0);
    ensure!(hidden, "the client has seen C: {edge:?}");
    ensure!(core.resets() + edge.resets() == 0, "resets: {core:?}");
    Ok(())
}
