//! Pages of what is known of clients, so that a list of tens of thousands does not hold up the loop.

use std::{net::Ipv6Addr, ops::Bound};

use super::{
    Handshakes, Key,
    machine::Handshake,
    state::{State, Unanswered},
};
use crate::core::{
    Time,
    member::{Awaited, HandshakeCursor, HandshakeFilter, HandshakeView},
};

/// Number of clients that are examined for one page, whether they are on it or not.
const SCAN: usize = 10_000;

impl Handshakes {
    /// Number of handshakes that are under way.
    pub(in crate::core::member) fn under_way(&self) -> usize {
        let known = self.table.values();
        known.filter(|(_, known)| known.is_under_way()).count()
    }

    /// A page of at most `limit` clients in the order of anycast address and client, and where the next page begins. A
    /// page may be empty although there are more.
    pub(in crate::core::member) fn page(
        &self,
        now: Time,
        which: HandshakeFilter,
        after: Option<HandshakeCursor>,
        limit: usize,
    ) -> (Vec<HandshakeView>, Option<HandshakeCursor>) {
        let first = Key {
            anycast: which.anycast.unwrap_or(Ipv6Addr::UNSPECIFIED),
            client: Ipv6Addr::UNSPECIFIED,
        };
        let from = match after {
            Some((anycast, client)) => Bound::Excluded(Key { anycast, client }),
            None => Bound::Included(first),
        };
        let known = self.table.range((from, Bound::Unbounded));
        let known = known.take_while(|(key, _)| which.anycast.is_none_or(|b| b == key.anycast));
        let mut rows = Vec::new();
        for (looked_at, (key, (_, handshake))) in (1..).zip(known) {
            let Key { anycast, client } = *key;
            if which.client.is_none_or(|wanted| wanted == client) {
                rows.push(handshake.view(client, anycast, now));
            }
            if rows.len() >= limit.max(1) || looked_at >= SCAN {
                return (rows, Some((anycast, client)));
            }
        }
        (rows, None)
    }
}

impl Handshake {
    fn view(&self, client: Ipv6Addr, anycast: Ipv6Addr, now: Time) -> HandshakeView {
        HandshakeView {
            client,
            anycast,
            state: self.state(),
            waiting_for: self.waiting_for(),
            attempts: self.attempts,
            failures: self.failures,
            since: now - self.since,
            remaining: self.deadline() - now,
            heard: self.heard,
            alone: match &self.state {
                State::BackOff { why, .. } => Some(*why),
                State::Resting { .. }
                | State::Testing(_)
                | State::Updating(_)
                | State::Bound { .. } => None,
            },
        }
    }

    fn waiting_for(&self) -> Vec<Awaited> {
        match &self.state {
            State::Testing(testing) => {
                let Unanswered { home, care_of } = testing.unanswered();
                let home = home.map(|_| Awaited::HomeTest);
                let care_of = care_of.map(|_| Awaited::CareOfTest);
                home.into_iter().chain(care_of).collect()
            }
            State::Updating(_) => vec![Awaited::BindingAck],
            State::Resting { .. } | State::Bound { .. } | State::BackOff { .. } => Vec::new(),
        }
    }
}
