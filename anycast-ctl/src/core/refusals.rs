//! The last refusals, for whoever asks why a host cannot join.

use std::{collections::BTreeMap, net::Ipv6Addr};

use super::{Time, notice::RefusedBy};

/// What was refused, and why. The same again is one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct What {
    /// Interface index.
    pub ifindex: u32,
    /// Source of the Report or Done.
    pub source: Ipv6Addr,
    /// Its Ethernet source.
    pub mac: [u8; 6],
    /// The address that it names, where it could be read.
    pub anycast: Option<Ipv6Addr>,
    /// In the words of a counter.
    pub reason: &'static str,
    /// Who refused it. Of what the data plane refuses there are examples only.
    pub by: RefusedBy,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What.
    pub what: What,
    /// When first.
    pub first: Time,
    /// When last.
    pub last: Time,
    /// How often it was seen.
    pub count: u64,
}

/// The last refusals, at most a fixed number of different ones.
#[derive(Debug)]
pub struct Refusals {
    capacity: usize,
    entries: Vec<Refusal>,
}

impl Refusals {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: Vec::new(),
        }
    }

    /// Something was refused.
    pub fn note(&mut self, now: Time, what: What) {
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

    /// The latest first.
    #[must_use]
    pub fn list(&self) -> Vec<Refusal> {
        let mut list = self.entries.clone();
        list.sort_by_key(|known| std::cmp::Reverse(known.last));
        list
    }

    /// Forged senders come once each, all for the same reason: of the reason that fills most, the
    /// rarest goes, and of these the oldest. A host that cannot join tries again, and stays.
    fn forget_one(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for known in &self.entries {
            *counts.entry(known.what.reason).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some((reason, _)) = most else {
            return;
        };
        let victim = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, known)| known.what.reason == reason)
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
