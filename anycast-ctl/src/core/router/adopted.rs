//! Checks whether the members behind the routes of an earlier run are still there.
//!
//! A General Query finds that out. Where none is sent, the router asks the members of each such address with
//! Address-Specific Queries, early enough that they can answer before the shell removes their routes.

use std::net::Ipv6Addr;

use super::{LinkId, Router, link::Adopted};
use crate::core::Actions;

impl Router {
    /// Plans Address-Specific Queries for the adopted routes of a link.
    pub(super) fn plan_adopted(&mut self, id: LinkId) {
        let addresses = self.take_adopted(id);
        let link = &mut self.links[id];
        let count = link.settings.timers.last_listener_query_count;
        link.adopted = Adopted::new(addresses, count);
    }

    /// Cancels these Queries, because another router is the Querier or a General Query asks all hosts.
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

    /// Sends a Query about the next adopted address, unless a member has already reported it. Gives whether an address
    /// was left to ask about.
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
