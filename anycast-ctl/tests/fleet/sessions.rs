//! Sessions that outlive the gateway by which they began, and the bus.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{json_schema, kernel_tests::Suite, lab::crowd::Crowd, net::wait};

use super::{
    clients::{socket, with_answers},
    nats::{self, Nats},
    site::{GATEWAYS, Plan, SOON, Site},
};

const SESSIONS: usize = 12;
/// Octets that each of them exchanges in a round, each way.
const ROUND: u64 = 16 << 10;
pub const REST: Duration = Duration::from_millis(100);
/// How long sessions go on after each event. A segment that nobody answers is sent again within that time.
pub const GO_ON: Duration = Duration::from_secs(3);
/// A flow whose member does not answer here is given up before that.
const TRIAL: Duration = Duration::from_secs(5);
const END: Duration = Duration::from_secs(20);

pub fn tests(suite: Suite) -> Suite {
    let suite = nats::test(
        suite,
        "sessions outlive gateways, a route that moved and the bus; who comes back with nothing harms none",
        || course(true, outlive),
    );
    let suite = nats::test(suite, "without a bus they do not", || {
        let broken = course(false, lose_one)?;
        ensure!(broken > 0, "the test shows nothing");
        Ok(())
    });
    nats::test(
        suite,
        "a session goes out by one gateway and comes back by the other",
        || course(true, two_ways),
    )
}

/// Two gateways and members, and a bus or none.
fn course<R>(
    with_bus: bool,
    what: impl FnOnce(&mut Site, &mut Option<Nats>) -> Result<R>,
) -> Result<R> {
    let mut site = Site::network(Plan {
        gateways: 2,
        members: 2,
        clients: 1,
        fleet: Some(if with_bus {
            nats::servers()
        } else {
            String::new()
        }),
        ..Plan::default()
    })?;
    let mut bus = with_bus.then(|| Nats::start(&site)).transpose()?;
    site.daemons()?;
    let result = what(&mut site, &mut bus);
    result.with_context(|| site.logs())
}

/// Gateways fail, and come back with nothing; the bus goes, and comes back.
fn outlive(site: &mut Site, bus: &mut Option<Nats>) -> Result<()> {
    let mut crowd = begin(site, &[0, 1])?;
    fleet_matches_schema(site, 1)?;
    site.gateway(1)?.wait_problems(&[])?;
    metrics_of_fleet(site, 1, [1.0, 1.0, 1.0])?;
    let fleet = site.gateway(1)?.ask("fleet")?;
    let name = fleet["peers"][0]["name"].as_str().context("no name")?;
    let refused = site.gateway(1)?.tell(&["fleet", "forget", name]);
    ensure!(refused.is_err(), "{name} is there");
    site.route(1)?;
    go_on(&mut crowd, GO_ON)?;
    none_broken(&crowd, "the route moved")?;
    site.lose_gateway(0, &[1])?;
    go_on(&mut crowd, GO_ON)?;
    none_broken(&crowd, "a gateway failed")?;
    bus.take().map_or(Ok(()), Nats::stop)?;
    wait_connected(site, 1, false)?;
    fleet_matches_schema(site, 1)?;
    go_on(&mut crowd, GO_ON)?;
    none_broken(&crowd, "the bus was gone")?;
    let alone = ["fleet_disconnected", "fleet_peer_lost"];
    site.gateway(1)?.wait_problems(&alone)?;
    metrics_of_fleet(site, 1, [1.0, 0.0, 0.0])?;
    forgotten(site)?;
    *bus = Some(Nats::start(site)?);
    wait_connected(site, 1, true)?;
    site.start_gateway(0)?;
    site.spread(&[0, 1])?;
    go_on(&mut crowd, GO_ON)?;
    none_broken(&crowd, "the gateway came back with nothing")?;
    site.gateway(1)?.wait_problems(&[])?;
    site.lose_gateway(1, &[0])?;
    go_on(&mut crowd, GO_ON)?;
    none_broken(&crowd, "the other gateway failed")
}

/// One that was taken away for good is no problem any more, when somebody has said so.
fn forgotten(site: &Site) -> Result<()> {
    let gateway = site.gateway(1)?;
    let fleet = gateway.ask("fleet")?;
    let name = fleet["peers"][0]["name"].as_str().context("no name")?;
    ensure!(gateway.tell(&["fleet", "forget", "nobody"]).is_err());
    let left = gateway.tell(&["fleet", "forget", name, "--json"])?;
    let left: Value = serde_json::from_str(&left)?;
    ensure!(left["peers"] == serde_json::json!([]), "{left}");
    gateway.wait_problems(&["fleet_disconnected"])?;
    let text = gateway.tell(&["metrics"])?;
    ensure!(!text.contains("anycast_fleet_peer_up{"), "{text}");
    Ok(())
}

