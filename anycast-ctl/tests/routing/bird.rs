//! The routes as a routing daemon passes them on: BIRD 2 with the files of `contrib/bird`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{
        Namespace, Process,
        netlink::{self, End},
        prepare,
        routes::Monitor,
        sysctl, wait,
    },
};

use super::bed::{AGAIN, B, Bed, DAEMON, SOON, find, in_bed, link_local, routed, router, tool};

/// For OSPF to find its neighbours, or to miss them.
const OSPF: Duration = Duration::from_secs(30);
/// RTPROT_BIRD
const BIRD: u8 = 12;

pub fn add(suite: Suite) -> Suite {
    let name = "BIRD passes the routes on, and the second router sees the failover";
    let compat = "BIRD reads what nexthop_compat_mode leaves it, and the daemon says what that is";
    if find("bird").is_some() && find("birdc").is_some() {
        suite.test(name, failover).test(compat, compat_mode)
    } else {
        let missing = "bird is not installed (apt-get install bird2)";
        suite.ignored(name, missing).ignored(compat, missing)
    }
}

/// BIRD in a namespace, with a file of the repository.
fn start(bed: &Bed, name: &str, namespace: &Namespace, id: u8, file: &str) -> Result<Process> {
    let directory = bed.site.directory();
    let include = xtask::workspace().join("contrib/bird").join(file);
    let config = directory.join(format!("{name}-bird.conf"));
    let text = format!(
        "log stderr all;\nrouter id 192.0.2.{id};\ninclude \"{}\";\n",
        include.display()
    );
    fs::write(&config, text)?;
    let mut command = namespace.command("bird");
    command.arg("-f").arg("-c").arg(&config);
    command
        .arg("-s")
        .arg(directory.join(format!("{name}-bird.ctl")));
    Process::start(
        &format!("{name}'s BIRD"),
        command,
        &directory.join(format!("{name}-bird.log")),
    )
}

/// What BIRD says of the route to B, nothing where it has none.
fn said(bed: &Bed, name: &str) -> Result<String> {
    let socket = bed.site.directory().join(format!("{name}-bird.ctl"));
    let line = format!("-s {} show route", socket.display());
    let said = tool(&bed.node(name)?.namespace, "birdc", &line)?;
    Ok(match said.contains(&format!("{B}/128")) {
        true => said,
        false => String::new(),
    })
}

/// Whether our kernel has the route to B, with an object of two next hops or with both in itself.
fn is_routed(bed: &Bed, resilient: bool) -> Result<bool> {
    let route = bed.ip("r1", &format!("-6 route show {B}"))?;
    if !resilient {
        return Ok(route.contains("via fe80::11") && route.contains("via fe80::12"));
    }
    let objects = bed.ip("r1", "nexthop show proto 172")?;
    let single = objects.lines().filter(|line| line.contains("via fe80::1"));
    Ok(route.contains("nhid") && objects.contains("group") && single.count() == 2)
}

/// The default of the kernel is the control.
fn compat_mode() -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11), ("m2", 0x12)])?;
        bed.start_members(&["m1", "m2"])?;
        for (compat, resilient) in [("1", true), ("0", true), ("0", false)] {
            let what = format!("nexthop_compat_mode {compat}, resilient {resilient}");
            let setting = [("ipv4/nexthop_compat_mode", compat)];
            sysctl::set(&bed.node("r1")?.namespace, &setting)?;
            let text = match resilient {
                true => "next_hops = \"all\"",
                false => "next_hops = \"all\"\nresilient = \"never\"",
            };
            bed.start("r1", &router(text))?;
            wait::poll(SOON, AGAIN, &what, || {
                Ok(is_routed(bed, resilient)?.then_some(()))
            })?;
            // It reads the route as it is now.
            let mut bird = start(bed, "r1", &bed.node("r1")?.namespace, 1, "first-hop.conf")?;
            let is_blind = compat == "0" && resilient;
            if is_blind {
                bird.wait_line(SOON, &what, 0, |line| {
                    line.contains("unknown ifindex 4294967295").then_some(())
                })?;
                ensure!(said(bed, "r1")?.is_empty(), "{what}: {}", said(bed, "r1")?);
            } else {
                let both = |said: &str| said.contains("fe80::11") && said.contains("fe80::12");
                wait::poll(SOON, AGAIN, &what, || {
                    Ok(both(&said(bed, "r1").unwrap_or_default()).then_some(()))
                })?;
            }
            bird.end()?;
            // The daemon says so at its start, and `check` before that.
            let warns = |text: &str| text.contains("nexthop_compat_mode = 0");
            let log = bed.daemon("r1")?.tail(usize::MAX).join("\n");
            ensure!(warns(&log) == is_blind, "{what}: {log}");
            let file = bed.site.directory().join("r1.toml");
            let check = bed
                .node("r1")?
                .namespace
                .command(DAEMON)
                .args(["check", "--host"])
                .arg(&file)
                .output()?;
            let text = String::from_utf8(check.stdout)?.replace("\n", " ");
            let words: Vec<_> = text.split_whitespace().collect();
            ensure!(warns(&words.join(" ")) == is_blind, "{what}: {text}");
        }
        Ok(())
    })
}

