//! Pages of what the correspondent knows of its bindings.

use std::{net::Ipv6Addr, time::Duration};

use super::{Correspondent, origin::Origin, selection::Selection, triple::Triple};
use crate::core::{Time, rate::prefix64};

/// Number of bindings that are examined for one page, whether they are on it or not.
const SCAN: usize = 10_000;

/// A live binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingView {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
    /// Where the binding comes from.
    pub origin: Origin,
    /// Sequence number of the last Binding Update.
    pub sequence: u16,
    /// Whether new flows of (A, B) are bound to C. Flows that the member leads become bound to it in any case.
    pub steers: bool,
    /// How long (A, B) has been bound to C without a gap.
    pub age: Duration,
    /// Time until the binding expires.
    pub remaining: Duration,
    /// Number of flows that were bound by it when the flows were last read.
    pub flows: usize,
}

/// Where the next page begins: after this client, anycast address and care-of address.
pub type BindingCursor = (Ipv6Addr, Ipv6Addr, Ipv6Addr);

impl Correspondent {
    /// A page of at most `limit` bindings in the order of client, anycast and care-of address, and where the next page
    /// begins. A page may be empty although there are more.
    #[must_use]
    pub fn bindings_page(
        &self,
        now: Time,
        which: &Selection,
        after: Option<BindingCursor>,
        limit: usize,
    ) -> (Vec<BindingView>, Option<BindingCursor>) {
        let after = after.map(|(client, anycast, care_of)| Triple {
            client,
            anycast,
            care_of,
        });
        let mut rows = Vec::new();
        let live = self.cache.from(which.client, after);
        let live = live.take_while(|(triple, _)| which.client.is_none_or(|a| a == triple.client));
        for (looked_at, (triple, live)) in (1..).zip(live) {
            let Triple {
                client,
                anycast,
                care_of,
            } = triple;
            if which.holds(client, anycast, care_of) {
                let steering = self.cache.steering(triple.pair());
                let used = self.in_use.flows.get(&(client, care_of));
                rows.push(BindingView {
                    client,
                    anycast,
                    care_of,
                    steers: steering.is_some_and(|(steering, _)| steering == triple),
                    origin: live.origin,
                    sequence: live.sequence,
                    age: now - live.since,
                    remaining: live.expires - now,
                    flows: used.map_or(0, |used| used.flows),
                });
            }
            if rows.len() >= limit.max(1) || looked_at >= SCAN {
                return (rows, Some((client, anycast, care_of)));
            }
        }
        (rows, None)
    }

    /// Number of live bindings.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.cache.bound()
    }

    /// Number of pairs (A, C) that bindings or bound flows use.
    #[must_use]
    pub fn triples(&self) -> usize {
        self.cache.pairs()
    }

    /// Whether the role answers for this client.
    #[must_use]
    pub fn covers(&self, client: Ipv6Addr) -> bool {
        self.settings.is_client(client)
    }

    /// Whether clients may be bound for this anycast address.
    #[must_use]
    pub fn allows(&self, anycast: Ipv6Addr) -> bool {
        self.settings.may_bind(anycast)
    }

    /// The care-of addresses to which this pair is not bound for now, because its flows failed there.
    #[must_use]
    pub fn left_alone(&self, now: Time, client: Ipv6Addr, anycast: Ipv6Addr) -> Vec<Ipv6Addr> {
        self.trials.of(now, client, anycast)
    }

    /// How many bindings there are of all, of this client's /64 and of each of these care-of addresses, and how many
    /// there may be, by the names of the limits.
    #[must_use]
    pub fn limits(
        &self,
        client: Ipv6Addr,
        care_of: &[Ipv6Addr],
    ) -> Vec<(&'static str, Option<Ipv6Addr>, usize, usize)> {
        let settings = &self.settings;
        let (prefixes, members) = self.cache.tallies();
        let (prefix, most) = (prefixes.get(prefix64(client)), settings.max_per_prefix);
        let mut limits = vec![
            ("max_bindings", None, self.bound(), settings.max_bindings),
            ("max_bindings_per_prefix", None, prefix, most),
        ];
        for care_of in care_of {
            let (member, most) = (members.get(*care_of), settings.max_per_member);
            limits.push(("max_bindings_per_member", Some(*care_of), member, most));
        }
        limits
    }

    /// Largest number of live bindings.
    #[must_use]
    pub fn room(&self) -> usize {
        self.settings.max_bindings
    }

    /// How long ago the bound flows were read. `None` before the first time.
    #[must_use]
    pub fn flows_age(&self, now: Time) -> Option<Duration> {
        self.in_use.at.map(|at| now - at)
    }

    /// The live bindings, in order.
    #[cfg(test)]
    pub(crate) fn bindings(&self, now: Time) -> Vec<BindingView> {
        let all = Selection::default();
        self.bindings_page(now, &all, None, usize::MAX).0
    }
}