/// The control: a gateway fails after the route moved. Gives how many sessions are broken.
fn lose_one(site: &mut Site, _bus: &mut Option<Nats>) -> Result<usize> {
    // One gateway alone: with two, flows of which each sees half go on by B.
    site.spread(&[0])?;
    let mut crowd = begin(site, &[0])?;
    site.route(1)?;
    go_on(&mut crowd, GO_ON)?;
    none_broken(&crowd, "the route moved")?;
    site.lose_gateway(0, &[1])?;
    go_on(&mut crowd, GO_ON)?;
    Ok(crowd.over().len())
}

/// No gateway sees both directions of any flow. Then only the way back moves, and then that out.
fn two_ways(site: &mut Site, _bus: &mut Option<Nats>) -> Result<()> {
    site.ways(&[0], &[1])?;
    let mut crowd = begin(site, &[0, 1])?;
    go_on(&mut crowd, TRIAL)?;
    site.route(1)?;
    go_on(&mut crowd, GO_ON)?;
    none_broken(&crowd, "the route moved")?;
    for (out, back) in [(0, 0), (1, 0)] {
        site.ways(&[out], &[back])?;
        go_on(&mut crowd, TRIAL)?;
        none_broken(&crowd, &format!("ways are {out} and {back}"))?;
    }
    for counter in ["trial_failed", "flow_unanswered", "care_of_failed"] {
        let count = site.counter(counter)?;
        ensure!(count == 0, "{counter} is {count}");
    }
    Ok(())
}

/// Binds the client, and opens sessions, which these gateways know then.
pub fn begin(site: &Site, gateways: &[usize]) -> Result<Crowd> {
    bind(site, gateways)?;
    let mut crowd = Crowd::start(&site.clients, site.directory())?;
    for _ in 0..SESSIONS {
        let number = crowd.open()?;
        let said = crowd.first_words(number, SOON)?;
        ensure!(said["server"] == "s1", "{said}");
    }
    crowd.tell("beat 50")?;
    for place in gateways {
        wait_bound(site, *place, SESSIONS)?;
    }
    Ok(crowd)
}

/// The client asks, until these gateways have its binding.
pub fn bind(site: &Site, gateways: &[usize]) -> Result<()> {
    with_answers(&site.members, || ask_until_bound(site, gateways))
}

/// The same, while members answer.
pub fn ask_until_bound(site: &Site, gateways: &[usize]) -> Result<()> {
    wait::poll(SOON, REST, "the client is bound", || {
        socket(site, 1)?.send(b"question")?;
        for place in gateways {
            if site.gateway(*place)?.list("bindings")?.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Waits until a gateway knows all sessions, and that they are answered.
pub fn wait_bound(site: &Site, place: usize, sessions: usize) -> Result<()> {
    let mut last = 0;
    let found = wait::poll(SOON, REST, "all sessions are bound", || {
        let flows = site.gateway(place)?.list("flows")?;
        let bound = |flow: &&Value| flow["protocol"] == 6 && flow["state"] == "bound";
        last = flows.iter().filter(bound).count();
        Ok((last == sessions).then_some(()))
    });
    found.with_context(|| format!("gateway {place} knows {last} of {sessions}"))
}

pub fn wait_connected(site: &Site, place: usize, is: bool) -> Result<()> {
    let what = format!("the bus is there for gateway {place}: {is}");
    wait::poll(SOON, REST, &what, || {
        let fleet = site.gateway(place)?.ask("fleet")?;
        Ok((fleet["connected_seconds"].is_number() == is).then_some(()))
    })
}

/// What `fleet --json` prints matches its schema, where that can be known.
fn fleet_matches_schema(site: &Site, place: usize) -> Result<()> {
    if json_schema::obstacle().is_some() {
        return Ok(());
    }
    let printed = site.gateway(place)?.tell(&["fleet", "--json"])?;
    json_schema::validate(site.directory(), "fleet", &printed)
}

/// Whether metrics say that a gateway is ready, is connected, and hears the first one.
fn metrics_of_fleet(site: &Site, place: usize, expected: [f64; 3]) -> Result<()> {
    let text = site.gateway(place)?.tell(&["metrics"])?;
    let value = |name: &str| {
        let line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(line)
    };
    let first = format!("{{name=\"{}\"}}", GATEWAYS[0]);
    let peer = format!("peer_up{first}");
    let found =
        ["ready", "connected", peer.as_str()].map(|name| value(&format!("anycast_fleet_{name}")));
    ensure!(found == expected.map(Some), "{found:?}: {text}");
    let heard: Option<f64> = value(&format!("anycast_fleet_peer_heard_seconds{first}"));
    ensure!(heard.is_some_and(|heard| heard >= 0.0), "{text}");
    Ok(())
}

pub fn go_on(crowd: &mut Crowd, time: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        crowd.exchange(ROUND, END)?;
    }
    Ok(())
}

pub fn none_broken(crowd: &Crowd, when: &str) -> Result<()> {
    let broken = crowd.over();
    ensure!(broken.is_empty(), "broken when {when}: {broken:?}");
    Ok(())
}
