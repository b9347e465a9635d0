//! A member and its router, from the first Report to the last route.

use std::time::Duration;

use anycast_ctl::shell::api::{Request, client, view};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xtask::net::{netlink, wait};

use super::site::*;

pub fn member_joins() -> Result<()> {
    let site = Site::new("joins")?;
    site.connect()?;
    let router = site.router()?;
    let member = site.member()?;
    wait_for("the route is there", || site.routed())?;
    let members = client::members(&router.socket, None, None, client::ALL)?;
    let [known] = &members[..] else {
        bail!("one member, not {members:?}");
    };
    ensure!(known.member == S1 && known.mac == "02:00:00:00:20:11" && known.rule == Some(0));
    let groups = client::groups(&router.socket, client::ALL)?;
    ensure!(
        groups.router[0].next_hops == ["fe80::11%lan0"],
        "{groups:?}"
    );
    let groups = client::groups(&member.socket, client::ALL)?;
    ensure!(
        groups.member[0].joined && groups.member[0].care_of == Some(C1),
        "{groups:?}"
    );

    let _: view::Done = client::ask(&member.socket, &Request::Leave { anycast: B })?;
    wait_for("the route goes", || Ok(!site.routed()?))?;
    let _: view::Done = client::ask(&member.socket, &Request::Join { anycast: B })?;
    wait_for("the route comes back", || site.routed())?;

    // A member that ends in order is gone at once.
    ensure!(member.end(Signal::SIGTERM)? == Some(0));
    wait_for("the route goes with the member", || Ok(!site.routed()?))?;
    let status = router.status()?;
    ensure!(
        status.interfaces[0].program.as_deref() == Some("anycast_r"),
        "{status:?}"
    );
    ensure!(status.summary.members == 0, "{status:?}");
    Ok(())
}

pub fn crash() -> Result<()> {
    let site = Site::new("crash")?;
    site.connect()?;
    let router = site.router()?;
    let _member = site.member()?;
    wait_for("the route is there", || site.routed())?;
    let socket = router.socket.clone();
    ensure!(router.end(Signal::SIGKILL)?.is_none());
    ensure!(
        site.routed()? && socket.exists(),
        "a crash cleans nothing up"
    );

    let router = site.router().context("after the crash")?;
    ensure!(site.routed()?, "the route is adopted");
    wait_for("the member is known again", || {
        Ok(router.status()?.summary.members == 1)
    })?;
    ensure!(router.end(Signal::SIGINT)? == Some(0));
    ensure!(!site.routed()? && !socket.exists(), "nothing is left");
    Ok(())
}

pub fn second_daemon() -> Result<()> {
    let site = Site::new("second")?;
    site.connect()?;
    let router = site.router()?;
    let config = format!("{}/../examples/router.toml", env!("CARGO_MANIFEST_DIR"));
    let output = run(&site.router, &router.socket, &config).output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{stderr}");
    ensure!(stderr.contains("another daemon listens on"), "{stderr}");
    let elsewhere = site.directory.join("other.sock");
    let output = run(&site.router, &elsewhere, &config).output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{stderr}");
    let sentence = "another anycast daemon runs in this network namespace";
    ensure!(
        stderr.contains(sentence) && stderr.lines().count() == 1,
        "{stderr}"
    );
    ensure!(!elsewhere.exists(), "its socket is left");
    // Another network namespace has its own.
    let member = site.member()?;
    member.status().context("the other one answers")?;
    router.status().context("the first one still answers")?;
    Ok(())
}

/// A signal that comes while the programs load waits until they are, and then does what it is to do.
pub fn early_signals() -> Result<()> {
    let site = Site::new("early")?;
    site.connect()?;
    let config = format!("{}/../examples/router.toml", env!("CARGO_MANIFEST_DIR"));
    let socket = site.directory.join("r.sock");
    let begun = |signal| -> Result<Daemon> {
        let child = run(&site.router, &socket, &config).spawn()?;
        let (socket, id) = (socket.clone(), Pid::from_raw(child.id().try_into()?));
        let daemon = Daemon { child, socket };
        // It listens before it loads anything, and answers afterwards.
        wait::poll(PATIENCE, Duration::from_millis(5), "it listens", || {
            Ok(daemon.socket.exists().then_some(()))
        })?;
        kill(id, signal)?;
        Ok(daemon)
    };
    let mut daemon = begun(Signal::SIGHUP)?;
    wait_for("it answers", || {
        if let Some(status) = daemon.child.try_wait()? {
            bail!("the daemon ended: {status}");
        }
        Ok(daemon.status().is_ok())
    })?;
    ensure!(daemon.end(Signal::SIGTERM)? == Some(0));
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = begun(signal)?;
        let status = daemon.child.wait()?;
        ensure!(status.code() == Some(0), "{signal}: {status}");
        ensure!(!socket.exists(), "{signal}: its socket is left");
    }
    Ok(())
}

pub fn late_interface() -> Result<()> {
    let site = Site::new("late")?;
    let router = site.router()?;
    ensure!(router.status()?.interfaces[0].ifindex.is_none());
    site.connect()?;
    wait_for("the program is attached", || {
        let status = router.status()?;
        let interface = &status.interfaces[0];
        Ok(interface.program.is_some() && interface.link_local == Some(ROUTER))
    })?;
    let member = site.member()?;
    wait_for("the route is there", || site.routed())?;
    let joined = || Ok(client::groups(&member.socket, client::ALL)?.member[0].joined);
    ensure!(joined()?, "not joined");
    netlink::delete(&site.router, "lan0")?;
    wait_for("a member without an interface is in no group", || {
        Ok(!joined()?)
    })?;
    wait_for("the interface is missed", || {
        let status = router.status()?;
        Ok(status.interfaces[0].ifindex.is_none() && status.summary.members == 0)
    })?;
    site.connect()?;
    wait_for("it is attached again", || {
        Ok(router.status()?.interfaces[0].program.is_some())
    })?;
    wait_for("it is in the group again", joined)
}
