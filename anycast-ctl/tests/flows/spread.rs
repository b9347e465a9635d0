//! Connections of one client that a hash spreads over several members.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use xtask::kernel_tests::Suite;

use super::{
    sessions::Sessions,
    site::{Hash, Mode, Plan, Site},
};

/// Connections at the same time.
const SESSIONS: usize = 16;
/// Within which they are all bound.
const BOUND: Duration = Duration::from_secs(2);
/// For so long they go on after a next hop has gone.
const MOVED: Duration = Duration::from_secs(1);

pub fn tests(mut suite: Suite) -> Suite {
    for members in [2, 4] {
        for hash in [Hash::Ports, Hash::FlowLabel] {
            for mode in [None, Some(Mode::Native), Some(Mode::Tcx)] {
                let by = match hash {
                    Hash::Ports => "a hash of ports",
                    Hash::FlowLabel => "the default hash",
                };
                let how = mode.map_or("without us", Mode::name);
                let name = format!("{SESSIONS} connections over {members} members by {by}, {how}");
                let plan = Plan {
                    members,
                    hash,
                    mode,
                };
                suite = suite.test(name, move || spread(plan));
            }
        }
    }
    suite
}

fn spread(plan: Plan) -> Result<()> {
    let site = Site::up(plan)?;
    let result = on(&site);
    result.with_context(|| site.logs())
}

fn on(site: &Site) -> Result<()> {
    let mut sessions = Sessions::open(site, SESSIONS)?;
    let bound = match site.plan.mode {
        Some(_) => {
            sessions.beat()?;
            let bound = sessions.wait_bound(site, BOUND);
            bound.map_err(|error| format!("{error:#}"))
        }
        None => Ok(Duration::ZERO),
    };
    let broken = sessions.exchange(BOUND)?;
    broken.none(&format!("of {SESSIONS}; {bound:?}"))?;
    let bound = bound.map_err(Error::msg)?;

    // The next hop with the most connections goes.
    let with = |member| {
        let all = sessions.all.iter();
        all.filter(|one| one.member == Some(member)).count()
    };
    let members = 0..site.plan.members;
    let gone = members.clone().max_by_key(|member| with(*member));
    let gone = gone.context("no members")?;
    let moved = with(gone);
    ensure!(moved > 0, "nobody is with anybody");
    let rest: Vec<_> = members.filter(|member| *member != gone).collect();
    site.route(&rest)?;
    sessions.exchange(MOVED)?;
    let ends = sessions.finish()?;
    let broken = ends.broken.len();
    match site.plan.mode {
        Some(_) => ensure!(broken == 0, "a next hop of {moved} went: {ends:?}"),
        None => ensure!(broken >= moved, "a next hop of {moved} went: {ends:?}"),
    }
    println!("all bound after {bound:?}; a next hop of {moved} went, and {broken} with it");
    Ok(())
}
