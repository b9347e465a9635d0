//! The routes as a routing daemon passes them on: BIRD 2 with the files of `contrib/bird`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{
        Namespace, Process,
        netlink::{self, End},
        plain,
        routes::Monitor,
        sysctl,
    },
};

use super::bed::{B, Bed, SOON, find, in_bed, link_local, routed, router};

/// For OSPF to find its neighbours, or to miss them.
const OSPF: Duration = Duration::from_secs(30);
/// RTPROT_BIRD
const BIRD: u8 = 12;

pub fn add(suite: Suite) -> Suite {
    let name = "BIRD passes the routes on, and the second router sees the failover";
    if find("bird").is_some() {
        suite.test(name, failover)
    } else {
        suite.ignored(name, "bird is not installed (apt-get install bird2)")
    }
}

/// BIRD in a namespace, with a file of the repository.
fn start(bed: &Bed, name: &str, namespace: &Namespace, id: u8, file: &str) -> Result<Process> {
    let directory = bed.site.directory();
    let include = xtask::workspace().join("contrib/bird").join(file);
    let config = directory.join(format!("{name}-bird.conf"));
    let text = format!(
        "router id 192.0.2.{id};\ninclude \"{}\";\n",
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
        plain(&second)?;
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
