//! Which flows go the short way, and what ends it: a gateway whose programs send by themselves.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::Stdio,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anycast_common::abi::{
    maps::{Flow, FlowKey, trial},
    roles::CORRESPONDENT,
};
use anycast_ctl::{core::MapAction, shell::clock};
use anyhow::{Context as _, Result, anyhow, ensure};
use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use xtask::{
    kernel_tests::Suite,
    net::{netlink, wait},
};

use crate::{
    forward::{A, B, BACK, C, Gateway, NEAR, PORTS, SOON, gateway, set},
    harness::{self, Bench, Verdict},
    icmp_error::{ADDRESS, HOP, UNREACHABLE, coded, error},
    packets::{ACK, FIN, Packet, SYN, address},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("short way: of a flow that was answered", answered)
        .test("short way: not of a flow on trial", on_trial)
        .test("short way: not by what was so before a change", meanwhile)
        .test(
            "short way: an error about the care-of address ends it",
            after_error,
        )
        .test(
            "short way: the next connection on the same ports ends it",
            after_restart,
        )
}

fn in_gateway(body: impl FnOnce(&mut Bench) -> Result<()> + Send) -> Result<()> {
    on(&gateway()?, body)
}

fn on(gateway: &Gateway, body: impl FnOnce(&mut Bench) -> Result<()> + Send) -> Result<()> {
    gateway.namespace.run(|| {
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        bench.ingress = netlink::index(&gateway.namespace, "clients0")?;
        let up = netlink::index(&gateway.namespace, "up0")?;
        set(&mut bench, C)?;
        let targets = BTreeSet::from([bench.ingress, up]);
        bench
            .dataplane
            .maps()
            .set_redirect_targets(&targets, &BTreeSet::new())?;
        body(&mut bench)
    })
}

fn out(flags: u8) -> Packet {
    Packet::tcp(A, B, PORTS, flags)
}

/// To C, by XDP.
fn goes(bench: &mut Bench, packet: &Packet) -> Result<()> {
    let (verdict, frame) = bench.run(&packet.frame())?;
    ensure!(verdict == Verdict::Redirect, "{verdict:?}");
    ensure!(frame[38..54] == address(C).octets(), "{frame:x?}");
    Ok(())
}

/// A connection that C has answered.
fn connect(bench: &mut Bench) -> Result<()> {
    goes(bench, &out(SYN))?;
    let (verdict, _) = bench.run(&Packet::tcp(C, A, BACK, SYN | ACK).frame())?;
    ensure!(verdict == Verdict::Tx, "{verdict:?}");
    goes(bench, &out(ACK))
}

pub(super) fn flow(bench: &mut Bench) -> Result<(FlowKey, Flow)> {
    let flows = bench.dataplane.maps().flow_reader().flows();
    flows.into_iter().next().context("no flow")
}

/// The client was last heard before the clock began, as far as is noted: whoever asks the table notes it.
pub(super) fn unheard(bench: &mut Bench) -> Result<()> {
    let (key, flow) = flow(bench)?;
    bench.dataplane.maps().set_flow(
        &key,
        &Flow {
            last_out: 1,
            ..flow
        },
    );
    Ok(())
}

pub(super) fn is_heard(bench: &mut Bench) -> Result<bool> {
    Ok(flow(bench)?.1.last_out != 1)
}

/// For a quarter of a second, which a busy machine may miss.
fn by_short_way(bench: &mut Bench) -> Result<()> {
    wait::poll(SOON, Duration::ZERO, "a packet goes the short way", || {
        goes(bench, &out(ACK))?;
        unheard(bench)?;
        goes(bench, &out(ACK))?;
        Ok((!is_heard(bench)?).then_some(()))
    })
}

fn answered() -> Result<()> {
    in_gateway(|bench| {
        connect(bench)?;
        by_short_way(bench)?;
        for flags in [SYN, FIN | ACK] {
            unheard(bench)?;
            goes(bench, &out(flags))?;
            ensure!(is_heard(bench)?, "flags {flags} go the short way");
        }
        Ok(())
    })
}

/// Whether it is over is asked of each packet.
fn on_trial() -> Result<()> {
    in_gateway(|bench| {
        goes(bench, &out(SYN))?;
        goes(bench, &out(ACK))?;
        unheard(bench)?;
        goes(bench, &out(ACK))?;
        ensure!(is_heard(bench)?, "a flow on trial goes the short way");
        let (key, flow) = flow(bench)?;
        let ago = clock::now().before(Duration::from_nanos(2 * trial::PATIENCE));
        let tried = Flow {
            tried_at: ago.as_nanos(),
            ..flow
        };
        bench.dataplane.maps().set_flow(&key, &tried);
        let (verdict, frame) = bench.run(&out(ACK).frame())?;
        ensure!(
            verdict == Verdict::Pass && frame == out(ACK).frame(),
            "{verdict:?}"
        );
        Ok(())
    })
}

