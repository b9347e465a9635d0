//! A snapshot over a real bus: from a gateway without a data plane to a daemon, and from that to another daemon.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anycast_common::abi::maps::{Flow, FlowKey};
use anycast_ctl::core::{
    Action, Actions, Time,
    controller::{Controller, Input},
    correspondent::Correspondent,
};
use anyhow::{Context as _, Result, anyhow, ensure};
use async_nats::ConnectOptions;
use futures_util::StreamExt as _;
use tokio::time::sleep;
use xtask::lab::node::Daemon;

use super::{
    bed::{Bed, PORT},
    common::sample,
    machines::{correspondent, step},
    parts::{COUNTS, flow, settings, updates_of},
};

const TICK: Duration = Duration::from_millis(20);
const ALL: &str = "anycast.fleet.all";

pub fn run() -> Result<()> {
    let Some(bed) = Bed::make()? else {
        return Ok(());
    };
    println!(
        "a snapshot by nats-server to a gateway that starts, with a bound flow of each triple: from its start"
    );
    for count in [1, COUNTS[0], COUNTS[1]] {
        let peer = Peer::new(count)?;
        let (bus, stop) = (Arc::clone(&bed.bus), Arc::new(AtomicBool::new(false)));
        let stops = Arc::clone(&stop);
        let peer = thread::spawn(move || {
            bus.enter()?;
            peer.run(&stops)
        });
        let mut first = ready(&bed, 0, count, "a gateway without a data plane")?;
        stop.store(true, Relaxed);
        let told = peer
            .join()
            .map_err(|_| anyhow!("the other gateway aborted"))??;
        println!("    {} octets a triple on the wire", told / count);
        let mut second = ready(&bed, 1, count, "a daemon")?;
        for (place, daemon) in [&mut first, &mut second].into_iter().enumerate() {
            daemon.end()?;
            bed.forget(place)?;
        }
    }
    Ok(())
}

/// Starts a daemon, and waits until it is ready and has everything.
fn ready(bed: &Bed, place: usize, count: usize, of: &str) -> Result<Daemon> {
    let start = Instant::now();
    let mut daemon = bed.start(place, count)?;
    daemon.wait_ready()?;
    let took = start.elapsed();
    let (counters, used) = sample(&bed.socket(place), daemon.process().id())?;
    let fleet = daemon.ask("fleet")?;
    let flows = counters
        .controller
        .get("fleet_flows_adopted")
        .copied()
        .unwrap_or_default();
    let triples = fleet["triples"].as_u64().unwrap_or_default();
    let by = fleet["ready_by"].as_str().unwrap_or_default();
    // A set of the table may have been full.
    let enough =
        |number: u64| usize::try_from(number).is_ok_and(|number| number + count / 1000 >= count);
    ensure!(
        by == "snapshot" && enough(triples) && enough(flows),
        "ready by {by} after {took:.2?}, {triples} triples and {flows} flows of {count}: {}",
        daemon.tail(8).join("\n")
    );
    println!("  {count} triples of {of}: ready after {took:.2?}, {used:.2} s of processor time");
    Ok(daemon)
}

/// A gateway without a data plane, all of whose clients are bound and have a flow.
struct Peer {
    gateway: Controller,
    flows: Arc<Vec<(FlowKey, Flow)>>,
    now: Time,
    told: usize,
}

impl Peer {
    /// It is ready, since it was alone for a while.
    fn new(count: usize) -> Result<Self> {
        let now = Time::ZERO + Duration::from_secs(3600);
        let gateway = correspondent(now, count, Some(settings("other")));
        let (flows, told) = (Arc::default(), 0);
        let mut peer = Self {
            gateway,
            flows,
            now,
            told,
        };
        peer.handle(Input::BusConnected(true))?;
        while !peer.is_ready() {
            peer.now += TICK;
            let actions = peer.poll()?;
            peer.read(actions)?;
        }
        // Time stands still for it meanwhile.
        let updates = updates_of(&mut peer.gateway, peer.now, count);
        step(&mut peer.gateway, peer.now, &updates);
        let flows = (0..count).map(|number| flow(peer.now, number));
        peer.flows = Arc::new(flows.collect());
        Ok(peer)
    }

    fn handle(&mut self, input: Input<'_>) -> Result<Actions> {
        let mut actions = Actions::new();
        self.gateway
            .clock(self.now, SystemTime::now().duration_since(UNIX_EPOCH)?);
        self.gateway.handle(self.now, input, &mut actions);
        Ok(actions)
    }

    fn poll(&mut self) -> Result<Actions> {
        let mut actions = Actions::new();
        self.gateway
            .clock(self.now, SystemTime::now().duration_since(UNIX_EPOCH)?);
        self.gateway.poll(self.now, &mut actions);
        Ok(actions)
    }

    /// Takes part until it is stopped. Gives the octets that it told.
    fn run(mut self, stop: &AtomicBool) -> Result<usize> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let server = format!("nats://[::1]:{PORT}");
            let client = ConnectOptions::new().no_echo().connect(server).await?;
            let bus = self.gateway.correspondent().and_then(Correspondent::bus);
            let id = bus.context("it has one")?.id();
            let all = client.subscribe(ALL).await?;
            let own = client.subscribe(alone(id)).await?;
            let mut messages = futures_util::stream::select(all, own);
            let (start, from) = (Instant::now(), self.now);
            while !stop.load(Relaxed) {
                let message = tokio::select! {
                    message = messages.next() => Some(message.context("the bus ended")?),
                    () = sleep(TICK) => None,
                };
                self.now = from + start.elapsed();
                let mut actions = match message {
                    Some(message) => self.handle(Input::Bus(&message.payload))?,
                    None => Actions::new(),
                };
                actions.extend(self.poll()?);
                for (to, octets) in self.read(actions)? {
                    self.told += octets.len();
                    let subject = to.map_or_else(|| ALL.to_owned(), alone);
                    client.publish(subject, octets.into()).await?;
                }
            }
            Ok(self.told)
        })
    }

    fn is_ready(&self) -> bool {
        let role = self.gateway.correspondent();
        role.is_some_and(Correspondent::is_ready)
    }

    /// Reads flows where they are wanted. Gives what is to be said.
    fn read(&mut self, actions: Actions) -> Result<Vec<(Option<u64>, Vec<u8>)>> {
        let (mut todo, mut said) = (VecDeque::from(actions), Vec::new());
        while let Some(action) = todo.pop_front() {
            match action {
                Action::Publish { to, octets } => said.push((to, octets)),
                Action::ReadFlows { .. } => {
                    let (began, flows) = (self.now, &Arc::clone(&self.flows));
                    todo.extend(self.handle(Input::Flows { began, flows })?);
                    while self.gateway.deadline().is_some_and(|due| due <= self.now) {
                        todo.extend(self.poll()?);
                    }
                }
                // For a snapshot.
                Action::ReadRecentFlows { since: Time::ZERO } => {
                    let flows = Arc::clone(&self.flows);
                    todo.extend(self.handle(Input::RecentFlows(&flows))?);
                }
                Action::ReadRecentFlows { .. } => {
                    todo.extend(self.handle(Input::RecentFlows(&[]))?);
                }
                _ => {}
            }
        }
        Ok(said)
    }
}

fn alone(id: u64) -> String {
    format!("anycast.fleet.to.{id:016x}")
}
