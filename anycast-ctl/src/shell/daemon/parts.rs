//! The core and the parts that it acts on, and what every event has them do.

use super::super::{
    ShellError, addresses::Addresses, answer::LivePolicy, api::server::Call, engine::Engine,
    flows::Flows, netlink::Netlink, next_hops::NextHops, perform::Performer, plane::Plane,
};
use crate::core::{controller::Flushed, correspondent::Selection};

/// Who waits for the flows to be read.
#[derive(Debug)]
pub(super) enum Waiter {
    /// The core, which judges the flows.
    Core,
    /// A client of the control socket, whose request can be answered then.
    Call(Call),
    /// A client of the control socket that ended bindings, whose flows are to be ended as soon as they are read.
    Flush {
        which: Selection,
        ended: Flushed,
        call: Call,
    },
}

/// The core, and the parts that it acts on.
pub(super) struct Parts {
    pub(super) core: Engine,
    pub(super) plane: Plane,
    pub(super) performer: Performer,
    pub(super) policy: LivePolicy,
    pub(super) flows: Flows<Waiter>,
    pub(super) netlink: Netlink,
    pub(super) addresses: Addresses,
    /// Where XDP may send past the kernel: the next hops that it sends to.
    pub(super) next_hops: Option<NextHops>,
}

impl Parts {
    /// Performs the actions that the core asked for.
    pub(super) fn perform(&mut self) {
        let actions = self.core.actions();
        if self.performer.perform(actions, &mut self.plane) {
            self.flows.wait(Waiter::Core);
        }
    }

    /// Assigns and removes addresses, so that they fit the interfaces that exist. Gives whether that has to be tried
    /// again soon.
    pub(super) fn assign(&mut self) -> bool {
        let links = self.plane.links();
        self.addresses.reconcile(&mut self.netlink, links)
    }

    /// Brings the programs and the core up to date with the interfaces that exist.
    pub(super) fn links_changed(&mut self, starting: bool) -> Result<(), ShellError> {
        let groups = self.performer.groups();
        let policy = self.policy.current();
        self.plane
            .links_changed(starting, policy, groups, &mut self.core)
    }

    /// Number of sessions that would end with the programs. Zero where the programs end with the process in any case.
    pub(super) fn sessions_left(&mut self) -> usize {
        let dataplane = self.plane.dataplane();
        if !dataplane.is_pinned() {
            return 0;
        }
        let reader = dataplane.maps().flow_reader();
        self.flows.seen().read_sessions(&reader)
    }
}
