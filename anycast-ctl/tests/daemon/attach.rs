//! What daemons attach, and what becomes of it.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use xtask::net::{Pass, netlink};

use super::site::{Daemon, Site, run, wait_for};

/// A bridge has no native XDP, a veth has.
pub fn mode() -> Result<()> {
    let site = Site::new("mode")?;
    site.connect()?;
    netlink::bridge(&site.member, "br0", &[])?;
    let config = site.both()?;
    let daemon = Daemon::start_with(&site.member, &site.directory.join("m.sock"), &config)?;
    let status = daemon.status()?;
    let modes = status.interfaces.iter().map(|interface| {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        (
            interface.name.clone(),
            text(&interface.mode),
            text(&interface.mode_reason),
        )
    });
    let modes: Vec<_> = modes.collect();
    let expected = [
        (
            "br0",
            "tcx",
            "auto: br0 (bridge, MTU 1500",
            "; this driver has none",
        ),
        (
            "eth0",
            "native",
            "auto: the driver has it;",
            "\"tcx\" would keep the offloads of veth",
        ),
    ];
    ensure!(modes.len() == expected.len(), "{modes:?}");
    for ((name, mode, reason), wanted) in modes.iter().zip(expected) {
        ensure!(
            (name.as_str(), mode.as_str()) == (wanted.0, wanted.1),
            "{modes:?}"
        );
        let right = reason.starts_with(wanted.2) && reason.ends_with(wanted.3);
        ensure!(right, "{reason}");
    }
    Ok(())
}

/// Where XDP forwards past the kernel's filters, `check --host` says so before, and `status` while it is so.
pub fn by_passes() -> Result<()> {
    let site = Site::new("by-passes")?;
    site.connect()?;
    let config = site.directory.join("c.toml");
    for (setting, says) in [
        ("mode = \"native\"", true),
        ("mode = \"auto\"", true),
        ("mode = \"tcx\"", false),
        ("mode = \"native\"\nforward = \"kernel\"", false),
    ] {
        let text = format!(
            "[correspondent]\ninterfaces = [\"lan0\"]\nclient_prefixes = [\"2001:db8:1::/64\"]\n{setting}\n"
        );
        std::fs::write(&config, text)?;
        let mut check = site.router.command(env!("CARGO_BIN_EXE_anycast-ctl"));
        let output = check.args(["check", "--host"]).arg(&config).output()?;
        let words = String::from_utf8(output.stdout)?;
        let told = |text: &str| text.contains("past netfilter");
        ensure!(told(&words) == says, "{setting}: {words}");
        let daemon = Daemon::start_with(&site.router, &site.directory.join("c.sock"), &config)?;
        let warnings = daemon.status()?.interfaces[0].warnings.join("\n");
        ensure!(told(&warnings) == says, "{setting}: {warnings}");
        daemon.end(Signal::SIGTERM)?;
    }
    Ok(())
}

/// A TAP's driver takes any MTU, and gives XDP no frame of several buffers; a veth's does.
pub fn outgrown() -> Result<()> {
    let site = Site::new("outgrown")?;
    site.connect()?;
    let mut add = site.router.command("ip");
    let status = add
        .args(["tuntap", "add", "tap0", "mode", "tap"])
        .status()?;
    ensure!(status.success(), "ip tuntap: {status}");
    let config = site.directory.join("c.toml");
    let text = "[correspondent]\ninterfaces = [\"lan0\", \"tap0\"]\nclient_prefixes = [\"2001:db8:1::/64\"]\n";
    for mode in ["auto", "native"] {
        std::fs::write(&config, format!("{text}mode = \"{mode}\"\n"))?;
        netlink::mtu(&site.router, "tap0", 1500)?;
        let daemon = Daemon::start_with(&site.router, &site.directory.join("c.sock"), &config)?;
        let modes = || -> Result<Vec<String>> {
            let interfaces = daemon.status()?.interfaces.into_iter();
            Ok(interfaces.filter_map(|interface| interface.mode).collect())
        };
        ensure!(modes()? == ["native", "native"], "{:?}", modes()?);
        for interface in ["lan0", "tap0"] {
            netlink::mtu(&site.router, interface, 9000)?;
        }
        wait_for("the TAP has TCX", || Ok(modes()?[1] == "tcx"))?;
        ensure!(modes()? == ["native", "tcx"], "{:?}", modes()?);
        let said = daemon.status()?.interfaces[1].mode_reason.clone();
        let said = said.unwrap_or_default();
        ensure!(
            said.contains("the MTU is 9000 now, 1500 when the driver (tun) took XDP"),
            "{said}"
        );
        daemon.end(Signal::SIGTERM)?;
    }
    Ok(())
}

