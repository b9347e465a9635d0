//! Frames that an interface hears and that are for another host.

use std::collections::{BTreeMap, BTreeSet};

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER, ROUTER};
use anycast_ctl::core::Time;
use anyhow::Result;
use xtask::kernel_tests::Suite;

use crate::{
    forward,
    harness::{Bench, Hook, Row, Verdict, bind},
    member::{A, B, C, PORTS, bench, rewritten, row},
    packets::{ACK, OUR_MAC, Packet},
};

const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
/// Of a device on top of the interface.
const ABOVE: [u8; 6] = [2, 0, 0, 0, 0, 0x44];
const LOOPBACK: u32 = 1;
/// Another that shares the loopback interface's place among those that cost no lookup.
const SAME_PLACE: u32 = LOOPBACK + 256;
const LEFT_ALONE: &[(&str, u64)] = &[("frame_for_another", 1)];

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("frames for another host are none of a member's", member)
        .test(
            "frames for another host are none of a correspondent's",
            correspondent,
        )
        .test("frames for another host are none of a router's", router)
}

/// Says whose frames are taken on the loopback interface, where those of tests come.
fn taken(bench: &mut Bench, macs: &[[u8; 6]]) -> Result<()> {
    let macs = BTreeSet::from_iter(macs.iter().copied());
    let all = BTreeMap::from([(LOOPBACK, macs)]);
    let maps = bench.dataplane.maps();
    maps.attend(Time::from_nanos(u64::MAX / 2))?;
    maps.set_stations(&all, |_| Some(OUR_MAC))?;
    Ok(())
}

/// The row with another destination in its frame.
fn to(mac: [u8; 6], row: Row) -> Row {
    let send = |mut frame: Vec<u8>| {
        frame[..6].copy_from_slice(&mac);
        frame
    };
    Row {
        frame: send(row.frame),
        becomes: row.becomes.map(send),
        ..row
    }
}

fn member() -> Result<()> {
    let mut bench = bench()?;
    let packet = Packet::tcp(A, C, PORTS, ACK);
    let alone = |name| row(name, &packet, LEFT_ALONE);
    if bench.hook != Hook::Xdp {
        bench.table(&[rewritten("for us, as the kernel says", &packet)])?;
        bench.overheard = true;
        let strange = Packet::tcp(A, "2001:db8::9", PORTS, ACK);
        return bench.table(&[
            alone("for another, as the kernel says"),
            row("for another, and nothing to us", &strange, &[]),
        ]);
    }
    bench.table(&[to(
        OTHER_MAC,
        rewritten("while nobody has said whose", &packet),
    )])?;
    taken(&mut bench, &[OUR_MAC, ABOVE])?;
    bench.table(&[
        rewritten("for us", &packet),
        to(ABOVE, rewritten("for a device above", &packet)),
        to(OTHER_MAC, alone("for another")),
        to([0x33, 0x33, 0, 0, 0, 1], rewritten("for a group", &packet)),
        to([0xff; 6], rewritten("for all", &packet)),
        row(
            "for another, and nothing to us",
            &Packet::tcp(A, "2001:db8::9", PORTS, ACK),
            &[],
        ),
    ])?;
    // The address changes.
    taken(&mut bench, &[OTHER_MAC])?;
    bench.table(&[
        to(OTHER_MAC, rewritten("the new one", &packet)),
        alone("the old one"),
    ])?;
    // Known of another interface alone.
    let all = BTreeMap::from([(SAME_PLACE, BTreeSet::from([OUR_MAC]))]);
    bench
        .dataplane
        .maps()
        .set_stations(&all, |_| Some(OUR_MAC))?;
    bench.table(&[to(
        OTHER_MAC,
        rewritten("an interface that is not known", &packet),
    )])?;
    // Nobody has said for long whose they are.
    taken(&mut bench, &[OUR_MAC])?;
    bench.dataplane.maps().attend(Time::ZERO)?;
    bench.table(&[to(
        OTHER_MAC,
        rewritten("while no controller lives", &packet),
    )])
}

fn correspondent() -> Result<()> {
    let mut bench = Bench::new(CORRESPONDENT, true)?;
    bind(&mut bench, (A, B), C, Time::from_nanos(u64::MAX / 2))?;
    taken(&mut bench, &[OUR_MAC])?;
    bench.overheard = true;
    let pass = |packet: &Packet, counts| Row {
        counts,
        ..forward::row("for another", packet, Verdict::Pass)
    };
    // Neither long nor short way.
    let packet = Packet::tcp(A, B, PORTS, ACK);
    let answer = Packet::tcp(C, A, (PORTS.1, PORTS.0), ACK);
    for packet in [&packet, &packet, &answer, &answer] {
        bench.table(&[to(OTHER_MAC, pass(packet, LEFT_ALONE))])?;
    }
    anyhow::ensure!(bench.dataplane.maps().flow_reader().flows().is_empty());
    Ok(())
}

fn router() -> Result<()> {
    let mut bench = Bench::new(ROUTER | MEMBER, true)?;
    taken(&mut bench, &[OUR_MAC])?;
    bench.overheard = true;
    let report = Packet::report("fe80::9", "2001:db8:a::53");
    let alone = row("a Report in a frame for another", &report, LEFT_ALONE);
    bench.table(&[to(OTHER_MAC, alone)])?;
    let mut group = report.frame();
    group[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 2]);
    let (verdict, _) = bench.run(&group)?;
    anyhow::ensure!(verdict == Verdict::Drop, "{verdict:?}");
    Ok(())
}
