//! A firewall between gateway and members.

use std::time::{Duration, Instant};

use anycast_common::abi::maps::canary;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xtask::{
    kernel_tests::Suite,
    lab::{
        scenario::{ASK_AGAIN, SOON},
        stage::Lab,
        visitor::Visitor,
    },
    net::wait,
};

use crate::{
    nft::Firewall,
    site::{self, NATIVE, Setting, TCX, bound, finish},
    stage::in_lab,
};

/// Connections are those whose first segment was seen. Nothing else of TCP passes.
const STRICT: &str = "
table inet filter {
    counter refused { }
    chain forward {
        type filter hook forward priority filter; policy accept;
        meta l4proto != tcp accept
        ct state established accept
        tcp flags & (fin | syn | rst | ack) == syn ct state new accept
        counter name refused drop
    }
}";

/// Longest time that an exchange may take.
const STALL: Duration = Duration::from_secs(1);
const FEW: u64 = 512;
/// Canaries that a flow has for one binding.
const MOST: u64 = canary::MOST as u64;
const LED: &str = "member_flow_led";

pub fn tests(suite: Suite) -> Suite {
    [("TCX", TCX), ("native", NATIVE)]
        .into_iter()
        .fold(suite, |suite, (name, setting)| {
            suite
                .test(
                    format!("{name}: without a firewall a session moves to C"),
                    move || moves(setting),
                )
                .test(
                    format!(
                        "{name}: a session that a firewall does not let move to C stays with B"
                    ),
                    move || stays(setting),
                )
        })
}

/// A few octets there and back, as fast as they go, until `done`. The longest exchange.
fn exchanges(visitor: &mut Visitor, mut done: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    loop {
        let began = Instant::now();
        visitor.transfer(FEW, FEW, SOON)?;
        longest = longest.max(began.elapsed());
        if done()? {
            return Ok(longest);
        }
    }
}

/// What the members have counted, all together.
fn of_members(lab: &Lab, counter: &str) -> Result<u64> {
    ["s1", "s2"]
        .map(|node| lab.daemon(node)?.counter("data_plane", counter))
        .into_iter()
        .sum()
}

fn canaries(lab: &Lab) -> Result<u64> {
    of_members(lab, "member_canary")
}

/// States of the gateway's flows.
fn states(lab: &Lab) -> Result<Vec<Value>> {
    let flows = lab.daemon("gateway")?.tell(&["flows", "--all", "--json"])?;
    let flows: Vec<Value> = serde_json::from_str(&flows).context(flows)?;
    Ok(flows.iter().map(|flow| flow["state"].clone()).collect())
}

/// The control: the same session, which begins before the client is bound, and nothing on the way.
fn moves(setting: Setting) -> Result<()> {
    in_lab(None, |lab, _| {
        site::plain(lab)?;
        site::gateway(lab, setting)?;
        let mut session = lab.visit("client", true)?;
        bound(lab)?;
        let deadline = Instant::now() + wait::patience(SOON);
        exchanges(&mut session, || {
            ensure!(Instant::now() < deadline, "{} canaries", canaries(lab)?);
            Ok(of_members(lab, LED)? > 0)
        })?;
        session.transfer(FEW, FEW, SOON)?;
        let states = states(lab)?;
        ensure!(states == ["bound"], "{states:?}");
        finish(session)
    })
}

fn stays(setting: Setting) -> Result<()> {
    in_lab(None, |lab, _| {
        site::plain(lab)?;
        Firewall::load(&lab.network.router, STRICT)?;
        let mut control = lab.visit("control", true)?;
        let mut rounds = 0;
        let usual = exchanges(&mut control, || {
            rounds += 1;
            Ok(rounds == 100)
        })?;
        finish(control)?;

        // It begins before there is a gateway, and so before any binding.
        let mut session = lab.visit("client", true)?;
        site::gateway(lab, setting)?;
        // All that a flow has for one binding.
        let deadline = Instant::now() + wait::patience(SOON);
        let longest = exchanges(&mut session, || {
            ensure!(Instant::now() < deadline, "{} canaries", canaries(lab)?);
            Ok(canaries(lab)? >= MOST)
        })?;
        let mut rounds = 0;
        let after = exchanges(&mut session, || {
            rounds += 1;
            Ok(rounds == 100)
        })?;
        let longest = longest.max(after);
        ensure!(
            longest < wait::patience(STALL),
            "an exchange took {longest:?}, and {usual:?} without a gateway"
        );
        let (canaries, led) = (canaries(lab)?, of_members(lab, LED)?);
        ensure!(canaries == MOST, "{canaries} canaries");
        ensure!(led == 0, "the flow came over");
        let states = states(lab)?;
        ensure!(!states.contains(&json!("bound")), "{states:?}");
        let firewall = Firewall::load(&lab.network.router, "")?;
        ensure!(firewall.count("refused")? > 0, "nothing was refused");
        finish(session)?;

        // What begins with a binding goes by C: the firewall sees it begin.
        let led = site::count(lab, "flow_pinned")?;
        let mut next = lab.visit("next", true)?;
        next.transfer(FEW, FEW, SOON)?;
        finish(next)?;
        wait::poll(SOON, ASK_AGAIN, "it was bound", || {
            Ok((site::count(lab, "flow_pinned")? > led).then_some(()))
        })
    })
}
