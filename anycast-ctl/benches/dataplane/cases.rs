//! What is measured.

use std::net::Ipv6Addr;

use anycast_common::abi::{
    maps::{PolicyRule, policy},
    roles::{CORRESPONDENT, MEMBER, ROUTER},
};
use anycast_ctl::shell::dataplane::OBJECT;
use anyhow::Result;

use crate::{
    anchors::Object,
    bed::{Bed, Behind, Build, Case, FORGED, Subject},
    constants::{A, B, ELSEWHERE, MANY, NEAR, PASS, PORTS, TX},
    cpus::Pair,
    flows,
    gateway::Gateway,
    packets::{ACK, Packet},
};

/// Every case, loaded: those of the programs in C, and of each build.
pub fn all(gateway: &Gateway, builds: &[(Build, &[u8])], anchors: &Object) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (build, object) in builds.iter().copied() {
        let bed = Bed {
            gateway,
            object,
            build,
        };
        if cases.is_empty() {
            cases = in_c(&bed, anchors)?;
        }
        cases.extend(not_ours(&bed)?);
        for count in [2, 255] {
            let name = format!("Report refused, {count} rules");
            cases.push(bed.refused(&name, &rules(count))?);
            cases.push(bed.forged(anchors, &name, &rules(count))?);
        }
        cases.extend(flows::pinned(&bed, anchors)?);
        cases.extend(flows::open(&bed)?);
    }
    Ok(cases)
}

/// The cases of two CPUs.
pub fn pairs(gateway: &Gateway, anchors: &Object) -> Result<Vec<Pair>> {
    let bed = Bed {
        gateway,
        object: OBJECT,
        build: Build::Ours,
    };
    flows::pairs(&bed, anchors)
}

fn in_c(bed: &Bed, object: &Object) -> Result<Vec<Case>> {
    let frame = Packet::tcp(A, B, PORTS, ACK).frame();
    let frames = flows::ports().map(|ports| Packet::tcp(A, B, ports, ACK).frame());
    let direct = |name, program, verdict| {
        let mut anchor = object.load(program)?;
        anchor.learn([frame.clone()].into_iter())?;
        bed.case(name, Subject::Anchor(anchor), &frame, verdict)
    };
    let mut cases = vec![
        direct("XDP_PASS", "pass", PASS)?,
        direct("hash lookup, hot", "lookup", PASS)?,
    ];
    for (leader, flows) in [
        ("one_flow", "hot"),
        ("many_flows", MANY),
        ("new_flows", "new flows"),
    ] {
        let behind = Behind::anchor(&mut object.load("pass")?)?;
        cases.push(bed.led(
            &format!("leader, {flows}"),
            object.load(leader)?,
            &frame,
            behind,
            PASS,
        )?);
        if leader == "new_flows" {
            continue;
        }
        let mut tight = object.load("tight")?;
        tight.learn(frames.clone())?;
        let behind = Behind::anchor(&mut tight)?;
        cases.push(bed.led(
            &format!("TIGHT, {flows}"),
            object.load(leader)?,
            &frame,
            behind,
            TX,
        )?);
    }
    // To C at once: the FIB is asked about the destination.
    let to_care_of = Packet::tcp(A, NEAR, PORTS, ACK).frame();
    for (name, leader, program) in [
        ("FIB lookup, hot", "one_flow", "fib"),
        ("lru insert, new flows", "new_flows", "lru_insert"),
        (
            "lru lookup and insert, new flows",
            "new_flows",
            "lru_lookup_insert",
        ),
        (
            "lru lookup and insert, FIB, new flows",
            "new_flows",
            "lru_lookup_insert_fib",
        ),
    ] {
        let behind = Behind::anchor(&mut object.load(program)?)?;
        cases.push(bed.led(name, object.load(leader)?, &to_care_of, behind, PASS)?);
    }
    let behind = Behind::anchor(&mut object.load("pass")?)?;
    let name = format!("leader, {FORGED}");
    let leader = object.load("forged_senders")?;
    cases.push(bed.led(&name, leader, &frame, behind, PASS)?);
    Ok(cases)
}

fn not_ours(bed: &Bed) -> Result<Vec<Case>> {
    let transit = Packet::tcp("2001:db8:c::1", ELSEWHERE, PORTS, ACK);
    let out = Packet::tcp(A, ELSEWHERE, PORTS, ACK);
    let unbound = Packet::tcp(A, B, PORTS, ACK);
    let all = ROUTER | MEMBER | CORRESPONDENT;
    let mut arp = bed.ours("ARP, all roles", all, &transit, PASS)?;
    arp.frame[12..14].copy_from_slice(&[8, 6]);
    Ok(vec![
        arp,
        bed.ours("transit, router", ROUTER, &transit, PASS)?,
        bed.ours("transit, member", MEMBER, &transit, PASS)?,
        bed.ours("transit, correspondent", CORRESPONDENT, &transit, PASS)?,
        bed.ours("transit, all roles", all, &transit, PASS)?,
        bed.ours(
            "client to elsewhere, correspondent",
            CORRESPONDENT,
            &out,
            PASS,
        )?,
        bed.ours("client to B, not bound", CORRESPONDENT, &unbound, PASS)?,
    ])
}

fn rules(count: u16) -> Vec<PolicyRule> {
    let source = |number| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number).octets();
    let rule = |number| PolicyRule {
        source: source(number),
        source_mask: [0xff; 16],
        anycast: [0; 16],
        anycast_mask: [0; 16],
        ifindex: 0,
        action: policy::ALLOW,
        match_mac: 0,
        mac: [0; 6],
        id: u32::from(number),
    };
    (0..count).map(rule).collect()
}
