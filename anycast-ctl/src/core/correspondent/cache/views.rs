//! Reads the bindings of the cache.

use std::{net::Ipv6Addr, ops::Bound};

use super::Cache;
use crate::core::correspondent::{
    live::{self, Live, Steering},
    tally::Tally,
    triple::{Pair, Triple},
};

impl Cache {
    /// The bindings of (A, B).
    pub(in crate::core::correspondent) fn of(
        &self,
        pair: Pair,
    ) -> impl Iterator<Item = (Triple, &Live)> + '_ {
        self.live
            .of(pair)
            .map(|(triple, entry)| (triple, &entry.live))
    }

    /// The binding that steers the new flows of (A, B): the one that expires first. A binding that is renewed becomes
    /// the last in this order, so that every 16 seconds the choice follows routing again.
    pub(in crate::core::correspondent) fn steering(&self, pair: Pair) -> Option<Steering> {
        live::first(self.live.of(pair))
    }

    /// That of each (A, B), in order.
    pub(in crate::core::correspondent) fn all_steering(
        &self,
    ) -> impl Iterator<Item = (Triple, Live)> + '_ {
        let mut live = self.live().peekable();
        std::iter::from_fn(move || {
            let mut first = live.next()?;
            // Of those that expire at the same time it is the first in order.
            while let Some(next) = live.next_if(|(next, _)| next.pair() == first.0.pair()) {
                if next.1.expires < first.1.expires {
                    first = next;
                }
            }
            Some((first.0, *first.1))
        })
    }

    /// The live bindings, in order.
    pub(in crate::core::correspondent) fn live(
        &self,
    ) -> impl Iterator<Item = (Triple, &Live)> + '_ {
        let live = self.live.from(Bound::Unbounded);
        live.map(|(triple, entry)| (triple, &entry.live))
    }

    /// The live bindings in order: all, those of a client, or those after a triple.
    pub(in crate::core::correspondent) fn from(
        &self,
        client: Option<Ipv6Addr>,
        after: Option<Triple>,
    ) -> impl Iterator<Item = (Triple, &Live)> + '_ {
        let first = Pair {
            client: client.unwrap_or(Ipv6Addr::UNSPECIFIED),
            anycast: Ipv6Addr::UNSPECIFIED,
        };
        let first = Bound::Included(first.unnamed());
        let from = after.map_or(first, Bound::Excluded);
        let live = self.live.from(from);
        live.map(|(triple, entry)| (triple, &entry.live))
    }

    /// Number of pairs (A, C).
    pub(in crate::core::correspondent) fn pairs(&self) -> usize {
        self.care_of.len()
    }

    /// Numbers of live bindings by /64 of the clients, and by care-of address.
    pub(in crate::core::correspondent) fn tallies(&self) -> (&Tally<u64>, &Tally<Ipv6Addr>) {
        (&self.prefixes, &self.members)
    }

    /// Number of live bindings.
    pub(in crate::core::correspondent) fn bound(&self) -> usize {
        self.live.len()
    }
}
