//! Next-hop objects and routes that somebody deletes by hand.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use xtask::net::{sysctl, wait};

use super::bed::{B, Bed, in_bed, router};

/// Within this time the daemon puts right what somebody has deleted. Its next regular comparison may be 30 s away.
const REPAIR: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(10);

/// Whether the kernel has the route to B by both members. It need not tell of a deletion, so it is asked. With
/// `nexthop_compat_mode` 0 it names a route's group alone.
fn routed(bed: &Bed) -> Result<bool> {
    let route = bed.ip("r1", &format!("-6 route show {B}"))?;
    let mut words = route.split_whitespace().skip_while(|word| *word != "nhid");
    let Some(group) = words.nth(1) else {
        return Ok(false);
    };
    let group = bed.ip("r1", &format!("nexthop show id {group}"))?;
    let members = objects(bed, false)?;
    Ok(members.len() == 2 && members.iter().all(|member| group.contains(&**member)))
}

/// Numbers of our next-hop objects: those of single next hops, or those of groups.
fn objects(bed: &Bed, groups: bool) -> Result<Vec<String>> {
    let all = bed.ip("r1", "nexthop show proto 172")?;
    let wanted = all.lines().filter(|line| line.contains("group") == groups);
    let number = wanted.filter_map(|line| line.split_whitespace().nth(1));
    Ok(number.map(str::to_owned).collect())
}

/// Deletes something while the daemon stands still, and waits until the route is what it was once it goes on.
fn heals(bed: &mut Bed, what: &str, delete: &str) -> Result<()> {
    let daemon = bed.daemon_mut("r1")?.process();
    daemon.signal(Signal::SIGSTOP)?;
    bed.ip("r1", delete)?;
    ensure!(!routed(bed)?, "{what}: nothing is missing");
    let began = Instant::now();
    bed.daemon_mut("r1")?.process().signal(Signal::SIGCONT)?;
    wait::poll(REPAIR, AGAIN, what, || Ok(routed(bed)?.then_some(())))?;
    println!("{what}: {:.2} s", began.elapsed().as_secs_f64());
    Ok(())
}

pub fn deleted() -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11), ("m2", 0x12)])?;
        bed.start("r1", &router("next_hops = \"all\""))?;
        bed.start_members(&["m1", "m2"])?;
        wait::poll(super::bed::SOON, AGAIN, "the route to B", || {
            Ok(routed(bed)?.then_some(()))
        })?;
        for compat in ["1", "0"] {
            let key = "ipv4/nexthop_compat_mode";
            sysctl::set(&bed.node("r1")?.namespace, &[(key, compat)])?;
            let with = |what: &str| format!("{what}, nexthop_compat_mode {compat}");
            heals(bed, &with("all objects"), "nexthop flush proto 172")?;
            for groups in [false, true] {
                let [first, ..] = &objects(bed, groups)?[..] else {
                    anyhow::bail!("no object");
                };
                let what = with(if groups { "the group" } else { "a next hop" });
                heals(bed, &what, &format!("nexthop del id {first}"))?;
            }
            // The control: of a route the kernel has always told.
            let delete = format!("-6 route del {B} proto 172");
            heals(bed, &with("the route"), &delete)?;
        }
        Ok(())
    })
}
