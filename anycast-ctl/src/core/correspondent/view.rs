//! What the correspondent knows of its bindings, a page at a time.

use std::{collections::HashMap, net::Ipv6Addr, ops::Bound, time::Duration};

use super::{Correspondent, Selection, cache::Pair};
use crate::core::Time;

/// Pairs (A, B) that are looked at for a page, whether they are on it or not.
const SCAN: usize = 10_000;

/// A binding that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingView {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
    /// Sequence number of the last Binding Update.
    pub sequence: u16,
    /// How long (A, B) has been bound to C without a gap.
    pub age: Duration,
    /// Time until it ends.
    pub remaining: Duration,
    /// Flows that were pinned to it when the flows were last read.
    pub flows: usize,
}

/// Where the next page begins: after this client and anycast address.
pub type BindingPlace = (Ipv6Addr, Ipv6Addr);

/// How many flows are pinned to each pair (A, C), which stands for one anycast address.
#[derive(Debug, Default)]
pub(super) struct Pinned {
    flows: HashMap<(Ipv6Addr, Ipv6Addr), usize>,
    /// When they were read; none before the first time.
    at: Option<Time>,
}

impl Pinned {
    pub(super) fn counted(at: Time, flows: HashMap<(Ipv6Addr, Ipv6Addr), usize>) -> Self {
        Self {
            flows,
            at: Some(at),
        }
    }
}

impl Correspondent {
    /// At most `limit` bindings, in the order of clients and anycast addresses, and where to go on;
    /// a page may be empty although there are more.
    #[must_use]
    pub fn bindings_page(
        &self,
        now: Time,
        which: &Selection,
        after: Option<BindingPlace>,
        limit: usize,
    ) -> (Vec<BindingView>, Option<BindingPlace>) {
        let pair = |client, anycast| Pair { client, anycast };
        let first = pair(
            which.client.unwrap_or(Ipv6Addr::UNSPECIFIED),
            Ipv6Addr::UNSPECIFIED,
        );
        let from = match after {
            Some((client, anycast)) => Bound::Excluded(pair(client, anycast)),
            None => Bound::Included(first),
        };
        let mut rows = Vec::new();
        let known = self.cache.range((from, Bound::Unbounded));
        let known = known.take_while(|(pair, _)| which.client.is_none_or(|a| a == pair.client));
        for (looked_at, (pair, entry)) in (1..).zip(known) {
            let live = entry.live;
            let wanted = |care_of| which.holds(pair.client, pair.anycast, care_of);
            if let Some(live) = live.filter(|live| wanted(live.care_of)) {
                let pinned = self.pinned.flows.get(&(pair.client, live.care_of));
                rows.push(BindingView {
                    client: pair.client,
                    anycast: pair.anycast,
                    care_of: live.care_of,
                    sequence: entry.sequence,
                    age: now - live.since,
                    remaining: live.expires - now,
                    flows: pinned.copied().unwrap_or_default(),
                });
            }
            if rows.len() >= limit.max(1) || looked_at >= SCAN {
                return (rows, Some((pair.client, pair.anycast)));
            }
        }
        (rows, None)
    }

    /// How many bindings stand.
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.cache.bound()
    }

    /// How long ago the pinned flows were read; none before the first time.
    #[must_use]
    pub fn flows_age(&self, now: Time) -> Option<Duration> {
        self.pinned.at.map(|at| now - at)
    }

    /// The bindings that stand, by client and anycast address.
    #[cfg(test)]
    pub(crate) fn bindings(&self, now: Time) -> Vec<BindingView> {
        let all = Selection::default();
        self.bindings_page(now, &all, None, usize::MAX).0
    }
}
