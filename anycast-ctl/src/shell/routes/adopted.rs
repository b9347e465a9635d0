//! Routes of an earlier run of the daemon, which stay for a while without a member that has reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::Instant,
};

use crate::{core::NextHop, shell::reconcile::Known};

/// Next hops of an earlier run whose members have neither reported nor left yet.
#[derive(Debug)]
pub(super) struct Adopted {
    next_hops: BTreeMap<Ipv6Addr, BTreeSet<NextHop>>,
    /// Whether the kernel's routes have not been read yet.
    first: bool,
    /// Time until which the next hops stay.
    grace: Option<Instant>,
}

impl Adopted {
    /// What the first look at the kernel's routes finds is adopted, until this time.
    pub(super) fn until(end: Instant) -> Self {
        Self {
            next_hops: BTreeMap::new(),
            first: true,
            grace: Some(end),
        }
    }

    /// All of them, with their anycast addresses.
    pub(super) fn all(&self) -> impl Iterator<Item = (Ipv6Addr, NextHop)> + '_ {
        let hops = |(anycast, hops): (&Ipv6Addr, &BTreeSet<NextHop>)| {
            let anycast = *anycast;
            hops.iter().map(|hop| (anycast, *hop)).collect::<Vec<_>>()
        };
        self.next_hops.iter().flat_map(hops)
    }

    /// Those of one address, if it has any.
    pub(super) fn of(&self, anycast: Ipv6Addr) -> Option<&BTreeSet<NextHop>> {
        self.next_hops.get(&anycast)
    }

    /// Removes next hops whose members have left.
    pub(super) fn left(&mut self, anycast: Ipv6Addr, gone: impl Iterator<Item = NextHop>) {
        let Some(adopted) = self.next_hops.get_mut(&anycast) else {
            return;
        };
        for hop in gone {
            adopted.remove(&hop);
        }
        if adopted.is_empty() {
            self.next_hops.remove(&anycast);
        }
    }

    /// Time at which the rest is removed. `None` when that time has passed.
    pub(super) fn grace(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.grace = self.grace.filter(|end| now < *end);
        self.grace
    }

    /// From now on, nothing stays without a member.
    pub(super) fn end(&mut self) {
        self.grace = None;
    }

    /// Adopts what the first look found. Later, next hops stay as long as the kernel itself has them.
    pub(super) fn look(&mut self, known: &Known, grace: bool) {
        let present = known.anycast().map(|b| (b, known.next_hops(b)));
        let present = present.filter(|(_, hops)| !hops.is_empty());
        let earlier = std::mem::take(&mut self.next_hops);
        if !grace {
            return;
        }
        self.next_hops = if std::mem::take(&mut self.first) {
            present.collect()
        } else {
            let still = |(b, hops): (Ipv6Addr, BTreeSet<NextHop>)| {
                let hops: BTreeSet<_> = hops.intersection(earlier.get(&b)?).copied().collect();
                (!hops.is_empty()).then_some((b, hops))
            };
            present.filter_map(still).collect()
        };
    }
}
