//! The short way at TCX, where the kernel forwards: on the way in, and on the way out.

use std::time::Duration;

use anycast_common::abi::maps::Flow;
use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{Namespace, netlink, wait},
};

use crate::{
    forward::{A, B, BACK, C, PORTS, ROUTER, SOON, gateway},
    harness::{self, Bench, Hook, Verdict},
    packets::{ACK, FIN, Packet, SYN, TCP, address},
    short_way::{flow, is_heard, unheard},
    short_way_open::bind_unseen,
    tcx::{OTHER_ROUTER, bench, leaving, to},
    traffic,
};

/// That of a route for which none is said.
const METRIC: u32 = 1024;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("short way at TCX: in both directions, TCP and UDP", goes)
        .test("short way at TCX: what does not go by it", long)
        .test("short way at TCX: a route to B that ends", unrouted)
        .test("short way at TCX: of flows that are not bound", passing)
}

fn out() -> Packet {
    Packet::tcp(A, B, PORTS, ACK)
}

/// What a gateway with a way to B by the router does, packet by packet.
struct Course<'a> {
    bench: Bench,
    namespace: &'a Namespace,
    clients: u32,
    up: u32,
    /// Packets and octets that were changed: to the member, and to the client.
    sums: [(u64, u64); 2],
}

/// A course of which the cache of one CPU is.
fn on(body: impl FnOnce(&mut Course<'_>) -> Result<()> + Send) -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        harness::stay()?;
        let namespace = &gateway.namespace;
        to_b(namespace)?;
        body(&mut Course {
            bench: bench(&gateway, Hook::Tcx, "clients0")?,
            namespace,
            clients: netlink::index(namespace, "clients0")?,
            up: netlink::index(namespace, "up0")?,
            sums: Default::default(),
        })
    })
}

fn to_b(namespace: &Namespace) -> Result<()> {
    netlink::route(namespace, address(B), 128, address("2001:db8:ff::1"), "up0")
}

impl Course<'_> {
    /// Where it comes in.
    fn comes(&mut self, ingress: u32, packet: &Packet) -> Result<Vec<u8>> {
        let bench = &mut self.bench;
        (bench.hook, bench.ends) = (Hook::Tcx, true);
        (bench.ingress, bench.arrived) = (ingress, 0);
        let (verdict, frame) = bench.run(&packet.frame())?;
        ensure!(verdict == Verdict::Pass, "{verdict:?}");
        Ok(frame)
    }

    /// Where it leaves to the servers.
    fn leaves(&mut self, frame: &[u8], arrived: u32) -> Result<(Verdict, Vec<u8>)> {
        let bench = &mut self.bench;
        (bench.hook, bench.ingress, bench.arrived) = (Hook::TcxOut, self.up, arrived);
        bench.run(frame)
    }

    /// From the client to C, as the kernel forwards it.
    fn forwarded(&mut self, packet: &Packet) -> Result<()> {
        let came = self.comes(self.clients, packet)?;
        ensure!(came == packet.frame(), "changed before the filters");
        let (verdict, frame) = self.leaves(&leaving(packet, ROUTER), self.clients)?;
        ensure!(verdict == Verdict::Pass, "{verdict:?}");
        ensure!(frame == leaving(&to(C, packet), ROUTER), "{frame:x?}");
        traffic::note(&mut self.sums[0], packet);
        Ok(())
    }

    /// From C to the client.
    fn answered(&mut self, packet: &Packet) -> Result<()> {
        let frame = self.comes(self.up, packet)?;
        let from_b = packet.clone().with(|p| p.source = address(B));
        ensure!(frame == from_b.frame(), "{frame:x?}");
        traffic::note(&mut self.sums[1], packet);
        Ok(())
    }

    /// A connection that C has answered.
    fn connect(&mut self) -> Result<()> {
        self.forwarded(&Packet::tcp(A, B, PORTS, SYN))?;
        self.answered(&Packet::tcp(C, A, BACK, SYN | ACK))
    }

    /// Whether a client's packet passes as it is, where it comes in and where it leaves.
    fn passes(&mut self, packet: &Packet) -> Result<[bool; 2]> {
        let came = self.comes(self.clients, packet)? == packet.frame();
        let frame = leaving(packet, ROUTER);
        let (_, left) = self.leaves(&frame, self.clients)?;
        Ok([came, left == frame])
    }

    /// Whether the packet goes out by the short way.
    fn is_short(&mut self, packet: &Packet) -> Result<bool> {
        unheard(&mut self.bench)?;
        self.forwarded(packet)?;
        Ok(!is_heard(&mut self.bench)?)
    }

    fn counts(&mut self) -> Result<[u64; 4]> {
        let counters = self.bench.counters()?;
        Ok([
            "correspondent_to_care_of",
            "correspondent_from_care_of",
            "forwarded_by_kernel",
            "forwarded",
        ]
        .map(|name| counters[name]))
    }
}

