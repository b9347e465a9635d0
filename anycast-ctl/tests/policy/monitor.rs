//! `monitor`: what a daemon tells those who watch it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv6Addr,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anycast_common::wire::{
    ipv6,
    mld::{self, Version},
};
use anycast_ctl::shell::api::{Request, view};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xtask::net::{Process, wait::patience};

use super::site::{
    self, AGAIN, B, DENIED, FLOODER, HONEST, HONEST_MAC, MAC, PATIENCE, Reports, Site, join, wait,
};

/// An address below the router's, which wins the election.
const LOWER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// More than the socket of a watcher and the ring of the daemon hold.
const EVENTS: u64 = 16_384;
/// So many at a time, which the daemon's ring buffer takes.
const BATCH: u64 = 256;

/// Somebody who watches, and reads when asked to.
struct Watcher(BufReader<UnixStream>);

impl Watcher {
    /// The daemon has said that it tells from now on.
    fn open(site: &Site) -> Result<Self> {
        let mut stream = UnixStream::connect(&site.socket)?;
        stream.set_read_timeout(Some(patience(PATIENCE)))?;
        let mut request = serde_json::to_vec(&Request::Monitor { roles: Vec::new() })?;
        request.push(b'\n');
        stream.write_all(&request)?;
        let mut watcher = Self(BufReader::new(stream));
        let begun = watcher.next()?;
        ensure!(begun["ok"].is_object(), "{begun}");
        Ok(watcher)
    }

    fn next(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line).context("nothing is told")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The next event is this one, as far as `expected` says.
    fn tells(&mut self, expected: &Value) -> Result<()> {
        let event = self
            .next()
            .with_context(|| format!("expected {expected}"))?;
        let fields = expected.as_object().context("an object")?;
        let same = fields.iter().all(|(name, value)| event[name] == *value);
        ensure!(same, "{event}, expected {expected}");
        Ok(())
    }

    /// Reads on until B is routed: what it was told before, which is in `told` meanwhile, and what it
    /// was told that it lost.
    fn count(&mut self, told: &AtomicU64) -> Result<(u64, u64)> {
        let mut lost = 0;
        loop {
            let event = self.next()?;
            if let Some(more) = event["lost"].as_u64() {
                lost += more;
            } else if event["reason"] == "member_full" {
                told.fetch_add(1, Ordering::Relaxed);
            } else if event["event"] == "route" {
                return Ok((told.load(Ordering::Relaxed), lost));
            } else {
                ensure!(event["event"] == "member_joined", "{event}");
            }
        }
    }
}

fn query(frames: &Reports, source: Ipv6Addr) -> Result<()> {
    let query = mld::Message::Query(mld::Query {
        max_response_delay: Duration::from_secs(10),
        address: Ipv6Addr::UNSPECIFIED,
        version: Version::V1,
    });
    frames.mld(source, MAC, ipv6::ALL_NODES, query)
}

pub fn events() -> Result<()> {
    let site = Site::new("events")?;
    let honest = Reports::open(&site.honest)?;
    let flooder = Reports::open(&site.flooder)?;
    let mut watcher = Watcher::open(&site)?;

    honest.report(HONEST, HONEST_MAC, B)?;
    watcher.tells(&json!({
        "role": "router", "event": "member_joined", "interface": "lan0", "anycast": B,
        "member": HONEST, "rule": 0,
    }))?;
    watcher.tells(&json!({ "event": "route", "anycast": B, "next_hops": [HONEST] }))?;

    flooder.report(DENIED, MAC, B)?;
    watcher.tells(&json!({
        "event": "mld_refused", "source": DENIED, "mac": "02:00:00:00:20:21", "by": "data_plane",
        "anycast": B, "reason": "mld_report_denied",
    }))?;

    honest.done(HONEST, HONEST_MAC, B)?;
    watcher.tells(&json!({ "event": "member_left", "member": HONEST, "cause": "done" }))?;
    watcher.tells(&json!({ "event": "route", "anycast": B, "next_hops": [] }))?;

    join(&site, &honest, B)?;
    watcher.tells(&json!({ "event": "member_joined" }))?;
    watcher.tells(&json!({ "event": "route", "next_hops": [HONEST] }))?;
    let _: view::PolicyChanged = site.ask(&Request::PolicyRemove { id: 0 })?;
    watcher.tells(&json!({ "event": "member_left", "cause": "policy" }))?;
    watcher.tells(&json!({ "event": "route", "next_hops": [] }))?;

    query(&flooder, LOWER)?;
    watcher.tells(&json!({
        "event": "querier", "interface": "lan0", "querier": LOWER, "ours": false,
    }))?;

    // The command says the same; it has begun when the first line is there.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_anycast-ctl"));
    command.arg("--socket").arg(&site.socket);
    command.args(["monitor", "router"]);
    let log = site.socket.with_extension("monitor");
    let told = Process::start("anycast-ctl monitor", command, &log)?;
    xtask::net::wait::poll(PATIENCE, AGAIN, "the command tells of refusals", || {
        flooder.report("2001:db8::1".parse()?, MAC, B)?;
        let refusal =
            |line: &String| line.contains("mld-refused") && line.contains("source=2001:db8::1");
        let found = told
            .output()
            .read(|output| output.lines.iter().any(refusal));
        Ok(found.then_some(()))
    })
}

/// One watcher reads all the time, one not at all.
pub fn slow_reader() -> Result<()> {
    let config = site::CONFIG.replace("reports_per_second = 100", "reports_per_second = 0");
    let site = Site::with("slow", &config)?;
    let honest = Reports::open(&site.honest)?;
    let flooder = Reports::open(&site.flooder)?;
    let group = |low| Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, low);
    for low in 1..=64 {
        flooder.report(FLOODER, MAC, group(low))?;
    }
    wait("the flooder is in as many groups as it may", || {
        let status: view::Status = site.ask(&Request::Status)?;
        Ok(status.summary.members == 64)
    })?;
    let (mut quick, mut slow) = (Watcher::open(&site)?, Watcher::open(&site)?);
    let seen = AtomicU64::new(0);
    let (quick_saw, joined) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| quick.count(&seen));
        let joined = (|| {
            for batch in 1..=EVENTS / BATCH {
                for _ in 0..BATCH {
                    // One too many: refused each time, by the controller, and nobody limits it.
                    flooder.report(FLOODER, MAC, group(65))?;
                }
                wait("the quick one has read them", || {
                    Ok(seen.load(Ordering::Relaxed) == batch * BATCH)
                })?;
                // Questions are answered all the while.
                let counters: view::Counters = site.ask(&Request::Counters)?;
                ensure!(counters.controller["member_full"] == batch * BATCH);
            }
            join(&site, &honest, B)
        })();
        let read = reading.join();
        let read = read.map_err(|_| anyhow::anyhow!("the reader panicked"));
        (read.and_then(|read| read), joined)
    });
    let took = joined?;
    ensure!(
        took < patience(Duration::from_secs(1)),
        "joined after {took:?}"
    );
    let (told, lost) = quick_saw?;
    ensure!(told == EVENTS && lost == 0, "{told} told, {lost} lost");

    // It learns how many it has lost, and goes on from there.
    let (told, lost) = slow.count(&AtomicU64::new(0))?;
    ensure!(told > 0 && lost > 0, "{told} told, {lost} lost");
    ensure!(told + lost == EVENTS, "{told} told, {lost} lost");
    query(&flooder, LOWER)?;
    slow.tells(&json!({ "event": "querier", "querier": LOWER }))
}
