//! The short way of packets that pass: of open flows at a correspondent, and of those that are older than it.

use std::time::Duration;

use anycast_common::{
    abi::maps::{Flow, FlowKey, state},
    wire::checksum,
};
use anycast_ctl::{core::MapAction, shell::clock};
use anyhow::{Result, ensure};
use xtask::{kernel_tests::Suite, net::wait};
use zerocopy::FromZeros as _;

use crate::{
    correspondent::{
        A, B, BACK, C, C2, FOLLOWS, LATER, PINS, PORTS, bench, bind, from, leads, row, to,
    },
    forward::SOON,
    harness::{self, Bench, Verdict},
    packets::{ACK, Packet, SYN, TCP, UDP, address},
};

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("short way: of open flows, and of older ones", passing)
        .test("short way: a member that leads an open flow ends it", led)
        .test("short way: a flow that begins ends it", begun)
        .test("short way: not of a member's packets", of_members)
        .test("short way: not of a datagram that may be a first", first)
}

fn segment() -> Packet {
    Packet::tcp(A, B, PORTS, ACK)
}

fn datagram() -> Packet {
    Packet::udp(A, B, PORTS, b"query")
}

/// A correspondent to which A and B are known, since another client of B is bound.
fn known() -> Result<Bench> {
    harness::stay()?;
    let mut bench = bench()?;
    harness::bind(&mut bench, ("2001:db8:1::200", B), C, LATER)?;
    Ok(bench)
}

/// What the table would say of the packet's flow: that it is bound, as nobody but this test can make it without ending
/// what is known of the flow.
pub(super) fn bind_unseen(bench: &mut Bench, packet: &Packet, protocol: u8) {
    let ([client_port, service_port], now) =
        ([PORTS.0, PORTS.1].map(u16::to_be_bytes), clock::now());
    let key = FlowKey {
        client: packet.source.octets(),
        anycast: packet.destination.octets(),
        client_port,
        service_port,
        protocol,
        ..FlowKey::new_zeroed()
    };
    let delta = checksum::delta(&key.anycast, &address(C).octets());
    let flow = Flow {
        care_of: address(C).octets(),
        pinned_at: now.as_nanos(),
        last_out: now.as_nanos(),
        last_in: now.as_nanos(),
        delta,
        state: state::BOUND_FIRST,
        answered: 1,
        tried: 1,
        ..Flow::new_zeroed()
    };
    bench.dataplane.maps().set_flow(&key, &flow);
}

/// The only bound flow.
fn forget(bench: &mut Bench) -> Result<()> {
    let maps = bench.dataplane.maps();
    let flows = maps.flow_reader().flows();
    let [(key, _)] = &flows[..] else {
        anyhow::bail!("flows: {flows:?}");
    };
    Ok(maps.remove_flow(key)?)
}

fn unbind(bench: &mut Bench) -> Result<()> {
    let (client, anycast) = (address(A), address(B));
    let removal = MapAction::RemoveBinding { client, anycast };
    Ok(bench.dataplane.maps().apply(&removal)?)
}

fn passes(bench: &mut Bench, packet: &Packet) -> Result<bool> {
    let (verdict, frame) = bench.run(&packet.frame())?;
    ensure!(verdict == Verdict::Pass, "{verdict:?}");
    Ok(frame == packet.frame())
}

/// For a quarter of a second, which a busy machine may miss. Control: what is said afterwards.
fn passes_unseen(bench: &mut Bench, packet: &Packet, protocol: u8) -> Result<()> {
    wait::poll(
        SOON,
        Duration::ZERO,
        "a packet passes by the short way",
        || {
            ensure!(passes(bench, packet)?, "it does not go to B");
            bind_unseen(bench, packet, protocol);
            let short = passes(bench, packet)?;
            bench.dataplane.maps().next_hops_changed()?;
            ensure!(!passes(bench, packet)?, "the table is not asked");
            // It is open again, as it was.
            forget(bench)?;
            unbind(bench)?;
            ensure!(passes(bench, packet)?, "it does not begin by B");
            bind(bench, C, LATER)?;
            Ok(short.then_some(()))
        },
    )
}

fn passing() -> Result<()> {
    let mut bench = known()?;
    // It was seen to begin, before the client was bound.
    bench.table(&[row("a flow opens", &datagram(), &[("flow_open", 1)])])?;
    bind(&mut bench, C, LATER)?;
    passes_unseen(&mut bench, &datagram(), UDP)?;
    // Nobody saw its SYN.
    passes_unseen(&mut bench, &segment(), TCP)
}

/// Nobody waits for a quarter of a second: the next packet goes to C.
fn led() -> Result<()> {
    let mut bench = known()?;
    bind(&mut bench, C, LATER)?;
    for seen in [false, true] {
        if seen {
            unbind(&mut bench)?;
            let syn = Packet::tcp(A, B, PORTS, SYN);
            bench.table(&[row("a flow opens", &syn, &[("flow_open", 1)])])?;
            bind(&mut bench, C, LATER)?;
        }
        let canary = Packet::tcp(C, A, BACK, ACK);
        bench.table(&[
            row("a segment by B", &segment(), &[]),
            row("another", &segment(), &[]),
            leads("the member leads", &canary),
            to(C, "and so goes the client", &segment(), FOLLOWS),
        ])?;
        forget(&mut bench)?;
    }
    Ok(())
}

/// The last segments of a connection pass, and the next one on its ports goes to C from its SYN on.
fn begun() -> Result<()> {
    let mut bench = known()?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[
        row("the last segment", &segment(), &[]),
        row("once more", &segment(), &[]),
        to(C, "SYN", &Packet::tcp(A, B, PORTS, SYN), PINS),
        to(C, "the next", &segment(), FOLLOWS),
    ])
}

/// A member's packets to a client that is not bound pass, until it is.
fn of_members() -> Result<()> {
    let mut bench = known()?;
    // Its addresses are no strangers here.
    harness::bind(&mut bench, ("2001:db8:1::201", A), C2, LATER)?;
    let back = Packet::tcp(C, A, BACK, ACK);
    bench.table(&[
        row("a member's packet", &back, &[]),
        row("once more", &back, &[]),
    ])?;
    bind(&mut bench, C, LATER)?;
    bench.table(&[leads("the next one", &back), from("and one more", &back)])
}

/// Of a flow for which there is no room or no client, each datagram is the first.
fn first() -> Result<()> {
    let mut bench = known()?;
    let stranger = "2001:db8:77::1";
    let query = Packet::udp(stranger, B, PORTS, b"query");
    bench.table(&[row("a datagram", &query, &[]), row("another", &query, &[])])?;
    harness::bind(&mut bench, (stranger, B), C, LATER)?;
    bench.table(&[to(C, "the next", &query, PINS)])
}