fn goes() -> Result<()> {
    let tcp = |from, to, ports, flags| Packet::tcp(from, to, ports, flags);
    for (opens, answers, out, back) in [
        (
            tcp(A, B, PORTS, SYN),
            tcp(C, A, BACK, SYN | ACK),
            tcp(A, B, PORTS, ACK).numbered(2, 3, b"an odd size"),
            tcp(C, A, BACK, ACK).numbered(3, 4, b"an answer"),
        ),
        (
            Packet::udp(A, B, PORTS, b"query"),
            Packet::udp(C, A, BACK, b"answer"),
            Packet::udp(A, B, PORTS, b"another query"),
            Packet::udp(C, A, BACK, b"another answer"),
        ),
    ] {
        on(|course| {
            course.forwarded(&opens)?;
            course.answered(&answers)?;
            let before = course.counts()?;
            let mut rounds = 0;
            wait::poll(SOON, Duration::ZERO, "the short way", || {
                rounds += 1;
                course.forwarded(&out)?;
                course.answered(&back)?;
                let (key, known) = flow(&mut course.bench)?;
                let unheard = Flow {
                    last_out: 1,
                    last_in: 1,
                    ..known
                };
                course.bench.dataplane.maps().set_flow(&key, &unheard);
                course.forwarded(&out)?;
                course.answered(&back)?;
                let (_, known) = flow(&mut course.bench)?;
                Ok(((known.last_out, known.last_in) == (1, 1)).then_some(()))
            })?;
            let after = course.counts()?;
            let packets = 2 * rounds;
            let expected = [packets, packets, 2 * packets, 0];
            for ((before, after), expected) in before.iter().zip(after).zip(expected) {
                ensure!(
                    after - before == expected,
                    "{before} and {after} after {rounds}"
                );
            }
            let sums = traffic::counted(&mut course.bench, B, C)?;
            ensure!(sums == course.sums, "{sums:?}, sent {:?}", course.sums);
            Ok(())
        })?;
    }
    Ok(())
}

/// Gives the frame to the way out, and says whether it was looked at closely.
fn closely(course: &mut Course<'_>, frame: &[u8], arrived: u32, verdict: Verdict) -> Result<bool> {
    unheard(&mut course.bench)?;
    let (found, _) = course.leaves(frame, arrived)?;
    ensure!(found == verdict, "{found:?}, not {verdict:?}");
    is_heard(&mut course.bench)
}

/// The same with a packet of more than the MTU that was merged of segments with so many octets of data.
fn merged(course: &mut Course<'_>, segment: u32, verdict: Verdict) -> Result<bool> {
    let long = Packet::tcp(A, B, PORTS, ACK).with(|p| p.payload.resize(3000, 7));
    course.bench.segment = segment;
    let heard = closely(course, &leaving(&long, ROUTER), course.clients, verdict);
    course.bench.segment = 0;
    heard
}