/// An answer after it contradicts it, and so the controller has to see when the client sent what.
fn after_error() -> Result<()> {
    in_gateway(|bench| {
        connect(bench)?;
        by_short_way(bench)?;
        let quoted = Packet::tcp(A, C, PORTS, ACK);
        let error = coded(ADDRESS, error(HOP, A, UNREACHABLE, &quoted));
        let (verdict, _) = bench.run(&error.frame())?;
        ensure!(verdict == Verdict::Drop, "{verdict:?}");
        unheard(bench)?;
        goes(bench, &out(ACK))?;
        ensure!(is_heard(bench)?, "its next packet was not noted");
        Ok(())
    })
}

fn after_restart() -> Result<()> {
    in_gateway(|bench| {
        connect(bench)?;
        by_short_way(bench)?;
        goes(bench, &out(FIN | ACK))?;
        bench.run(&Packet::tcp(C, A, BACK, FIN | ACK).frame())?;
        set(bench, NEAR)?;
        // The way to the next member is known to nobody: its packets are the kernel's.
        for flags in [SYN, ACK] {
            let (verdict, frame) = bench.run(&out(flags).frame())?;
            ensure!(verdict == Verdict::Pass, "{flags}: {verdict:?}");
            ensure!(
                frame[38..54] == address(NEAR).octets(),
                "{flags}: {frame:x?}"
            );
        }
        Ok(())
    })
}

/// Rules that the FIB asks one after another, so that the look-up is by far the longest part of a packet's course.
const RULES: u32 = 4000;
/// So many packets have to be on their course, behind the look at their flow, when that changes.
const HITS: u32 = 5;

/// A flow loses its pin while one of its packets is on its course. Whatever becomes of that packet, the next one goes
/// as the kernel has it: what was so before the change must not be noted as what is so after it.
fn meanwhile() -> Result<()> {
    let gateway = gateway()?;
    add_rules(&gateway)?;
    on(&gateway, |bench| {
        connect(bench)?;
        // Without it, nobody would bind the flow again.
        bench.dataplane.maps().apply(&MapAction::RemoveBinding {
            client: address(A),
            anycast: address(B),
        })?;
        let (key, pinned) = flow(bench)?;
        let (mut hits, mut tries) = (0, 0);
        wait::poll(SOON, Duration::ZERO, "changes meet packets", || {
            bench.dataplane.maps().set_flow(&key, &pinned);
            tries += 1;
            let [before, after] = unpin_meanwhile(bench, &key, tries % 8)?;
            ensure!(
                after.1 == out(ACK).frame(),
                "by the way of before: {after:x?}"
            );
            hits += u32::from(before.0 == Verdict::Redirect);
            Ok((hits == HITS).then_some(()))
        })
    })
}

fn add_rules(gateway: &Gateway) -> Result<()> {
    let rule = |number| format!("rule add pref {number} from 2001:db8:dead::/48 lookup main\n");
    let rules: String = (1..=RULES).map(rule).collect();
    let mut batch = gateway.namespace.command("ip");
    let mut batch = batch
        .args(["-6", "-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = batch.stdin.take().context("no input")?;
    input.write_all(rules.as_bytes())?;
    drop(input);
    ensure!(batch.wait()?.success(), "ip -batch failed");
    Ok(())
}

/// What becomes of a packet that is on its course when its flow loses the pin, so many eighths of the time after its
/// beginning that such a course takes; and of the next. The first is `Drop` where the change came too late for it.
fn unpin_meanwhile(
    bench: &mut Bench,
    key: &FlowKey,
    eighths: u32,
) -> Result<[(Verdict, Vec<u8>); 2]> {
    let ingress = bench.ingress;
    let program = bench.dataplane.xdp(CORRESPONDENT)?.info()?;
    let program = Xdp::from_program_info(program, "".into(), XdpAttachType::Interface)?;
    let maps = bench.dataplane.maps();
    maps.next_hops_changed()?;
    let (starts, started) = mpsc::channel();
    let (goes, go) = mpsc::channel();
    let (changes, changed) = mpsc::channel();
    thread::scope(|scope| {
        let packets = scope.spawn(move || {
            let run = || harness::xdp(&program, ingress, &out(ACK).frame());
            // The cache is that of one CPU.
            harness::stay()?;
            let start = Instant::now();
            run()?;
            starts.send(start.elapsed())?;
            go.recv()?;
            let before = run()?;
            let ended = Instant::now();
            let change: Instant = changed.recv()?;
            let before = (
                if change < ended {
                    before.0
                } else {
                    Verdict::Drop
                },
                before.1,
            );
            anyhow::Ok([before, run()?])
        });
        let took: Duration = started.recv()?;
        // It is in the cache now.
        maps.next_hops_changed()?;
        goes.send(())?;
        let start = Instant::now();
        while start.elapsed() < took * eighths / 8 {
            std::hint::spin_loop();
        }
        maps.remove_flow(key)?;
        changes.send(Instant::now())?;
        packets.join().map_err(|_| anyhow!("a packet panicked"))?
    })
}
