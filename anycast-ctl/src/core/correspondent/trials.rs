//! Pairs (A, C) whose flows failed on trial: answers do not come back through this gateway, or C does not know the
//! flows. Such a pair is left alone for a time that doubles, so that it does not cost the client's next flows the same.

use std::{collections::HashMap, net::Ipv6Addr, time::Duration};

use crate::core::Time;

/// How long a pair is left alone for the first time, and at most.
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_hours(1);

#[derive(Clone, Copy, Debug)]
struct Alone {
    until: Time,
    time: Duration,
    /// The address for which C stood.
    anycast: Ipv6Addr,
}

/// The pairs that are left alone, or were recently.
#[derive(Debug)]
pub(super) struct Trials {
    capacity: usize,
    pairs: HashMap<(Ipv6Addr, Ipv6Addr), Alone>,
}

impl Trials {
    /// Makes an empty table for this number of entries.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            pairs: HashMap::new(),
        }
    }

    /// Whether this pair is left alone, so that no binding of it is made.
    pub(super) fn is_alone(&self, now: Time, client: Ipv6Addr, care_of: Ipv6Addr) -> bool {
        let pair = self.pairs.get(&(client, care_of));
        pair.is_some_and(|alone| now < alone.until)
    }

    /// The care-of addresses with which this client is left alone for an anycast address, in order.
    pub(super) fn of(&self, now: Time, client: Ipv6Addr, anycast: Ipv6Addr) -> Vec<Ipv6Addr> {
        let pairs = self.pairs.iter();
        let alone = pairs.filter(|((a, _), alone)| {
            *a == client && alone.anycast == anycast && now < alone.until
        });
        let mut care_of: Vec<_> = alone.map(|((_, c), _)| *c).collect();
        care_of.sort_unstable();
        care_of
    }

    /// Leaves the pair alone from now on, for twice as long as the last time if that is not long ago. Gives for how
    /// long, unless the pair is left alone already. When the table is full, nothing is remembered.
    pub(super) fn failed(
        &mut self,
        now: Time,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        anycast: Ipv6Addr,
    ) -> Option<Duration> {
        let pair = (client, care_of);
        if !self.pairs.contains_key(&pair) && self.pairs.len() >= self.capacity {
            self.pairs.retain(|_, alone| now < alone.until + LONGEST);
            if self.pairs.len() >= self.capacity {
                return None;
            }
        }
        let last = self.pairs.get(&pair).copied();
        if last.is_some_and(|last| now < last.until) {
            return None;
        }
        let last = last.filter(|last| now < last.until + LONGEST);
        let time = last.map_or(FIRST, |last| (last.time * 2).min(LONGEST));
        let until = now + time;
        self.pairs.insert(
            pair,
            Alone {
                until,
                time,
                anycast,
            },
        );
        Some(time)
    }
}
