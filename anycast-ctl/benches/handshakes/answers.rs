//! Test Inits: how many the programs answer, and how many a daemon, which gets those that are not as members send them.

use std::{collections::BTreeSet, time::Duration};

use anycast_common::{
    abi::roles::CORRESPONDENT,
    wire::{checksum, ipv6},
};
use anycast_ctl::{
    core::{
        MapAction,
        rr::{Kcn, NodeKey, Nonce},
    },
    shell::{
        clock,
        dataplane::{Dataplane, Limits, OBJECT, Settings},
    },
};
use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, Pod,
    maps::{Array, ProgramArray},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use xtask::net::{Sender, Site, netlink, wait};

use super::{
    c,
    common::{median, rate, timed},
    constants::{FAR, NEAR, REDIRECT, TX},
    ends::{B, CLIENTS, client},
    gateway::Gateway,
    packets::address,
    path::{AGAIN, LONG, Node, WINDOW, cables},
    report,
};

pub(super) const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/handshakes/leader.c");
pub(super) const LEADER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/leader.bpf.o");
/// Runs of a program at a time, and how often.
const REPEAT: u32 = 200_000;
const ROUNDS: usize = 15;
/// What the daemon answers.
const COUNT: usize = 100_000;
/// MH types.
pub(super) const HOME_TEST_INIT: u8 = 1;
const CARE_OF_TEST_INIT: u8 = 2;
/// Six octets of padding as an option (RFC 6275 section 6.2.3), and two as two.
const PADDING: [u8; 8] = [1, 4, 0, 0, 0, 0, 0, 0];

pub fn run() -> Result<()> {
    let programs = programs()?;
    let daemon = daemon()?;
    let ratio = report::note("Tests by programs, to a daemon's", vec![programs / daemon]);
    println!("  the programs answer {ratio:.1} x as many as a core of the daemon");
    Ok(())
}

/// Thousands of answers a second of a core, in the slowest case.
fn programs() -> Result<f64> {
    println!("answers: Test Inits, each of another client, in XDP; medians, on one core");
    let object = c::compile(SOURCE, LEADER, &[])?;
    let gateway = Gateway::new()?;
    gateway.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let _guard = runtime.enter();
        let mut dataplane = Dataplane::load(
            OBJECT,
            Settings {
                roles: CORRESPONDENT,
                require_router_alert: true,
                limits: Limits::NONE,
                sizes: Default::default(),
            },
        )?;
        let maps = dataplane.maps();
        maps.set_client_prefixes(&[CLIENTS.parse()?])?;
        maps.set_anycast_prefixes(&[])?;
        let targets = BTreeSet::from([gateway.inside, gateway.outside]);
        maps.set_redirect_targets(&targets, &BTreeSet::new())?;
        let until = clock::now() + Duration::from_hours(1);
        // Its routes and rules are plain, which the daemon would say each second.
        maps.vouch_for_routes(Some(until))?;
        let key = NodeKey::new(&Kcn::from([7; 20]), &Nonce::from([9; 8]), 1, until);
        maps.apply(&MapAction::SetNodeKey(key))?;
        let mut leader = Ebpf::load(&object)?;
        lead(&mut leader, &mut dataplane)?;
        let cases = [
            ("Home Test, TX", NEAR, HOME_TEST_INIT, TX),
            ("Home Test, REDIRECT", FAR, HOME_TEST_INIT, REDIRECT),
            ("Care-of Test, TX", NEAR, CARE_OF_TEST_INIT, TX),
            ("Care-of Test, REDIRECT", FAR, CARE_OF_TEST_INIT, REDIRECT),
        ];
        let mut times = vec![Vec::new(); cases.len()];
        for _ in 0..ROUNDS {
            for ((name, source, mh_type, verdict), times) in cases.iter().zip(&mut times) {
                let last = client(0xffff_ffff);
                let mut frame = [&[0; 12][..], &[0x86, 0xdd]].concat();
                frame.extend(init(address(source), last, *mh_type, &[]));
                times.push(once(&mut leader, &gateway, &frame, *verdict).context(*name)?);
            }
        }
        let mut slowest = f64::MAX;
        let mut of_slowest = Vec::new();
        for ((name, ..), times) in cases.iter().zip(times) {
            let each = median(times.clone());
            let thousands = rate(1, each);
            println!("  {name}: {} ns, {thousands:.0}k/s", each.as_nanos());
            if thousands < slowest {
                slowest = thousands;
                of_slowest = times;
            }
        }
        let millions = of_slowest.iter().map(|time| rate(1, *time) / 1e3);
        report::note("Tests by programs", millions.collect());
        Ok(slowest)
    })
}

