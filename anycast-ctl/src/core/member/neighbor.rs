//! Answers for the anycast addresses on a link (RFC 4861 section 7.2.7).
//!
//! B stands on `lo`, for which the kernel answers on no link. It cannot be asked to: it refuses
//! `IPV6_JOIN_ANYCAST` for an address that it has, and drops TCP to one that was joined so; an
//! address on the link itself it would advertise with Override set.

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
/// Askers that wait at the same time. More are answered when they ask again.
const MOST: usize = 256;

/// An interface, the address asked for, and who asks.
type Asked = (u32, Ipv6Addr, Ipv6Addr);

/// Answers that are owed.
#[derive(Debug, Default)]
pub(super) struct Answers {
    owed: BTreeMap<Asked, [u8; 6]>,
    timers: Timers<Asked>,
}

impl Answers {
    /// Somebody asks. `link_local` is our address on the interface, `mac` its Ethernet address.
    pub(super) fn solicited(
        &mut self,
        ifindex: u32,
        asked: &Solicitation,
        link_local: Ipv6Addr,
        mac: [u8; 6],
        cx: &mut Context<'_>,
    ) {
        if asked.source.is_unspecified() {
            // Who wants the address for itself may have it too: it is anycast.
            return cx.count(Counter::SolicitationIgnored);
        }
        if !asked.multicast {
            // It knows us already and asks whether we are still there.
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

    /// Sends what is due. `source` gives our address for an address on an interface, while we
    /// serve it there.
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
