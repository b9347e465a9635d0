//! A router whose link loses its carrier for a moment.

use std::{
    collections::BTreeMap,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xtask::net::{
    Pace,
    netlink::{self, End},
    prepare, sysctl, wait,
};

use super::bed::{B, Bed, SOON, in_bed, ip, link_local, routed, router};

/// An address of the same member, with a route that an administrator wrote: the control.
const X: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0x11);
/// Time between two packets to an address.
const BEAT: Duration = Duration::from_millis(10);
/// How much longer the way to B may be closed than that to X. It needs two look-ups and a route more.
const SLACK: Duration = Duration::from_millis(400);
/// On a busy machine the daemon may be late now and then. One that is late each time waits for something.
const TRIES: usize = 3;

/// When packets arrived at the member, by port.
type Arrivals = Arc<Mutex<BTreeMap<u16, Vec<Instant>>>>;

/// Packets that go to both addresses until this is dropped.
struct Stream {
    stop: Arc<AtomicBool>,
    arrivals: Arrivals,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has left no arrivals, which the test sees.
            let _ = thread.join();
        }
    }
}

impl Stream {
    /// From behind the router to its member.
    fn start(bed: &Bed) -> Result<Self> {
        let up = bed.site.namespace("up")?;
        prepare(&up)?;
        let first = &bed.node("r1")?.namespace;
        let end = |namespace, name| End {
            namespace,
            name,
            mac: None,
        };
        netlink::veth(end(&up, "eth0"), end(first, "up0"))?;
        netlink::connect(end(&up, "eth0"), end(first, "up0"))?;
        netlink::address(&up, "eth0", link_local(0x99), 64)?;
        netlink::address(&up, "eth0", "2001:db8:1::1".parse()?, 64)?;
        netlink::address(first, "up0", link_local(0x98), 64)?;
        ip(&up, "-6 route add default via fe80::98 dev eth0")?;
        let (stop, arrivals) = (Arc::new(AtomicBool::new(false)), Arrivals::default());
        let mut threads = Vec::new();
        for (address, port) in [(B, 4000), (X, 4001)] {
            let member = &bed.node("m1")?.namespace;
            let receiver = member.run(|| Ok(UdpSocket::bind(("::", port))?))?;
            receiver.set_read_timeout(Some(BEAT))?;
            let sender = up.run(|| Ok(UdpSocket::bind("[::]:0")?))?;
            sender.set_nonblocking(true)?;
            let (ended, seen) = (stop.clone(), arrivals.clone());
            let pace = Pace::every(BEAT)?;
            threads.push(thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    // Where there is no way just now, the next one tries again.
                    let _ = sender.send_to(b"?", SocketAddr::from((address, port)));
                    if pace.beat().is_err() {
                        break;
                    }
                }
            }));
            let ended = stop.clone();
            threads.push(thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    if receiver.recv(&mut [0]).is_ok() {
                        let mut seen = seen.lock().expect("no thread panicked");
                        seen.entry(port).or_default().push(Instant::now());
                    }
                }
            }));
        }
        Ok(Self {
            stop,
            arrivals,
            threads,
        })
    }

    /// Waits until both ways are open after `since`, and gives for how long each was closed at most: B's and X's.
    fn gaps(&self, since: Instant) -> Result<[Duration; 2]> {
        let open = |arrivals: &[Instant]| arrivals.iter().filter(|at| **at > since).count() > 20;
        wait::poll(SOON, BEAT, "packets to both addresses", || {
            let arrivals = self.arrivals.lock().expect("no thread panicked");
            let all = [4000, 4001].map(|port| arrivals.get(&port).is_some_and(|all| open(all)));
            Ok((all == [true; 2]).then_some(()))
        })?;
        let mut arrivals = self.arrivals.lock().expect("no thread panicked");
        let longest = |all: &mut Vec<Instant>| {
            let gaps = all.windows(2).map(|pair| pair[1] - pair[0]);
            let longest = gaps.max().unwrap_or_default();
            // The next gap begins with the last of these.
            all.drain(..all.len().saturating_sub(1));
            longest
        };
        Ok([4000, 4001].map(|port| longest(arrivals.entry(port).or_default())))
    }
}

pub fn lost_for_a_moment() -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11)])?;
        bed.ip("m1", &format!("address add {X}/128 dev lo"))?;
        bed.ip("r1", &format!("-6 route add {X} via fe80::11 dev eth0"))?;
        sysctl::set(&bed.lan, &[("ipv6/conf/all/disable_ipv6", "1")])?;
        let stream = Stream::start(bed)?;
        for settings in ["resilient = \"auto\"", "resilient = \"never\""] {
            bed.start("r1", &router(settings))?;
            bed.start_members(&["m1"])?;
            routed(&bed.monitor("r1")?, SOON, &[0x11])?;
            for away in [200, 500].map(Duration::from_millis) {
                let mut seen = Vec::new();
                let soon = |[ours, control]: &[Duration; 2]| *ours <= *control + SLACK;
                while !seen.last().is_some_and(soon) {
                    ensure!(seen.len() < TRIES, "{settings}: B and control: {seen:?}");
                    stream.gaps(Instant::now())?;
                    ip(&bed.lan, "link set r1 down")?;
                    // What is tested is a carrier that is away for this long.
                    Pace::every(away)?.beat()?;
                    ip(&bed.lan, "link set r1 up")?;
                    let gaps = stream.gaps(Instant::now())?;
                    ensure!(gaps[1] >= away, "the carrier was away: {gaps:?}");
                    seen.push(gaps);
                }
                println!("{settings}, carrier away for {away:?}: B and control {seen:?}");
            }
            let words = bed.daemon("r1")?.tail(1000).join("\n");
            for wrong in ["cannot read", "refused a route"] {
                ensure!(!words.contains(wrong), "{wrong}: {words}");
            }
            let left = bed.daemon("r1")?.list("members")?;
            ensure!(left.len() == 1, "{left:?}");
            ensure!(bed.daemon_mut("m1")?.end()?.success(), "m1 ends in order");
            routed(&bed.monitor("r1")?, SOON, &[]).context("m1 has said Done")?;
        }
        Ok(())
    })
}
