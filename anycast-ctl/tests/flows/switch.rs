//! A switch that has learnt nothing brings every member the frames of all others.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use xtask::kernel_tests::Suite;

use super::{
    sessions::Sessions,
    site::{Mode, Plan, Site, care_of},
};

const SESSIONS: usize = 20;
/// The other is brought more than these.
const FRAMES: u64 = 500;
const BOUND: Duration = Duration::from_secs(2);

pub fn tests(mut suite: Suite) -> Suite {
    for mode in [None, Some(Mode::Native), Some(Mode::Tcx)] {
        let how = mode.map_or("without us", Mode::name);
        let name = format!("a switch brings frames of one member to another, {how}");
        suite = suite.test(name, move || {
            let site = Site::up(Plan::new(2, mode))?;
            flooded(&site).with_context(|| site.logs())
        });
    }
    suite
}

fn flooded(site: &Site) -> Result<()> {
    site.route(&[0])?;
    site.flood()?;
    let mut sessions = Sessions::open(site, SESSIONS)?;
    sessions.beat()?;
    let bound = match site.plan.mode {
        Some(_) => sessions.wait_bound(site, BOUND).map(drop),
        None => Ok(()),
    };
    let broken = sessions.exchange(BOUND)?;
    let why = bound.as_ref().err().map(|error| format!("{error:#}"));
    broken.none(&format!("of {SESSIONS}; {why:?}"))?;
    bound?;
    if site.plan.mode.is_some() {
        // The other has taken nothing of what it was brought.
        let bindings = site.daemon("gateway")?.list("bindings")?;
        let own = json!(care_of(0));
        ensure!(
            bindings.iter().all(|binding| binding["care_of"] == own),
            "{bindings:?}"
        );
        let other = site.member(1)?;
        ensure!(
            other.counter("controller", "handshake_started")? == 0,
            "the other began to bind"
        );
    }
    // Else nothing was tested.
    let brought = site.brought_to(1)?;
    ensure!(brought > FRAMES, "the other was brought {brought} frames");
    let ends = sessions.finish()?;
    ensure!(ends.broken.is_empty(), "{ends:?}");
    Ok(())
}