pub fn foreign_program() -> Result<()> {
    let site = Site::new("foreign")?;
    netlink::bridge(&site.member, "br0", &[])?;
    site.connect()?;
    let config = site.both()?;
    let refused = |socket: &str, why: &[&str]| -> Result<()> {
        let mut command = run(
            &site.member,
            &site.directory.join(socket),
            &config.to_string_lossy(),
        );
        let output = command.env("ANYCAST_LOG", "warn").output()?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{stderr}");
        ensure!(why.iter().all(|why| stderr.contains(why)), "{stderr}");
        Ok(())
    };
    let somebody = [
        "already has an XDP program of somebody else",
        "bpftool net",
        "take the interface out of the configuration",
    ];
    let foreign = Pass::attach(&site.member, "eth0")?;
    refused("m.sock", &somebody)?;
    let pinned = site.member.pinned()?;
    let half = |name: &String| name.ends_with("-egress") || name.ends_with("-tcx");
    ensure!(!pinned.iter().any(half), "half of it is left: {pinned:?}");
    drop(foreign);
    wait_for("a daemon gets it when it is free", || {
        Ok(site.member().is_ok())
    })?;

    // Another daemon of ours is refused before it looks at anything.
    let first = site.member()?;
    let before = site.member.pinned()?;
    refused(
        "second.sock",
        &["another anycast daemon runs in this network namespace"],
    )?;
    ensure!(site.member.pinned()? == before, "it was disturbed");
    first.status()?;
    Ok(())
}

pub fn pins() -> Result<()> {
    let site = Site::new("pins")?;
    site.connect()?;
    let links = |names: Vec<String>| {
        let hook = |name: &String| name.ends_with("-native") || name.ends_with("-egress");
        names.into_iter().filter(hook).collect::<Vec<_>>()
    };
    let member = site.member()?;
    let first = site.member.pinned()?;
    ensure!(links(first.clone()).len() == 2, "{first:?}");
    ensure!(
        first.iter().any(|name| name.starts_with("MEMBER_FLOWS-")),
        "{first:?}"
    );
    member.end(Signal::SIGKILL)?;

    // A daemon elsewhere has nothing to do with it.
    let router = site.router()?;
    ensure!(
        site.member.pinned()? == first,
        "the router's daemon took it"
    );
    router.end(Signal::SIGTERM)?;
    ensure!(site.router.pinned()?.is_empty(), "a router has no sessions");

    // The interface is gone, and another one is there.
    netlink::delete(&site.member, "eth0")?;
    site.connect()?;
    let member = site.member()?;
    let second = links(site.member.pinned()?);
    ensure!(
        second.len() == 2 && links(first).iter().all(|name| !second.contains(name)),
        "{second:?}"
    );
    member.end(Signal::SIGKILL)?;

    // Maps of another layout are of no use to the next one.
    let directory = site.member.pins()?;
    let names = site.member.pinned()?;
    let map = names.iter().find(|name| name.starts_with("MEMBER_FLOWS-"));
    let map = map.context("no map is pinned")?;
    std::fs::rename(directory.join(map), directory.join("MEMBER_FLOWS-00000000"))?;
    let member = site.member()?;
    ensure!(site.member.pinned()? == names, "{:?}", site.member.pinned());
    member.end(Signal::SIGKILL)?;

    // Whatever belongs to no interface any more goes with the next start, wherever that is.
    netlink::delete(&site.member, "eth0")?;
    ensure!(!site.member.pinned()?.is_empty());
    let _router = site.router()?;
    ensure!(
        site.member.pinned()?.is_empty(),
        "{:?}",
        site.member.pinned()
    );
    Ok(())
}