/// Each beside a packet that goes the short way.
fn long() -> Result<()> {
    type Sends = fn(&mut Course<'_>) -> Result<bool>;
    let cases: [(&str, Sends); 7] = [
        ("of this host itself", |course| {
            closely(course, &leaving(&out(), ROUTER), 0, Verdict::Pass)
        }),
        ("to another router", |course| {
            let frame = leaving(&out(), OTHER_ROUTER);
            closely(course, &frame, course.clients, Verdict::Redirect)
        }),
        ("too big", |course| merged(course, 0, Verdict::Redirect)),
        ("of segments that are too big", |course| {
            merged(course, 1441, Verdict::Redirect)
        }),
        ("the same, with no length in the header", |course| {
            let long = Packet::tcp(A, B, PORTS, ACK).with(|p| p.payload.resize(3000, 7));
            let mut frame = leaving(&long, ROUTER);
            frame[18..20].fill(0);
            course.bench.segment = 1441;
            let heard = closely(course, &frame, course.clients, Verdict::Redirect);
            course.bench.segment = 0;
            heard
        }),
        ("of another traffic class", |course| {
            let mut frame = leaving(&out(), ROUTER);
            frame[14] |= 2;
            closely(course, &frame, course.clients, Verdict::Pass)
        }),
        ("after a FIN", |course| {
            course.forwarded(&Packet::tcp(A, B, PORTS, FIN | ACK))?;
            Ok(!course.is_short(&out())?)
        }),
    ];
    on(|course| {
        course.connect()?;
        for (name, is_long) in cases {
            wait::poll(SOON, Duration::ZERO, "the short way beside it", || {
                course.bench.dataplane.maps().next_hops_changed()?;
                course.forwarded(&out())?;
                ensure!(is_long(course)?, "{name}");
                course.forwarded(&out())?;
                Ok(course.is_short(&out())?.then_some(()))
            })?;
        }
        wait::poll(SOON, Duration::ZERO, "segments that fit go by it", || {
            course.forwarded(&out())?;
            Ok((!merged(course, 1440, Verdict::Pass)?).then_some(()))
        })
    })
}

/// Where nothing is done to a packet on its way in: until the daemon says that routes have changed, or for a quarter of
/// a second.
fn unrouted() -> Result<()> {
    on(|course| {
        course.connect()?;
        let out = out();
        let to_c = to(C, &out).frame();
        wait::poll(SOON, Duration::ZERO, "a packet in the meantime", || {
            course.bench.dataplane.maps().next_hops_changed()?;
            course.forwarded(&out)?;
            netlink::remove_route(course.namespace, (address(B), 128), METRIC)?;
            let meanwhile = course.comes(course.clients, &out)?;
            course.bench.dataplane.maps().next_hops_changed()?;
            let after = course.comes(course.clients, &out)?;
            ensure!(after == to_c, "nobody has a way to B: {after:x?}");
            to_b(course.namespace)?;
            Ok((meanwhile == out.frame()).then_some(()))
        })
    })
}

/// A segment in mid-stream, of which the table may say what it likes for a quarter of a second. Control: what is said
/// afterwards.
fn passing() -> Result<()> {
    on(|course| {
        let out = out();
        wait::poll(
            SOON,
            Duration::ZERO,
            "a packet passes by the short way",
            || {
                let [_, before] = course.passes(&out)?;
                ensure!(before, "it does not go to B");
                bind_unseen(&mut course.bench, &out, TCP);
                let short = course.passes(&out)?;
                course.bench.dataplane.maps().next_hops_changed()?;
                let [came, left] = course.passes(&out)?;
                ensure!(came && !left, "came {came}, left {left}");
                let (key, _) = flow(&mut course.bench)?;
                course.bench.dataplane.maps().remove_flow(&key)?;
                Ok((short == [true; 2]).then_some(()))
            },
        )
    })
}
