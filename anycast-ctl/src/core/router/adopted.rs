//! Routes of an earlier run: whether their members are still there.
//!
//! A General Query finds that out. Where none goes out, the members are asked by name, soon enough to
//! answer before the shell gives their routes up.

use std::net::Ipv6Addr;

use super::{LinkId, Router};
use crate::core::Actions;

/// Addresses on a link whose members are asked by name.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    addresses: Vec<Ipv6Addr>,
    /// Queries for each of them, all in all.
    count: usize,
    /// Queries that are left.
    left: usize,
}

impl Adopted {
    fn new(addresses: Vec<Ipv6Addr>, count: u8) -> Self {
        let count = usize::from(count);
        Self {
            left: addresses.len() * count,
            addresses,
            count,
        }
    }

    /// How many Queries there are from the first to the last; none when that one has gone out.
    pub(super) fn turns(&self) -> usize {
        if self.left == 0 {
            return 0;
        }
        self.addresses.len() * self.count
    }

    fn next(&mut self) -> Option<Ipv6Addr> {
        self.left = self.left.checked_sub(1)?;
        let round = self.left % self.addresses.len();
        self.addresses.get(round).copied()
    }
}

impl Router {
    /// From now on the members of adopted routes on a link are asked by name.
    pub(super) fn plan_adopted(&mut self, id: LinkId) {
        let addresses = self.take_adopted(id);
        let link = &mut self.links[id];
        let count = link.settings.timers.last_listener_query_count;
        link.adopted = Adopted::new(addresses, count);
    }

    /// Somebody else asks, or everybody is asked.
    pub(super) fn drop_adopted(&mut self, id: LinkId) {
        self.take_adopted(id);
        self.links[id].adopted = Adopted::default();
    }

    fn take_adopted(&mut self, id: LinkId) -> Vec<Ipv6Addr> {
        let Some(ifindex) = self.links[id].ifindex else {
            return Vec::new();
        };
        let mine = self.adopted.extract_if(.., |(on, _)| *on == ifindex);
        mine.map(|(_, anycast)| anycast).collect()
    }

    /// Asks about the next of them, unless somebody has reported it by now. Gives whether there
    /// was one.
    pub(super) fn ask_adopted(&mut self, id: LinkId, actions: &mut Actions) -> bool {
        let Some(anycast) = self.links[id].adopted.next() else {
            return false;
        };
        if !self.groups.contains_key(&(anycast, id)) {
            self.send_specific((anycast, id), actions);
        }
        true
    }
}
