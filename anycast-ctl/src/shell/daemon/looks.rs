//! When to look whether sessions have ended, for which all flows are read.

use std::{collections::BTreeSet, net::Ipv6Addr, time::Duration};

use crate::core::Time;

/// How often all flows are read for sessions that go on.
pub(super) const NOW_AND_THEN: Duration = Duration::from_secs(30);

/// The looks at the sessions with addresses that this machine does not serve any more.
#[derive(Debug, Default)]
pub(super) struct Looks {
    known: BTreeSet<Ipv6Addr>,
    again: Time,
}

impl Looks {
    /// Whether to look now, where sessions with these addresses may go on: at once when one is new, and then not often,
    /// since they may last for days.
    pub(super) fn is_due(&mut self, now: Time, waiting: BTreeSet<Ipv6Addr>) -> bool {
        let is_new = !waiting.is_subset(&self.known);
        let is_due = is_new || !waiting.is_empty() && self.again <= now;
        if is_due {
            self.again = now + NOW_AND_THEN;
        }
        self.known = waiting;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_looked_at_at_once_and_what_lasts_now_and_then() {
        let address = |last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, last);
        let mut looks = Looks::default();
        let mut at = Vec::new();
        for second in 0..100_u64 {
            let waiting = match second {
                0..5 => vec![],
                5..10 => vec![1],
                10..70 => vec![1, 2],
                _ => vec![],
            };
            let waiting = waiting.into_iter().map(address).collect();
            if looks.is_due(Time::ZERO + Duration::from_secs(second), waiting) {
                at.push(second);
            }
        }
        assert_eq!(at, [5, 10, 40]);
    }
}
