//! A firewall between gateway and members.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
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

pub fn tests(suite: Suite) -> Suite {
    [("TCX", TCX), ("native", NATIVE)]
        .into_iter()
        .fold(suite, |suite, (name, setting)| {
            suite.test(
                format!("{name}: a session that a firewall does not let move to C stays with B"),
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

fn canaries(lab: &Lab) -> Result<u64> {
    ["s1", "s2"]
        .map(|node| lab.daemon(node)?.counter("data_plane", "member_canary"))
        .into_iter()
        .sum()
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

        site::gateway(lab, setting)?;
        let mut session = lab.visit("client", true)?;
        bound(lab)?;
        // All that a flow has for one binding.
        let deadline = Instant::now() + wait::patience(SOON);
        let longest = exchanges(&mut session, || {
            ensure!(Instant::now() < deadline, "{} canaries", canaries(lab)?);
            Ok(canaries(lab)? >= 3)
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
