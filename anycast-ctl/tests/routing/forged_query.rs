//! One Query by a host that is no router.

use std::time::Duration;

use anycast_common::wire::{
    ipv6,
    mld::{self, Version},
};
use anyhow::{Context as _, Result, ensure};
use xtask::net::{
    Sender,
    packet::{Upper, mld as types},
    wait,
};

use super::bed::{B, Bed, SOON, in_bed, link_local, routed, router};

const AGAIN: Duration = Duration::from_millis(20);

/// A Query about B that wants an answer at once, by the lowest address, to the router's Ethernet address alone. So no
/// member hears it.
fn forge(bed: &Bed) -> Result<()> {
    let query = mld::Query {
        max_response_delay: Duration::ZERO,
        address: B,
        version: Version::V1,
    };
    let mut packet = vec![0; mld::V2_PACKET_LEN];
    let length = mld::Message::Query(query)
        .emit(link_local(1), ipv6::solicited_node(B), &mut packet)
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let mut frame = vec![2, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 0x66, 0x86, 0xdd];
    frame.extend(&packet[..length]);
    let host = &bed.node("host")?.namespace;
    ensure!(
        Sender::open(host, "eth0")?.send(&frame)?,
        "the frame is sent"
    );
    Ok(())
}

fn bed(settings: &str, check: impl FnOnce(&mut Bed) -> Result<()>) -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 5)?;
        bed.add("host", 0x66)?;
        bed.add_members(&[("m1", 0x11)])?;
        bed.start("r1", &router(settings))?;
        bed.start_members(&["m1"])?;
        routed(&bed.monitor("r1")?, SOON, &[0x11])?;
        check(bed)
    })
}

fn ours(bed: &Bed) -> Result<bool> {
    let groups = bed.daemon("r1")?.ask("status")?.to_string();
    Ok(groups.contains(&format!("\"querier\":\"{}\"", link_local(5))))
}

/// Anybody may be the Querier: the route stays, because the member answers us.
pub fn anybody() -> Result<()> {
    bed("", |bed| {
        let capture = bed.capture("m1")?;
        let routes = bed.monitor("r1")?;
        let accepted = bed.counter("r1", "report_accepted")?;
        let start = xtask::net::capture::now();
        forge(bed)?;
        let what = "the router asks the member itself";
        capture.ledger().wait(SOON, what, |ledger| {
            let mut asked = ledger.messages(start, |packet| {
                packet.source == link_local(5) && packet.upper == Upper::Mld(types::QUERY, B)
            });
            asked.next().map(drop)
        })?;
        wait::poll(SOON, AGAIN, "the member's answer", || {
            Ok((bed.counter("r1", "report_accepted")? > accepted).then_some(()))
        })?;
        bed.asked("r1", "groups", "the check is over", |groups| {
            !groups.to_string().contains("\"checking_listeners\"")
        })?;
        routed(&routes, AGAIN, &[0x11])?;
        let left = bed.daemon("r1")?.list("members")?;
        ensure!(left.len() == 1, "{left:?}");

        // The control: a member that does not answer is gone by the same Query.
        bed.daemon_mut("m1")?.kill()?;
        forge(bed)?;
        routed(&routes, SOON, &[]).context("the member is dead")
    })
}

/// Another may be: it changes nothing, and is counted and shown.
pub fn limited() -> Result<()> {
    bed("queriers = [\"fe80::2\"]", |bed| {
        forge(bed)?;
        wait::poll(SOON, AGAIN, "the Query is refused", || {
            Ok((bed.counter("r1", "query_denied")? == 1).then_some(()))
        })?;
        ensure!(ours(bed)?, "this router is the Querier");
        let refused = bed.daemon("r1")?.ask("refusals")?.to_string();
        ensure!(refused.contains("query_denied"), "{refused}");
        routed(&bed.monitor("r1")?, SOON, &[0x11])
    })
}
