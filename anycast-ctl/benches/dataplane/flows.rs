//! Packets of flows: bound to a member, and open.

use anycast_common::abi::roles::CORRESPONDENT;
use anycast_ctl::{
    core::{MapAction, Time},
    shell::dataplane::Dataplane,
};
use anyhow::{Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions};

use crate::{
    anchors::Object,
    bed::{Bed, Behind, Case},
    constants::{A, B, FAR, FLOWS, NEAR, PASS, PORTS, REDIRECT, TX},
    cpus::Pair,
    packets::{ACK, Packet, SYN, address},
};

/// Another client than the one whose packets are measured.
const OTHER: &str = "2001:db8:1::200";

/// Ports of the flows of the cases with many, as the leader chooses them.
pub fn ports() -> impl Iterator<Item = (u16, u16)> + Clone {
    (0..FLOWS).map(|number| (PORTS.0 ^ number, PORTS.1))
}

/// Flows that their member has answered, and new ones.
pub fn pinned(bed: &Bed, object: &Object) -> Result<Vec<Case>> {
    let out = Packet::tcp(A, B, PORTS, ACK).frame();
    let opening = Packet::tcp(A, B, PORTS, SYN).frame();
    let back = Packet::tcp(NEAR, A, (PORTS.1, PORTS.0), ACK).frame();
    let query = Packet::udp(A, B, PORTS, b"a query, as long as a segment").frame();
    let led = |name: &str, leader: &'static str, frame: &[u8], care_of, verdict| {
        let behind = known(bed, leader, frame == query, care_of)?;
        bed.led(name, object.load(leader)?, frame, behind, verdict)
    };
    let many = |name: &str, care_of, verdict| led(name, "many_flows", &out, care_of, verdict);
    let hot =
        |name: &str, frame: &[u8], care_of, verdict| led(name, "one_flow", frame, care_of, verdict);
    let new = |name: &str, frame: &[u8]| led(name, "new_flows", frame, NEAR, TX);
    Ok(vec![
        hot("pinned to C, TX, hot", &out, NEAR, TX)?,
        many("pinned to C, TX, 32,768 flows", NEAR, TX)?,
        hot("pinned to C, REDIRECT, hot", &out, FAR, REDIRECT)?,
        many("pinned to C, REDIRECT, 32,768 flows", FAR, REDIRECT)?,
        hot("pinned from C, TX, hot", &back, NEAR, TX)?,
        hot("pinned to C, UDP, hot", &query, NEAR, TX)?,
        new("pinned to C, TX, SYN, new flows", &opening)?,
        new("pinned to C, TX, UDP, new flows", &query)?,
    ])
}

/// The same for two CPUs, each with flows of its own, and with it the program in C that they are compared with.
pub fn pairs(bed: &Bed, object: &Object) -> Result<Vec<Pair>> {
    let opening = Packet::tcp(A, B, PORTS, SYN).frame();
    let query = Packet::udp(A, B, PORTS, b"a query, as long as a segment").frame();
    let segments = ports()
        .take(2)
        .map(|ports| Packet::tcp(A, B, ports, ACK).frame());
    let segments: Vec<_> = segments.collect();
    let segments = [&*segments[0], &*segments[1]];
    let pair = |name: &str, leader, frames: [&[u8]; 2], behind: Behind| {
        let case = |start, frame, behind| {
            let mut leader = object.load(leader)?;
            leader.begin_at(start)?;
            bed.led(name, leader, frame, behind, TX)
        };
        let same = behind.same()?;
        // One begins half way round from the other.
        let cases = [case(0, frames[0], behind)?, case(1 << 31, frames[1], same)?];
        let name = name.to_owned();
        anyhow::Ok(Pair { name, cases })
    };
    let ours = |name: &str, leader: &'static str, frames: [&[u8]; 2]| {
        let behind = known(bed, leader, frames[0] == query, NEAR)?;
        pair(name, leader, frames, behind)
    };
    let tight = |name: &str, leader: &'static str| {
        let mut tight = object.load("tight")?;
        tight.learn(ports().map(|ports| Packet::tcp(A, B, ports, ACK).frame()))?;
        pair(name, leader, segments, Behind::anchor(&mut tight)?)
    };
    Ok(vec![
        tight("TIGHT, hot", "one_flow")?,
        tight("TIGHT, 32,768 flows", "many_flows")?,
        ours("pinned to C, TX, hot", "one_flow", segments)?,
        ours("pinned to C, TX, 32,768 flows", "many_flows", segments)?,
        ours(
            "pinned to C, TX, SYN, new flows",
            "new_flows",
            [&opening; 2],
        )?,
        ours("pinned to C, TX, UDP, new flows", "new_flows", [&query; 2])?,
    ])
}

