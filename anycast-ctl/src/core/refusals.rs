//! The last messages that were refused, to show why a host cannot join and why a client is not bound.

use std::{collections::BTreeMap, net::Ipv6Addr};

use super::{Time, notice::RefusedBy};

/// What was refused, and why. Repeated refusals with the same values are one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct What {
    /// Interface index.
    pub ifindex: u32,
    /// Source of the Report or Done.
    pub source: Ipv6Addr,
    /// Ethernet source address of the Report or Done.
    pub mac: [u8; 6],
    /// The anycast address that the message names, where it could be read.
    pub anycast: Option<Ipv6Addr>,
    /// The reason, which is the name of a counter.
    pub reason: &'static str,
    /// Whether the data plane or the controller refused it. The data plane reports only examples.
    pub by: RefusedBy,
}

/// A mobility message that a correspondent refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mobility {
    /// Source of the message: the anycast address, or a care-of address.
    pub source: Ipv6Addr,
    /// Destination of the message: the client.
    pub destination: Ipv6Addr,
    /// The reason, which is the name of a counter.
    pub reason: &'static str,
}

/// What was refused has a reason.
pub trait Refused: Copy + PartialEq {
    /// The reason, which is the name of a counter.
    fn reason(&self) -> &'static str;
}

impl Refused for What {
    fn reason(&self) -> &'static str {
        self.reason
    }
}

impl Refused for Mobility {
    fn reason(&self) -> &'static str {
        self.reason
    }
}

/// An entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<W = What> {
    /// What was refused.
    pub what: W,
    /// Time of the first refusal.
    pub first: Time,
    /// Time of the last refusal.
    pub last: Time,
    /// How often the refusal was seen.
    pub count: u64,
}

/// The last refusals. Their number is limited.
#[derive(Debug)]
pub struct Refusals<W = What> {
    capacity: usize,
    entries: Vec<Refusal<W>>,
}

impl<W: Refused> Refusals<W> {
    /// Makes an empty list for at most `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: Vec::new(),
        }
    }

    /// Adds a refusal.
    pub fn note(&mut self, now: Time, what: W) {
        if let Some(known) = self.entries.iter_mut().find(|known| known.what == what) {
            known.last = now;
            known.count += 1;
            return;
        }
        if self.entries.len() >= self.capacity {
            self.forget_one();
        }
        self.entries.push(Refusal {
            what,
            first: now,
            last: now,
            count: 1,
        });
    }

    /// The refusals, the latest first.
    #[must_use]
    pub fn list(&self) -> Vec<Refusal<W>> {
        let mut list = self.entries.clone();
        list.sort_by_key(|known| std::cmp::Reverse(known.last));
        list
    }

    /// Makes room for one entry. Forged senders come once each, all with the same reason. So an entry of the most
    /// frequent reason is removed, namely the one that was seen least often, and of several the oldest. A host that
    /// cannot join tries again, and its entry stays.
    fn forget_one(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for known in &self.entries {
            *counts.entry(known.what.reason()).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some((reason, _)) = most else {
            return;
        };
        let victim = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, known)| known.what.reason() == reason)
            .min_by_key(|(_, known)| (known.count, known.last));
        if let Some((index, _)) = victim {
            self.entries.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn what(host: u16, reason: &'static str) -> What {
        What {
            ifindex: 1,
            source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host),
            mac: [2; 6],
            anycast: None,
            reason,
            by: RefusedBy::Controller,
        }
    }

    #[test]
    fn the_same_again_is_counted() {
        let mut refusals = Refusals::new(4);
        refusals.note(at(1), what(1, "denied"));
        refusals.note(at(2), what(2, "denied"));
        refusals.note(at(3), what(1, "denied"));
        let other = What {
            mac: [3; 6],
            ..what(1, "denied")
        };
        refusals.note(at(4), other);
        let seen: Vec<_> = refusals
            .list()
            .iter()
            .map(|known| (known.what, known.first, known.last, known.count))
            .collect();
        assert_eq!(
            seen,
            [
                (other, at(4), at(4), 1),
                (what(1, "denied"), at(1), at(3), 2),
                (what(2, "denied"), at(2), at(2), 1),
            ]
        );
    }

    #[test]
    fn forged_senders_push_out_neither_another_reason_nor_who_tries_again() {
        let mut refusals = Refusals::new(8);
        refusals.note(at(0), what(1, "group_full"));
        refusals.note(at(1), what(2, "denied"));
        refusals.note(at(2), what(2, "denied"));
        for host in 100..1000 {
            refusals.note(at(host.into()), what(host, "denied"));
        }
        let list = refusals.list();
        assert_eq!(list.len(), 8);
        assert!(list.iter().any(|known| known.what == what(1, "group_full")));
        assert!(list.iter().any(|known| known.what == what(2, "denied")));
        assert_eq!(list[0].what, what(999, "denied"), "the latest is there");
    }
}
