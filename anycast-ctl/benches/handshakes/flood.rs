//! Honest handshakes beside a flood of Home Test Inits, as many as one CPU makes and the gateway's programs take, to
//! clients at random, with the limits that there are by default.

use std::{
    net::{Ipv6Addr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::Array,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
};
use xtask::net::{Pass, Sender, Site, netlink};

use super::{
    answers::{HOME_TEST_INIT, Image, LEADER, SOURCE, init},
    c,
    ends::{B, C, client},
    path::{Node, PORT, cables, frame, gateway, member},
    report,
};

/// Handshakes a second, for so long.
const HONEST: usize = 1000;
const SECONDS: usize = 10;
/// They begin in steps.
const STEP: Duration = Duration::from_millis(10);
/// For the last ones; Test Inits that are lost are sent again after a second.
const END: Duration = Duration::from_secs(2);
/// The attacker's address, which may bind as well as the member's.
const ATTACKER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xbad);
/// Frames that the kernel makes at once, and of one system call.
const BATCH: u32 = 64;
const REPEAT: u32 = 1 << 16;

pub fn run() -> Result<()> {
    xtask::net::bpffs::private()?;
    println!(
        "flood: {HONEST} handshakes a second for {SECONDS} s between two daemons with default limits, and Home Test \
         Inits of an attacker behind the member's link"
    );
    for is_flooded in [false, true] {
        let (bound, sent, seconds) = once(is_flooded)?;
        let all = HONEST * SECONDS;
        let part = bound as f64 / all as f64;
        let millions = sent as f64 / seconds / 1e6;
        println!(
            "  {bound} of {all} bound ({:.2} %), beside {millions:.2} million Home Test Inits a second",
            part * 100.0
        );
        if is_flooded {
            report::note("honest handshakes in a flood", vec![part]);
        }
    }
    Ok(())
}

/// How many handshakes come to their end, and how many Test Inits were sent in how many seconds.
fn once(is_flooded: bool) -> Result<(usize, u64, f64)> {
    let site = Site::claim("acf")?;
    let clients = site.namespace("c")?;
    let (gateway_side, member_side) = (site.namespace("g")?, site.namespace("m")?);
    cables(&clients, &gateway_side, &member_side)?;
    let _pass = Pass::attach(&clients, "eth0")?;
    let service = member_side.run(|| Ok(UdpSocket::bind((B, PORT))?))?;
    let allow = format!("allow = [\"{B}/128\", \"{ATTACKER}/128\"]");
    let (settings, _) = gateway();
    let settings = settings.replace(&format!("allow = [\"{B}/128\"]"), &allow);
    let gateway = Node::start("g", &gateway_side, &settings, site.directory())?;
    let member = Node::start("m", &member_side, &member(), site.directory())?;
    let macs = [
        netlink::mac(&gateway_side, "up0")?,
        netlink::mac(&member_side, "eth0")?,
    ];
    // Answers to the attacker leave by the same link.
    netlink::neighbour(&gateway_side, "up0", ATTACKER, macs[1])?;
    netlink::route(&gateway_side, ATTACKER, 128, C, "up0")?;
    let sender = Sender::open(&clients, "eth0")?;
    let (ends, sent) = (AtomicBool::new(!is_flooded), AtomicU64::new(0));
    let out = netlink::index(&member_side, "eth0")?;
    let start = Instant::now();
    let bound = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            member_side.run(|| {
                let mut frame = macs.concat();
                frame.extend([0x86, 0xdd]);
                frame.extend(init(ATTACKER, client(0xffff_ffff), HOME_TEST_INIT, &[]));
                let mut flood = Flood::new(&frame, out)?;
                while !ends.load(Ordering::Relaxed) {
                    flood.send(&frame)?;
                    sent.fetch_add(REPEAT.into(), Ordering::Relaxed);
                }
                Ok(())
            })
        });
        let honest = || -> Result<usize> {
            let per_step = HONEST * STEP.as_millis() as usize / 1000;
            let numbers: Vec<_> = (0..HONEST * SECONDS).collect();
            let mut due = Instant::now();
            for numbers in numbers.chunks(per_step) {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                due += STEP;
                let frames = numbers.iter().map(|number| frame(client(*number), PORT));
                sender.send_all(&frames.collect::<Vec<_>>())?;
            }
            thread::sleep(END);
            member.bound()
        };
        let bound = honest();
        ends.store(true, Ordering::Relaxed);
        flood.join().unwrap()?;
        bound
    })?;
    let seconds = start.elapsed().as_secs_f64();
    drop((service, gateway));
    Ok((bound, sent.into_inner(), seconds))
}

/// Makes Home Test Inits and sends them by an interface of this namespace.
struct Flood(Ebpf);

impl Flood {
    fn new(frame: &[u8], ifindex: u32) -> Result<Self> {
        let mut ebpf = Ebpf::load(&c::compile(SOURCE, LEADER, &[])?)?;
        let pristine = ebpf.map_mut("pristine").context("pristine")?;
        Array::<_, Image>::try_from(pristine)?.set(0, Image::new(frame, ifindex), 0)?;
        program(&mut ebpf)?.load()?;
        Ok(Self(ebpf))
    }

    fn send(&mut self, frame: &[u8]) -> Result<()> {
        program(&mut self.0)?.test_run(TestRunOptions {
            data_in: Some(frame),
            repeat: REPEAT,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        })?;
        Ok(())
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf.program_mut("flood").context("flood")?;
    Ok(program.try_into()?)
}
