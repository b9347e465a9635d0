//! Routers that crash.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::net::Process;

use super::bed::{B, Bed, MEMBER, SOON, in_bed, routed, router};

/// Three intervals of listening, Query Response Interval, and five seconds: what the daemon waits.
const GRACE: Duration = Duration::from_secs(7);
const MARK: &str = "2001:db8:ffff::/64";

/// Everything that happens to the routes of a node, told by another program.
fn follow(bed: &Bed, node: &str) -> Result<Process> {
    let mut command = bed.node(node)?.namespace.command("ip");
    command.args(["-6", "-o", "monitor", "route"]);
    let log = bed.site.directory().join(format!("{node}.routes"));
    let process = Process::start("ip monitor", command, &log)?;
    mark(bed, node, &process)?;
    Ok(process)
}

/// Adds and removes a route, and waits until the other program has told it.
fn mark(bed: &Bed, node: &str, monitor: &Process) -> Result<()> {
    let from = monitor.output().read(|output| output.lines.len());
    monitor
        .output()
        .wait(SOON, "the monitor tells of routes", |output| {
            bed.ip(node, &format!("-6 route replace {MARK} dev lo"))
                .ok()?;
            let mut new = output.lines.iter().skip(from);
            new.any(|line| line.contains(MARK)).then_some(())
        })?;
    bed.ip(node, &format!("-6 route del {MARK}"))?;
    Ok(())
}

fn deletions(monitor: &Process) -> Vec<String> {
    let b = B.to_string();
    monitor.output().read(|output| {
        let lines = output.lines.iter().filter(|line| line.contains(&b));
        lines
            .filter(|line| line.contains("Deleted"))
            .cloned()
            .collect()
    })
}

/// How a daemon ends.
#[derive(Clone, Copy)]
enum End {
    Crash,
    InOrder,
}

fn restart(next_hops: &str, by: &[u16], end: End) -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11), ("m2", 0x12)])?;
        let routes = bed.monitor("r1")?;
        let config = router(next_hops);
        bed.start("r1", &config)?;
        bed.start("m1", MEMBER)?;
        bed.asked("r1", "members", "the first member", |members| {
            members.as_array().is_some_and(|members| members.len() == 1)
        })?;
        bed.start("m2", MEMBER)?;
        bed.asked("r1", "members", "both members", |members| {
            members.as_array().is_some_and(|members| members.len() == 2)
        })?;
        routed(&routes, SOON, by)?;
        let before = (
            bed.ip("r1", "-6 route show proto 172")?,
            bed.ip("r1", "nexthop")?,
        );
        let monitor = follow(bed, "r1")?;
        match end {
            End::Crash => bed.daemon_mut("r1")?.kill()?,
            End::InOrder => {
                let ended = bed.daemon_mut("r1")?.end()?;
                ensure!(ended.success(), "{ended}");
            }
        }
        bed.start("r1", &config)?;
        bed.asked("r1", "members", "both members are back", |members| {
            members.as_array().is_some_and(|members| members.len() == 2)
        })?;
        // The time for others is over when one of them goes.
        bed.ip(
            "r1",
            "-6 route add 2001:db8:a::99/128 dev lo proto 172 metric 7",
        )?;
        let stray = "2001:db8:a::99".parse()?;
        routes.wait(SOON, "a stray", (stray, 128), |routes| {
            (!routes.is_empty()).then_some(())
        })?;
        routes.wait(GRACE + SOON, "a stray is removed", (stray, 128), |routes| {
            routes.is_empty().then_some(())
        })?;
        mark(bed, "r1", &monitor)?;
        let gaps = deletions(&monitor);
        ensure!(gaps.is_empty(), "the route was gone: {gaps:?}");
        let after = (
            bed.ip("r1", "-6 route show proto 172")?,
            bed.ip("r1", "nexthop")?,
        );
        ensure!(before == after, "before {before:?}, after {after:?}");
        Ok(())
    })
}

pub fn no_gap() -> Result<()> {
    let crash = |next_hops, by| restart(next_hops, by, End::Crash);
    crash("next_hops = \"all\"", &[0x11, 0x12])?;
    crash("next_hops = \"all\"\nresilient = \"never\"", &[0x11, 0x12])?;
    crash("next_hops = \"best\"", &[0x11])
}

pub fn kept() -> Result<()> {
    restart("keep_routes = true", &[0x11, 0x12], End::InOrder)?;
    // After a stop for good, somebody says so.
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11)])?;
        let routes = bed.monitor("r1")?;
        bed.start("r1", &router("keep_routes = true\ntable = 1000"))?;
        bed.start_members(&["m1"])?;
        routed(&routes, SOON, &[0x11])?;
        let others = "2001:db8:a::54/128 via fe80::11 dev eth0 proto bird";
        bed.ip("r1", &format!("-6 route add {others}"))?;
        let ended = bed.daemon_mut("r1")?.end()?;
        ensure!(ended.success(), "{ended}");
        let left = || bed.ip("r1", "-6 route show table all proto 172");
        ensure!(!left()?.is_empty(), "the end removed it");
        let detach = |more: &[&str]| -> Result<String> {
            let namespace = &bed.node("r1")?.namespace;
            let mut command = namespace.command(env!("CARGO_BIN_EXE_anycast-ctl"));
            let output = command.arg("detach").args(more).output()?;
            Ok(String::from_utf8(output.stdout)?)
        };
        let said = detach(&["--protocol", "42"])?;
        ensure!(!said.contains("route") && !left()?.is_empty(), "{said}");
        let said = detach(&[])?;
        ensure!(said.ends_with(", 1 route removed\n"), "{said}");
        ensure!(left()?.is_empty(), "{}", left()?);
        ensure!(bed.ip("r1", "nexthop")?.is_empty(), "objects are left");
        let shown = bed.ip("r1", "-6 route show proto bird")?;
        ensure!(!shown.is_empty(), "that of others is gone");
        Ok(())
    })
}

pub fn unclaimed() -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11)])?;
        let routes = bed.monitor("r1")?;
        bed.start("r1", &router("table = 1000"))?;
        bed.start_members(&["m1"])?;
        routed(&routes, SOON, &[0x11])?;
        // Of others: by hand, of another daemon, the same prefix with another metric.
        for route in [
            "2001:db8:b::/64 via fe80::11 dev eth0 proto static",
            "2001:db8:a::54/128 via fe80::11 dev eth0 proto bird",
            "2001:db8:a::53/128 via fe80::11 dev eth0 proto 42 metric 100",
        ] {
            bed.ip("r1", &format!("-6 route add {route}"))?;
        }
        let others = bed.ip("r1", "-6 route show")?;
        bed.daemon_mut("r1")?.kill()?;
        bed.daemon_mut("m1")?.kill()?;
        routed(&routes, SOON, &[0x11])?;
        // The next run has another table.
        bed.start("r1", &router("table = 2000"))?;
        routed(&routes, GRACE + SOON, &[])?;
        ensure!(bed.ip("r1", "nexthop")?.is_empty(), "objects are left");
        let left = bed.ip("r1", "-6 route show")?;
        ensure!(left == others, "before {others}, after {left}");
        Ok(())
    })
}
