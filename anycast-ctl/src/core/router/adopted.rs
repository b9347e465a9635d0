//! Routes of an earlier run: whether their members are still there.
//!
//! A General Query finds that out. Where none goes out, the members are asked by name, soon enough to
//! answer before the shell gives their routes up.

use std::net::Ipv6Addr;

use super::{LinkId, Router, link::Adopted};
use crate::core::Actions;

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
