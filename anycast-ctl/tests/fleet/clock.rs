//! Gateways whose clocks differ. A daemon runs as it is, with libfaketime for the time of day.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{kernel_tests::Suite, net::wait};

use super::{
    keys,
    nats::{self, Nats},
    sessions::REST,
    site::{Plan, SOON, Site},
    time_of_day::library,
};

const GATEWAYS: usize = 3;
const OFF: usize = 1;
/// Four heartbeats of each of two others, two seconds apart: a second warning would have come.
const REPEATED: u64 = 8;
const REPEATS: Duration = Duration::from_secs(30);

pub fn tests(mut suite: Suite) -> Suite {
    for (name, body) in [
        (
            "a gateway whose clock is 40 s off binds every client with another",
            forty_seconds as fn() -> Result<()>,
        ),
        (
            "a gateway whose clock is ten minutes off is refused by another",
            ten_minutes,
        ),
        (
            "a gateway whose clock is ten minutes off is told of once, by all",
            is_told,
        ),
    ] {
        suite = match library() {
            Some(_) if name.ends_with("by all") => nats::test(suite, name, body),
            Some(_) => suite.test(name, body),
            None => suite.ignored(
                name,
                "libfaketime is not installed (apt-get install faketime)",
            ),
        };
    }
    suite
}

fn forty_seconds() -> Result<()> {
    for by in ["+40s", "-40s"] {
        let site = keys::site(Some(String::new()), Some((OFF, by)))?;
        keys::all_bind(&site).with_context(|| format!("{by}: {}", site.logs()))?;
    }
    Ok(())
}

fn ten_minutes() -> Result<()> {
    let site = keys::site(Some(String::new()), Some((OFF, "+600s")))?;
    keys::refuse(&site).with_context(|| site.logs())
}

fn is_told() -> Result<()> {
    let mut site = Site::network(Plan {
        gateways: GATEWAYS,
        members: 1,
        clients: 1,
        fleet: Some(nats::servers()),
        clock: Some((OFF, "+600s")),
        ..Plan::default()
    })?;
    let _bus = Nats::start(&site)?;
    site.daemons()?;
    let result = warned(&mut site);
    result.with_context(|| site.logs())
}

/// Each of the others warns of the one, and that one of each.
fn warned(site: &mut Site) -> Result<()> {
    for (place, names, ahead) in [
        (0, &["g2"][..], 600),
        (2, &["g2"], 600),
        (OFF, &["g1", "g3"], -600),
    ] {
        for name in names {
            wait::poll(SOON, REST, &format!("{place} names {name}"), || {
                let problems = site.gateway(place)?.ask("status")?["problems"].clone();
                let problems = problems.as_array().cloned().unwrap_or_default();
                let names = |problem: &&Value| {
                    let message = problem["message"].as_str().unwrap_or_default();
                    problem["code"] == "fleet_clock" && message.contains(name)
                };
                Ok(problems.iter().find(names).map(drop))
            })?;
        }
        let fleet = site.gateway(place)?.ask("fleet")?;
        for peer in fleet["peers"].as_array().into_iter().flatten() {
            let off = peer["clock_ahead_seconds"].as_f64().unwrap_or_default();
            let expected = if names.iter().any(|name| peer["name"] == *name) {
                ahead
            } else {
                0
            };
            ensure!((off - f64::from(expected)).abs() < 2.0, "{place}: {fleet}");
        }
    }
    // Heartbeats go on, and nobody is told twice.
    for place in 0..GATEWAYS {
        let heard = || {
            site.gateway(place)?
                .counter("controller", "fleet_message_accepted")
        };
        let before = heard()?;
        wait::poll(REPEATS, REST, "heartbeats go on", || {
            Ok((heard()? >= before + REPEATED).then_some(()))
        })?;
    }
    for (place, warnings) in [(0, 1), (2, 1), (OFF, 2)] {
        let log = site.gateway_mut(place)?.process().output().read(|output| {
            let lines = output.lines.iter();
            let lines = lines.filter(|line| line.contains("ERROR") && line.contains("clock"));
            lines.cloned().collect::<Vec<_>>()
        });
        ensure!(log.len() == warnings, "{place}: {log:?}");
    }
    Ok(())
}
