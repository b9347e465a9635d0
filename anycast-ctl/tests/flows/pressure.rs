//! Sessions that are silent while a table of flows fills with questions that are asked once.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    lab::topology::CLIENT,
    net::{Pace, netlink},
};

use super::{
    datagrams::{Asker, with_answers},
    sessions::Sessions,
    site::{Mode, Plan, SOON, Settings, Site},
    soak::{SECONDS, variable},
};

const SESSIONS: usize = 10;
/// Room for flows: a quarter of what bore 80 questions a second for three minutes, which were as many as these. So
/// each place bears four times of it, in a fraction of the time.
const TABLE: &str = "[data_plane]\nflows = 1024\n";
const QUESTIONS: u16 = 14_400;
/// Ports of a client for them.
const FIRST_PORT: u16 = 10_000;

pub fn tests(mut suite: Suite) -> Suite {
    for mode in [None, Some(Mode::Native), Some(Mode::Tcx)] {
        let how = mode.map_or("without us", Mode::name);
        let name =
            format!("silent sessions outlive {QUESTIONS} questions in a table of 1024, {how}");
        suite = suite.test(name, move || {
            let settings = Settings {
                gateway: TABLE.to_owned(),
                ..Settings::default()
            };
            let site = Site::with(Plan::new(2, mode), settings)?;
            pressed(&site).with_context(|| site.logs())
        });
    }
    suite
}

fn pressed(site: &Site) -> Result<()> {
    // The questions are another client's of the same gateway, as those of a resolver are.
    let asker = Ipv6Addr::from_bits(CLIENT.to_bits() + 1);
    netlink::address(&site.client, "eth0", asker, 128)?;
    site.route(&[0])?;
    let mut sessions = Sessions::open(site, SESSIONS)?;
    sessions.beat()?;
    if site.plan.mode.is_some() {
        sessions.wait_bound(site, SOON)?;
    }
    sessions.pause()?;
    let start = Instant::now();
    // At once, unless there is as much time as it takes a table that goes by time alone to make mistakes.
    let time = variable(SECONDS)?.map_or(Duration::ZERO, Duration::from_secs);
    let answered = with_answers(site, || {
        let pace = Pace::every(time / u32::from(QUESTIONS))?;
        let mut answered = 0;
        for number in 0..QUESTIONS {
            // Half of them are the client's own.
            let from = if number % 2 == 0 { asker } else { CLIENT };
            pace.beat()?;
            let mut one = Asker::from(site, (from, FIRST_PORT + number))?;
            answered += usize::from(one.ask()?.is_some());
        }
        Ok(answered)
    })?;
    println!("{answered} answered in {:?}", start.elapsed());
    ensure!(
        answered > usize::from(QUESTIONS) * 99 / 100,
        "{answered} answered"
    );
    if site.plan.mode.is_some() {
        println!("evicted: {}", site.counter("flow_evicted")?);
        let (own, foreign) = sessions.bound(site)?;
        ensure!(
            own == SESSIONS,
            "{own} of {SESSIONS} silent sessions are left, and {foreign} of another"
        );
        site.route(&[1])?;
    }
    let broken = sessions.exchange(Duration::from_millis(500))?;
    broken.none("of those that were silent")?;
    let ends = sessions.finish()?;
    ensure!(ends.broken.is_empty(), "{ends:?}");
    Ok(())
}
