//! Has the kernel probe the next hops that XDP sends frames to.
//!
//! The kernel verifies a neighbour when it sends to it itself (RFC 4861 section 7.3), and XDP sends past it. So an
//! entry whose Ethernet address is another host's, or nobody's, would be used for as long as XDP alone does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use super::reachability::Reachability;

/// How often the daemon looks which next hops are in use.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How often a next hop in use is probed. The kernel needs three seconds to find that nobody answers.
const EVERY: Duration = Duration::from_secs(3);
/// The most probes that are started at a time; of more next hops those that waited for longest come first.
const AT_ONCE: usize = 64;

/// The next hops in use, and what is known of them.
#[derive(Debug)]
pub(super) struct NextHops {
    neighbours: Reachability,
    known: BTreeMap<(u32, Ipv6Addr), Known>,
}

#[derive(Debug)]
struct Known {
    probed: Option<Instant>,
    mac: Option<[u8; 6]>,
}

impl NextHops {
    pub(super) fn new(neighbours: Reachability) -> Self {
        Self {
            neighbours,
            known: BTreeMap::new(),
        }
    }

    /// Starts the probes that are due, of these next hops. Gives whether one of them has another Ethernet address than
    /// was known.
    pub(super) fn look(&mut self, in_use: &BTreeSet<(u32, Ipv6Addr)>, now: Instant) -> bool {
        self.known.retain(|hop, _| in_use.contains(hop));
        for hop in in_use {
            self.known.entry(*hop).or_insert(Known {
                probed: None,
                mac: None,
            });
        }
        let is_due = |known: &&Known| {
            let waited = known.probed.map(|probed| now.duration_since(probed));
            waited.is_none_or(|waited| waited >= EVERY)
        };
        let mut due: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| is_due(known))
            .map(|(hop, known)| (known.probed, *hop))
            .collect();
        due.sort_unstable();
        let mut changed = false;
        for (_, hop) in due.into_iter().take(AT_ONCE) {
            let mac = self.neighbours.confirm(hop.0, hop.1);
            changed |= self.learn(hop, mac);
            if let Some(known) = self.known.get_mut(&hop) {
                known.probed = Some(now);
            }
        }
        changed
    }

    /// Takes down the Ethernet address of a neighbour. Gives whether that may be news to the programs.
    pub(super) fn learn(&mut self, hop: (u32, Ipv6Addr), mac: Option<[u8; 6]>) -> bool {
        let Some(known) = self.known.get_mut(&hop) else {
            return true;
        };
        let before = std::mem::replace(&mut known.mac, mac);
        mac.is_none() || mac != before
    }
}
