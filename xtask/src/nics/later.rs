//! In the guest: what comes to cards while daemons run and a session is bound.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::{
    bed::{AGAIN, Bed, Names, SOON, attached, ip},
    case::{Case, Later},
};
use crate::{
    lab::{node::Daemon, visitor::Visitor},
    net::{ethtool, netlink, wait},
};

/// What has come, and how the router was before.
pub(super) struct Came {
    /// In words, once it is known what became of the router.
    pub told: String,
    /// The mode of the router's programs.
    mode: String,
    /// Seconds for which it had its member.
    since: f64,
    start: Instant,
}

/// Something comes to cards. It may make XDP wrong, so that programs go from XDP to TCX, and the link may be reset for
/// it or for that.
pub(super) fn come(case: &Case, bed: &Bed, names: &Names) -> Result<Option<Came>> {
    let Some(later) = case.later else {
        return Ok(None);
    };
    let Names([_, _, lan, _]) = names;
    let router = bed.daemon("router")?;
    let (mode, _) = attached(router, lan)?;
    let mut came = Came {
        told: String::new(),
        mode,
        since: since(router)?,
        start: Instant::now(),
    };
    match later {
        Later::Vlan => {
            let line = format!("link add link {lan} name lan7 type vlan id 7");
            ip(&bed.router, &line)?;
            ip(&bed.router, "link set lan7 up")?;
            let gateway = bed.daemon("gateway")?;
            let (before, _) = attached(gateway, "clients0")?;
            ip(
                &bed.gateway,
                "link add link clients0 name clients7 type vlan proto 802.1ad id 7",
            )?;
            let now = by_tcx(gateway, "clients0")?;
            came.told =
                format!("; the gateway's veth with a VLAN of 802.1ad went from {before} to {now}");
        }
        Later::TagsOff => {
            ensure!(came.mode != "tcx", "the router has TCX from the beginning");
            ethtool::take_tags_off(&bed.router, lan, true)?;
            by_tcx(router, lan)?;
        }
        Later::Mtu(_) => {
            let refused = mtu(case, bed)?;
            came.told = refused.map_or_else(String::new, |words| format!("; {words}"));
        }
    }
    Ok(Some(came))
}

/// The links get another MTU, where the case wants that. Gives the words of a driver that refuses it; the links are as
/// before then.
pub(super) fn mtu(case: &Case, bed: &Bed) -> Result<Option<String>> {
    let Some(Later::Mtu(mtu)) = case.later else {
        return Ok(None);
    };
    let ends = [
        (&bed.gateway, "up0"),
        (&bed.router, "gw0"),
        (&bed.router, "lan0"),
        (&bed.member, "eth0"),
        (&bed.gateway, "clients0"),
        (&bed.client, "eth0"),
    ];
    for (index, (namespace, name)) in ends.into_iter().enumerate() {
        if let Err(error) = netlink::mtu(namespace, name, mtu) {
            for (namespace, name) in &ends[..index] {
                netlink::mtu(namespace, name, case.mtu)?;
            }
            return Ok(Some(format!("{error:#}, and it stays {}", case.mtu)));
        }
    }
    Ok(None)
}

/// The router has the member that it had before, and says how its programs are attached now.
pub(super) fn kept(came: &mut Came, bed: &Bed, lan: &str) -> Result<()> {
    let router = bed.daemon("router")?;
    let (after, passed) = (since(router)?, came.start.elapsed().as_secs_f64());
    let before = came.since;
    // What is asked for and what is measured are not of the same moment.
    ensure!(
        after > before + passed / 2.0,
        "the member was lost: there for {before} s, and {passed} s later for {after} s"
    );
    let (now, _) = attached(router, lan)?;
    came.told = format!(
        "; the router's {} became {now} and it kept its member{}",
        came.mode, came.told
    );
    Ok(())
}

/// A session that begins after what has come.
pub(super) fn another(bed: &Bed) -> Result<Visitor> {
    Visitor::connect("another", &bed.client, bed.site.directory()).context("a new session")
}

/// For how many seconds the router has had its only member.
fn since(router: &Daemon) -> Result<f64> {
    let members = router.list("members")?;
    ensure!(members.len() == 1, "{members:?}");
    members[0]["since_seconds"].as_f64().context("no time")
}

/// Waits until the programs of an interface are attached by TCX.
fn by_tcx(daemon: &Daemon, name: &str) -> Result<String> {
    wait::poll(SOON, AGAIN, "the programs are attached by TCX", || {
        let (mode, _) = attached(daemon, name)?;
        Ok((mode == "tcx").then_some(mode))
    })
}