/// A link from a first hop to the second router.
fn uplink(bed: &Bed, node: &str, second: &Namespace, name: &str, host: u16) -> Result<()> {
    let first = &bed.node(node)?.namespace;
    let end = |namespace, name| End {
        namespace,
        name,
        mac: None,
    };
    netlink::veth(end(first, "up0"), end(second, name))?;
    netlink::connect(end(first, "up0"), end(second, name))?;
    for (namespace, interface, host) in [(first, "up0", host), (second, name, host + 1)] {
        netlink::address(namespace, interface, link_local(host), 64)?;
    }
    Ok(())
}

/// Waits until BIRD's route to B at the second router leaves by this interface; or is gone.
fn leads(routes: &Monitor, second: &Namespace, what: &str, by: Option<&str>) -> Result<()> {
    let wanted = by.map(|name| netlink::index(second, name)).transpose()?;
    let mut last = Vec::new();
    routes
        .wait(OSPF, what, (B, 128), |routes| {
            last = routes.to_vec();
            let ours = routes.iter().find(|route| route.protocol == BIRD);
            let by = ours
                .and_then(|route| route.next_hops.first())
                .map(|(_, by)| *by);
            (by == wanted).then_some(())
        })
        .with_context(|| format!("the second router has {last:?}"))
}

fn failover() -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_router("r2", 2)?;
        bed.add_members(&[("m1", 0x11), ("m2", 0x12)])?;
        let second = bed.site.namespace("second")?;
        prepare(&second)?;
        sysctl::set(&second, &[("ipv6/conf/all/forwarding", "1")])?;
        uplink(bed, "r1", &second, "near0", 0x100)?;
        uplink(bed, "r2", &second, "far0", 0x200)?;
        let mut birds = Vec::new();
        for (node, id) in [("r1", 1), ("r2", 2)] {
            let namespace = &bed.node(node)?.namespace;
            birds.push(start(bed, node, namespace, id, "first-hop.conf")?);
        }
        birds.push(start(bed, "second", &second, 3, "second.conf")?);
        let routes = Monitor::start(&second)?;
        let locals = [bed.monitor("r1")?, bed.monitor("r2")?];

        // Resilient groups, and no probes that would hide what Done does.
        let config = router("next_hops = \"all\"");
        bed.start("r1", &config)?;
        bed.start("r2", &config)?;
        bed.start_members(&["m1", "m2"])?;
        for local in &locals {
            routed(local, SOON, &[0x11, 0x12])?;
        }
        leads(&routes, &second, "B by the nearer first hop", Some("near0"))?;
        bed.tell("m1", "leave")?;
        routed(&locals[0], SOON, &[0x12])?;
        leads(
            &routes,
            &second,
            "a member less changes nothing there",
            Some("near0"),
        )?;

        ensure!(bed.daemon_mut("r1")?.end()?.success(), "r1 ends in order");
        leads(&routes, &second, "B by the other first hop", Some("far0"))?;
        bed.start("r1", &config)?;
        leads(&routes, &second, "B by the nearer one again", Some("near0"))?;
        bed.tell("m2", "leave")?;
        leads(&routes, &second, "no member, no route", None)?;
        for bird in &mut birds {
            ensure!(bird.runs(), "{} has ended: {:?}", bird.name(), bird.tail(5));
        }
        Ok(())
    })
}
