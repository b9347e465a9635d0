//! Several members of another make are bound to one client and anycast address.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use xtask::{
    lab::{
        node::Daemon,
        topology::{CLIENT, S1},
    },
    net::netlink,
};

use super::{
    correspondent::{accepted, ack, gateway, holds, matches},
    site::{Peer, network, with},
};

/// The care-of address of a member; the peer is all of them.
fn care_of(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xd, 0, 0, 0, 0, number)
}

/// A member's update, after its tests; what came back must be the acknowledgement.
fn update(peer: &mut Peer, number: u16, more: Value, expected: &Value) -> Result<()> {
    let of = json!({"client": CLIENT.to_string(), "care_of": care_of(number).to_string()});
    peer.tell(&with(&json!({"do": "test"}), of.clone()))?;
    again(peer, &with(&of, more), expected)
}

/// Another update under the same tests.
fn again(peer: &mut Peer, update: &Value, expected: &Value) -> Result<()> {
    let done = peer.tell(&with(&json!({"do": "update"}), update.clone()))?;
    matches(&done["received"], std::slice::from_ref(expected))
}

/// The care-of addresses that are bound, and which of them steers.
fn bound(gateway: &Daemon) -> Result<(Vec<Value>, Vec<Value>)> {
    let rows = gateway.list("bindings")?;
    let steering = rows.iter().filter(|row| row["steers"] == json!(true));
    let steering = steering.map(|row| row["care_of"].clone()).collect();
    Ok((
        rows.into_iter()
            .map(|mut row| row["care_of"].take())
            .collect(),
        steering,
    ))
}

pub fn triples() -> Result<()> {
    let network = network()?;
    let prefix = care_of(0);
    netlink::route(&network.router, prefix, 112, S1.link_local(), "lan0")?;
    let gateway = gateway(&network, "")?;
    let mut peer = Peer::start(&network, network.server(S1), "member")?;
    let peer = &mut peer;

    // Each counts for itself, from wherever it likes.
    update(peer, 1, json!({"sequence": 30_000}), &accepted(30_000))?;
    for number in 2..=8 {
        update(peer, number, json!({"sequence": number}), &accepted(number))?;
    }
    let all: Vec<Value> = (1..=8).map(|number| json!(care_of(number))).collect();
    ensure!(bound(&gateway)? == (all.clone(), vec![json!(care_of(1))]));
    ensure!(holds(&gateway, CLIENT)? == Some(care_of(1)));
    update(peer, 1, json!({"sequence": 8}), &ack(135, 30_000, "right"))?;

    // Nine are too many.
    update(peer, 9, json!({"sequence": 9}), &ack(130, 9, "right"))?;
    ensure!(gateway.counter("controller", "binding_pair_full")? == 1);

    // A deletion that names one leaves the others, whose numbers are lower.
    let named = json!({"sequence": 30_001, "lifetime": 0,
        "layout": ["alternate", "indices", "authorization"]});
    let deleted = with(&ack(0, 30_001, "right"), json!({"lifetime": 0}));
    update(peer, 1, named, &deleted)?;
    ensure!(bound(&gateway)? == (all[1..].to_vec(), vec![json!(care_of(2))]));
    ensure!(holds(&gateway, CLIENT)? == Some(care_of(2)));

    // Now there is room.
    update(peer, 9, json!({"sequence": 10}), &accepted(10))?;
    // One that names nobody, as RFC 6275 has it, ends those that it is newer than.
    let unnamed = json!({"sequence": 9, "lifetime": 0});
    let deleted = with(&ack(0, 9, "right"), json!({"lifetime": 0}));
    update(peer, 9, unnamed, &deleted)?;
    let left = vec![json!(care_of(9))];
    ensure!(
        bound(&gateway)? == (left.clone(), left),
        "{:?}",
        bound(&gateway)?
    );
    ensure!(gateway.counter("controller", "binding_update_bad_sequence")? == 1);
    Ok(())
}
