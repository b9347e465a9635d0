//! Programs of somebody else on the gateway's interfaces that let no other see a packet, as firewalls and meters do.

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    lab::{
        scenario::{ASK_AGAIN, SOON},
        stage::Lab,
    },
    net::{Direction, TcxCounter, Which, netlink, wait},
};

use crate::{
    site::{self, TCX, bound, count, finish},
    stage::in_lab,
};

const FEW: u64 = 512;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "a program that was there before us, and decides about all packets, is no obstacle",
            behind_us,
        )
        .test(
            "a program that goes before ours is told, in the status and in the log",
            before_us,
        )
}

fn all(lab: &Lab, first: bool) -> Result<Vec<TcxCounter>> {
    let gateway = &lab.network.gateway;
    let mut programs = Vec::new();
    for interface in ["clients0", "up0"] {
        for direction in [Direction::Ingress, Direction::Egress] {
            programs.push(if first {
                TcxCounter::attach_first(gateway, interface, direction, Which::Decided)?
            } else {
                TcxCounter::attach(gateway, interface, direction, Which::Decided)?
            });
        }
    }
    Ok(programs)
}

/// What `status` says about the gateway's interfaces.
fn warnings(lab: &Lab) -> Result<Vec<String>> {
    let status = lab.daemon("gateway")?.ask("status")?;
    let interfaces = status["interfaces"].as_array().context("no interfaces")?;
    let warnings = interfaces
        .iter()
        .filter_map(|interface| interface["warnings"].as_array())
        .flatten();
    Ok(warnings
        .filter_map(|warning| warning.as_str().map(str::to_owned))
        .collect())
}

fn behind_us() -> Result<()> {
    in_lab(None, |lab, _| {
        site::plain(lab)?;
        let others = all(lab, false)?;
        site::gateway(lab, TCX)?;
        ensure!(warnings(lab)?.is_empty(), "{:?}", warnings(lab)?);
        let mut session = lab.visit("client", true)?;
        bound(lab)?;
        session.transfer(FEW, FEW, SOON)?;
        for other in &others {
            ensure!(other.count()? > 0, "another program sees nothing any more");
        }
        finish(session)
    })
}

fn before_us() -> Result<()> {
    in_lab(None, |lab, _| {
        site::plain(lab)?;
        site::gateway(lab, TCX)?;
        let seen = || count(lab, "correspondent_to_care_of");
        let first = lab.visit("first", true)?;
        bound(lab)?;
        finish(first)?;
        let mut second = lab.visit("second", true)?;
        second.transfer(FEW, FEW, SOON)?;
        ensure!(seen()? > 0, "nothing was bound");

        let _others = all(lab, true)?;
        let said = warnings(lab)?;
        ensure!(said.len() == 2, "{said:?}");
        for warning in &said {
            ensure!(warning.contains("decides (program "), "{warning}");
        }
        // The daemon looks again when something about its interfaces changes, and now and then.
        netlink::mtu(&lab.network.gateway, "up0", 1400)?;
        wait::poll(SOON, ASK_AGAIN, "the log has it", || {
            let log = lab.logs(Some("gateway"));
            Ok(log.contains("decides (program ").then_some(()))
        })
    })
}