/// The frame that the leader makes others of.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Image([u8; 80]);

impl Image {
    /// Of a frame, which may be sent by an interface.
    pub(super) fn new(frame: &[u8], ifindex: u32) -> Self {
        let mut image = Self([0; 80]);
        image.0[..frame.len()].copy_from_slice(frame);
        image.0[76..].copy_from_slice(&ifindex.to_ne_bytes());
        image
    }
}

// SAFETY: plain octets.
unsafe impl Pod for Image {}

fn lead(leader: &mut Ebpf, dataplane: &mut Dataplane) -> Result<()> {
    xdp(leader)?.load()?;
    let program = dataplane.xdp(CORRESPONDENT)?.fd()?.try_clone()?;
    let next = leader.map_mut("next").context("next")?;
    Ok(ProgramArray::try_from(next)?.set(0, &program, 0)?)
}

fn xdp(leader: &mut Ebpf) -> Result<&mut Xdp> {
    let program = leader.program_mut("test_inits").context("test_inits")?;
    Ok(program.try_into()?)
}

/// The time of each run.
fn once(leader: &mut Ebpf, gateway: &Gateway, frame: &[u8], verdict: u32) -> Result<Duration> {
    let image = Image::new(frame, 0);
    let pristine = leader.map_mut("pristine").context("pristine")?;
    Array::<_, Image>::try_from(pristine)?.set(0, image, 0)?;
    let context = gateway.context(frame)?;
    let program = xdp(leader)?;
    let mut result = None;
    let time = timed(|| {
        result = Some(program.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: REPEAT,
            ..TestRunOptions::default()
        }));
    });
    let action = result.context("it ran")??.return_value;
    ensure!(action == verdict, "XDP action {action}, not {verdict}");
    Ok(time / REPEAT)
}

/// A Test Init, whose cookie ends with zeros.
pub(super) fn init(
    source: std::net::Ipv6Addr,
    client: std::net::Ipv6Addr,
    mh_type: u8,
    options: &[u8],
) -> Vec<u8> {
    let length = 16 + options.len();
    let mut packet = vec![0; 40 + 16];
    packet.extend(options);
    ipv6::header(&mut packet, source, client, 135, 64, length).unwrap();
    packet[40..43].copy_from_slice(&[59, u8::try_from(length / 8 - 1).unwrap(), mh_type]);
    packet[48..52].copy_from_slice(&[1, 2, 3, 4]);
    let sum = checksum::transport(&source.octets(), &client.octets(), 135, &packet[40..]);
    packet[44..46].copy_from_slice(&sum.to_ne_bytes());
    packet
}

/// Thousands of answers of a second of the daemon's processor time.
fn daemon() -> Result<f64> {
    xtask::net::bpffs::private()?;
    let site = Site::claim("aca")?;
    let clients = site.namespace("c")?;
    let (gateway_side, member_side) = (site.namespace("g")?, site.namespace("m")?);
    cables(&clients, &gateway_side, &member_side)?;
    let config = format!(
        r#"
[correspondent]
interfaces = ["up0"]
client_prefixes = ["{CLIENTS}"]
allow = ["{B}/128"]

[correspondent.limits]
client_rate = 4000000
prefix_rate = 4000000
rate = 4000000
unsolicited_rate = 4000000
"#
    );
    let node = Node::start("a", &gateway_side, &config, site.directory())?;
    let sender = Sender::open(&member_side, "eth0")?;
    let ends = [
        netlink::mac(&gateway_side, "up0")?,
        netlink::mac(&member_side, "eth0")?,
    ];
    let frames: Vec<_> = (0..COUNT)
        .map(|number| {
            let mut frame = ends.concat();
            frame.extend([0x86, 0xdd]);
            frame.extend(init(B, client(number), HOME_TEST_INIT, &PADDING));
            frame
        })
        .collect();
    let (before, mut sent) = (node.busy()?, 0);
    for chunk in frames.chunks(WINDOW) {
        sent += sender.send_all(chunk)?;
        wait::poll(LONG, AGAIN, "most of them are answered", || {
            let answered = node.controller("home_test_sent")?;
            Ok((answered + WINDOW / 2 >= sent).then_some(()))
        })?;
    }
    let answered = node.controller("home_test_sent")?;
    let busy = Duration::from_secs_f64(node.busy()? - before);
    let thousands = rate(answered, busy);
    println!("  a core of the daemon: {thousands:.1}k/s");
    Ok(thousands)
}
