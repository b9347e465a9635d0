//! The whole way: frames on a link, XDP, the ring buffer, the daemon, the kernel's routes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anycast_ctl::shell::api::client;
use anyhow::{Context as _, Result};
use xtask::{
    lab::node::Daemon,
    net::{Namespace, Sender, Site, netlink, wait},
};

use super::{
    common::{self, rate},
    hosts::{PAIRS, Pair, pairs},
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
const LONG: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_millis(2);
/// What the ring buffer holds without loss while the daemon is busy elsewhere.
const CHUNK: usize = 16_384;
/// Reports a second that the daemon has to keep up with.
const WANTED: usize = 200_000;
const STEP: Duration = Duration::from_millis(1);
const SPAN: Duration = Duration::from_secs(5);

/// The hosts do not exist, so nobody probes them; and no host's rate is in the way.
const CONFIG: &str = r#"
[router]
interfaces = ["lan0"]
next_hops = "best"
probe_interval = "0s"

[router.limits]
reports_per_second = 0
new_senders_per_second = 0

[[router.policy]]
source = "fe80::/10"
anycast = "2001:db8:a::/48"
action = "allow"
"#;

pub fn run() -> Result<()> {
    // For what the daemons pin.
    xtask::net::bpffs::private()?;
    println!("path: wire, XDP (native, veth), ring buffer, daemon, kernel; {PAIRS} pairs");
    for (groups, members) in [(PAIRS, 1), (1000, 100)] {
        let link = Link::new()?;
        println!("  {groups} groups of {members}");
        link.joins(&pairs(groups, members), groups)?;
        link.views()?;
        let frames: Vec<_> = pairs(groups, members).iter().map(Pair::frame).collect();
        link.paced(&frames)?;
        link.flat_out(&frames)?;
    }
    Ok(())
}

/// A router with a daemon, and a namespace that plays all hosts of its link.
struct Link {
    daemon: Daemon,
    process: u32,
    socket: PathBuf,
    sender: Sender,
    router: Namespace,
    _hosts: Namespace,
    _site: Site,
}

impl Link {
    fn new() -> Result<Self> {
        let site = Site::claim("acs")?;
        let (router, hosts) = (site.namespace("r")?, site.namespace("h")?);
        let end = |namespace, name| netlink::End {
            namespace,
            name,
            mac: None,
        };
        netlink::veth(end(&router, "lan0"), end(&hosts, "eth0"))?;
        netlink::up(&hosts, "eth0")?;
        netlink::up(&router, "lan0")?;
        netlink::address(&router, "lan0", "fe80::1".parse()?, 64)?;
        let directory = site.directory();
        let config = directory.join("r.toml");
        fs::write(&config, CONFIG)?;
        let mut daemon = Daemon::start(Path::new(DAEMON), "r", &router, &config, directory)?;
        daemon.wait_ready()?;
        let process = daemon.process().id();
        Ok(Self {
            daemon,
            process,
            socket: directory.join("r.sock"),
            sender: Sender::open(&hosts, "eth0")?,
            router,
            _hosts: hosts,
            _site: site,
        })
    }

    /// Everybody joins: until the last route is in the kernel.
    fn joins(&self, pairs: &[Pair], groups: usize) -> Result<()> {
        let frames: Vec<_> = pairs.iter().map(Pair::frame).collect();
        let before = self.resident()?;
        let start = Instant::now();
        let mut sent = 0;
        for chunk in frames.chunks(CHUNK) {
            sent += self.sender.send_all(chunk)?;
            self.accepted(sent as u64)?;
        }
        let members = start.elapsed();
        wait::poll(LONG, AGAIN, "all routes are in the kernel", || {
            Ok((self.kernel_routes()? >= groups).then_some(()))
        })?;
        let routed = start.elapsed();
        let memory = (self.resident()? - before) as f64 / PAIRS as f64;
        println!(
            "    joins: {sent} in {members:.2?} ({:.0}k/s); {groups} routes in the kernel after \
             {routed:.2?} ({:.0}k/s); {memory:.0} octets of resident memory a pair",
            rate(sent, members),
            rate(groups, routed),
        );
        Ok(())
    }

    /// What an operator waits for.
    fn views(&self) -> Result<()> {
        let start = Instant::now();
        let members = client::members(&self.socket, None, None, client::ALL)?.len();
        let (members_took, start) = (start.elapsed(), Instant::now());
        let groups = client::groups(&self.socket, client::ALL)?.router.len();
        println!(
            "    views: {members} members in {members_took:.2?}, {groups} groups in {:.2?}",
            start.elapsed()
        );
        Ok(())
    }

    /// As many a second as are wanted, evenly.
    fn paced(&self, frames: &[Vec<u8>]) -> Result<()> {
        let each = WANTED / usize::try_from(Duration::from_secs(1).as_nanos() / STEP.as_nanos())?;
        let before = self.sample()?;
        let start = Instant::now();
        let (mut next, mut sent) = (start, 0);
        let mut chunks = frames.chunks(each).cycle();
        while start.elapsed() < SPAN {
            // A busy machine gets behind, and makes up for it.
            while Instant::now() < next {
                thread::yield_now();
            }
            sent += self.sender.send_all(chunks.next().context("frames")?)?;
            next += STEP;
        }
        let took = start.elapsed();
        self.settled()?;
        let after = self.sample()?;
        println!(
            "    paced: {sent} Reports sent at {:.0}k/s, {} refreshed, {} lost before the daemon; \
             the daemon took {:.0} % of a core",
            rate(sent, took),
            after.accepted - before.accepted,
            after.lost - before.lost,
            100.0 * (after.busy - before.busy) / took.as_secs_f64(),
        );
        Ok(())
    }

    /// As many as one core can send, XDP's work included.
    fn flat_out(&self, frames: &[Vec<u8>]) -> Result<()> {
        let before = self.sample()?;
        let over = AtomicBool::new(false);
        let start = Instant::now();
        let (sent, took, after) = thread::scope(|scope| -> Result<_> {
            let sending = scope.spawn(|| -> Result<usize> {
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    sent += self.sender.send_all(frames)?;
                }
                Ok(sent)
            });
            thread::sleep(SPAN);
            let took = start.elapsed();
            let after = self.sample();
            over.store(true, Ordering::Relaxed);
            let sent = sending.join().expect("the sender does not panic")?;
            Ok((sent, took, after?))
        })?;
        let accepted = usize::try_from(after.accepted - before.accepted)?;
        let busy = after.busy - before.busy;
        println!(
            "    flat out: {:.0}k/s sent, {:.0}k/s refreshed ({:.0}k/s a core of the daemon), {} \
             lost before the daemon",
            rate(sent, took),
            rate(accepted, took),
            rate(accepted, Duration::from_secs_f64(busy)),
            after.lost - before.lost,
        );
        self.settled()
    }

    /// Waits until so many Reports have been accepted.
    fn accepted(&self, count: u64) -> Result<()> {
        wait::poll(LONG, AGAIN, "every Report is accepted", || {
            Ok((self.sample()?.accepted >= count).then_some(()))
        })?;
        Ok(())
    }

    /// Waits until nothing is under way.
    fn settled(&self) -> Result<()> {
        let mut last = self.sample()?.accepted;
        wait::poll(LONG, 50 * AGAIN, "the ring is empty", || {
            let now = self.sample()?.accepted;
            Ok((std::mem::replace(&mut last, now) == now).then_some(()))
        })?;
        Ok(())
    }

    fn sample(&self) -> Result<Sample> {
        let (counters, busy) = common::sample(&self.socket, self.process)?;
        Ok(Sample {
            accepted: counters.controller["report_accepted"],
            lost: counters.data_plane["punt_ring_full"],
            busy,
        })
    }

    fn resident(&self) -> Result<usize> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process))?;
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: usize = line
            .and_then(|line| line.split_whitespace().next())
            .context("VmRSS")?
            .parse()?;
        Ok(1024 * kib)
    }

    /// All IPv6 routes of the router's namespace, a few of others with them.
    fn kernel_routes(&self) -> Result<usize> {
        self.router.run(|| {
            let text = fs::read_to_string("/proc/thread-self/net/rt6_stats")?;
            let entries = text.split_whitespace().nth(3).context("rt6_stats")?;
            Ok(usize::from_str_radix(entries, 16)?)
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The kernel would take its time with the routes; the namespace goes as a whole.
        let _ = self.daemon.kill();
    }
}

struct Sample {
    accepted: u64,
    lost: u64,
    /// Seconds of processor time.
    busy: f64,
}
