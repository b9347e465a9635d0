//! Interfaces that go down, get other addresses and names, and are pulled and plugged.

use anyhow::{Context as _, Result};
use serde_json::Value;
use xtask::net::{
    packet::{Upper, mld},
    wait,
};

use super::bed::{Bed, SOON, in_bed, link_local, routed, router as config};

fn interface(status: &Value) -> &Value {
    &status["interfaces"][0]
}

/// Waits until the daemon has, or has no, interface.
fn has(bed: &Bed, node: &str, there: bool) -> Result<()> {
    let what = format!("{node} knows that its interface is there: {there}");
    bed.asked(node, "status", &what, |status| {
        interface(status)["ifindex"].is_null() != there
            && interface(status)["program"].is_null() != there
    })?;
    Ok(())
}

fn change(bed: &Bed, node: &str, lines: &[&str]) -> Result<()> {
    lines
        .iter()
        .try_for_each(|line| bed.ip(node, line).map(drop))
}

/// Brings an interface back whose address went with it.
const BACK: [&str; 1] = ["link set eth0 up"];

/// Every change that an interface can see, each of which the membership has to outlive.
fn course(
    bed: &mut Bed,
    node: &'static str,
    host: u16,
    seen: impl Fn(u16) -> Vec<u16>,
) -> Result<()> {
    let routes = bed.monitor("r1")?;
    let own = format!("address add {}/64 dev eth0 nodad", link_local(host));
    let settled = |bed: &Bed, host: u16, what: &str| {
        routed(&routes, SOON, &seen(host)).with_context(|| format!("{what}; {}", bed.logs()))
    };
    settled(bed, host, "at first")?;

    change(bed, node, &["link set eth0 down"])?;
    bed.asked(node, "status", "it is down", |status| {
        interface(status)["up"] == false
    })?;
    change(bed, node, &BACK)?;
    change(bed, node, &[&own])?;
    settled(bed, host, "down and up")?;

    let other = host + 0x100;
    let new = format!("address add {}/64 dev eth0 nodad", link_local(other));
    let del = format!("address del {}/64 dev eth0", link_local(host));
    let capture = bed.capture(node)?;
    change(bed, node, &[&new, &del])?;
    let kind = if node == "r1" {
        mld::QUERY
    } else {
        mld::REPORT
    };
    capture
        .ledger()
        .wait(SOON, "MLD from the new address", |ledger| {
            let mut messages = ledger.messages(0, |packet| {
                packet.source == link_local(other)
                    && matches!(packet.upper, Upper::Mld(of, _) if of == kind)
            });
            messages.next().map(drop)
        })?;
    settled(bed, other, "another address")?;

    change(
        bed,
        node,
        &[
            "link set eth0 down",
            "link set eth0 name other0",
            "link set other0 up",
        ],
    )?;
    has(bed, node, false)?;
    change(
        bed,
        node,
        &[
            "link set other0 down",
            "link set other0 name eth0",
            "link set eth0 up",
        ],
    )?;
    change(bed, node, &[&own])?;
    has(bed, node, true)?;
    settled(bed, host, "renamed, and back")?;

    change(bed, node, &["link del eth0"])?;
    has(bed, node, false)?;
    bed.plug(bed.node(node)?)?;
    has(bed, node, true)?;
    settled(bed, host, "pulled and plugged")
}

fn both(bed: &mut Bed) -> Result<()> {
    bed.add_router("r1", 1)?;
    bed.add_members(&[("m1", 0x11)])?;
    bed.start("r1", &config(""))?;
    bed.start_members(&["m1"])
}

pub fn router() -> Result<()> {
    in_bed(|bed| {
        both(bed)?;
        course(bed, "r1", 1, |_| vec![0x11])?;
        // What came back works: a leave is heard.
        bed.tell("m1", "leave")?;
        routed(&bed.monitor("r1")?, SOON, &[])
    })
}

pub fn member() -> Result<()> {
    in_bed(|bed| {
        both(bed)?;
        course(bed, "m1", 0x11, |host| vec![host])?;
        bed.tell("m1", "leave")?;
        wait::poll(
            SOON,
            std::time::Duration::from_millis(50),
            "it has left",
            || Ok(bed.daemon("r1")?.list("members")?.is_empty().then_some(())),
        )
    })
}