/// A correspondent that knows the flows of this leader, each answered by its member.
fn known(bed: &Bed, leader: &str, is_udp: bool, care_of: &str) -> Result<Behind> {
    let mut dataplane = bound(bed, A, care_of)?;
    let known = match leader {
        "many_flows" => FLOWS,
        // One for each CPU.
        "one_flow" => 2,
        _ => 0,
    };
    for ports in ports().take(known.into()) {
        let back = (ports.1, ports.0);
        let (first, answer) = if is_udp {
            (
                Packet::udp(A, B, ports, b"query"),
                Packet::udp(care_of, A, back, b"answer"),
            )
        } else {
            (
                Packet::tcp(A, B, ports, SYN),
                Packet::tcp(care_of, A, back, SYN | ACK),
            )
        };
        answered(&mut dataplane, bed, &first, &answer)?;
    }
    Behind::correspondent(dataplane)
}

/// Flows that go to B while somebody is bound to it.
pub fn open(bed: &Bed) -> Result<Vec<Case>> {
    let segment = Packet::tcp(A, B, PORTS, ACK);
    let datagram = Packet::udp(A, B, PORTS, b"a query, as long as a segment");
    let back = Packet::tcp(B, A, (PORTS.1, PORTS.0), ACK);
    let case = |name: &str, packet: &Packet, is_bound: bool| {
        let mut dataplane = bound(bed, OTHER, NEAR)?;
        run(&mut dataplane, bed, packet, PASS)?;
        if is_bound {
            bind(&mut dataplane, A, NEAR)?;
        }
        bed.prepared(name, dataplane, packet, PASS)
    };
    Ok(vec![
        case("open TCP, client not bound", &segment, false)?,
        case("open UDP, client not bound", &datagram, false)?,
        case("open TCP, client bound", &segment, true)?,
        case("open UDP, client bound", &datagram, true)?,
        case("open TCP, from B", &back, false)?,
    ])
}

/// A correspondent where the client is bound.
fn bound(bed: &Bed, client: &str, care_of: &str) -> Result<Dataplane> {
    let mut dataplane = bed.load(&[])?;
    bind(&mut dataplane, client, care_of)?;
    Ok(dataplane)
}

fn bind(dataplane: &mut Dataplane, client: &str, care_of: &str) -> Result<()> {
    let (client, anycast, care_of) = (address(client), address(B), address(care_of));
    let expires = Time::from_nanos(u64::MAX / 2);
    for action in [
        MapAction::SetCareOf {
            client,
            care_of,
            anycast,
            expires,
        },
        MapAction::SetBinding {
            client,
            anycast,
            care_of,
            expires,
        },
    ] {
        dataplane.maps().apply(&action)?;
    }
    Ok(())
}

/// The client's first packet binds the flow, and the member's answer ends its trial.
fn answered(dataplane: &mut Dataplane, bed: &Bed, first: &Packet, answer: &Packet) -> Result<()> {
    let verdict = if answer.source == address(NEAR) {
        TX
    } else {
        REDIRECT
    };
    run(dataplane, bed, first, verdict)?;
    run(dataplane, bed, answer, TX)
}

fn run(dataplane: &mut Dataplane, bed: &Bed, packet: &Packet, verdict: u32) -> Result<()> {
    let frame = packet.frame();
    let context = bed.gateway.context(&frame)?;
    let result = dataplane.xdp(CORRESPONDENT)?.test_run(TestRunOptions {
        data_in: Some(&frame),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    })?;
    ensure!(
        result.return_value == verdict,
        "XDP action {}, not {verdict}",
        result.return_value
    );
    Ok(())
}
