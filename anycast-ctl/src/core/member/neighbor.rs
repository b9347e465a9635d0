//! Answers for the anycast addresses on a link (RFC 4861 section 7.2.7).
//!
//! B is an address of `lo`, so the kernel answers for it on no link. It cannot be told to: it refuses
//! `IPV6_JOIN_ANYCAST` for an address that the host has, it drops TCP to an address that was joined in this way, and it
//! would advertise an address of the link itself with Override set.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use anycast_common::wire::{
    self,
    neighbor::{ADVERTISEMENT_LEN, Advertisement, Solicitation},
};
use rand::RngExt;

use super::context::Context;
use crate::core::{Time, counters::Counter, timers::Timers};

/// `MAX_ANYCAST_DELAY_TIME` (RFC 4861 section 10): owners do not all answer at the same time.
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// Largest number of nodes that wait for an answer. Others are answered when they ask again.
const MOST: usize = 256;

/// The interface, the address that is asked for, and the address of the node that asks.
type Asked = (u32, Ipv6Addr, Ipv6Addr);

/// Answers that are still to be sent.
#[derive(Debug, Default)]
pub(super) struct Answers {
    owed: BTreeMap<Asked, [u8; 6]>,
    timers: Timers<Asked>,
}

impl Answers {
    /// Handles a Neighbor Solicitation. `link_local` is our address on the interface, `mac` its Ethernet address.
    pub(super) fn solicited(
        &mut self,
        ifindex: u32,
        asked: &Solicitation,
        link_local: Ipv6Addr,
        mac: [u8; 6],
        cx: &mut Context<'_>,
    ) {
        if asked.source.is_unspecified() {
            // Duplicate address detection gets no answer: several nodes may have an anycast address.
            return cx.count(Counter::SolicitationIgnored);
        }
        if !asked.multicast {
            // The node knows this host already, and asks whether it is still reachable.
            return advertise(ifindex, asked.target, asked.source, link_local, mac, cx);
        }
        let key = (ifindex, asked.target, asked.source);
        if self.owed.contains_key(&key) {
            return;
        }
        if self.owed.len() >= MOST {
            return cx.count(Counter::SolicitationIgnored);
        }
        let longest = u64::try_from(LONGEST_DELAY.as_nanos()).unwrap_or(u64::MAX);
        let delay = Duration::from_nanos(cx.rng.random_range(0..=longest));
        self.owed.insert(key, mac);
        self.timers.set(key, Some(cx.now + delay));
    }

    /// Sends the answers that are due. `source` gives the link-local address for an anycast address on an interface, as
    /// long as this host serves it there.
    pub(super) fn poll(
        &mut self,
        source: impl Fn(Ipv6Addr, u32) -> Option<Ipv6Addr>,
        cx: &mut Context<'_>,
    ) {
        while let Some(key) = self.timers.pop(cx.now) {
            let (ifindex, target, asker) = key;
            let mac = self.owed.remove(&key);
            if let (Some(mac), Some(link_local)) = (mac, source(target, ifindex)) {
                advertise(ifindex, target, asker, link_local, mac, cx);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }
}

fn advertise(
    ifindex: u32,
    target: Ipv6Addr,
    to: Ipv6Addr,
    link_local: Ipv6Addr,
    mac: [u8; 6],
    cx: &mut Context<'_>,
) {
    let packet = packet(Advertisement { target, mac }, link_local, to);
    cx.send(Some(ifindex), packet, Counter::AdvertisementSent);
}

fn packet(
    advertisement: Advertisement,
    source: Ipv6Addr,
    to: Ipv6Addr,
) -> Result<Vec<u8>, wire::Error> {
    let mut packet = vec![0; ADVERTISEMENT_LEN];
    advertisement.emit(source, to, &mut packet)?;
    Ok(packet)
}
