//! The core and the parts that it acts on, and what every event has them do.

use std::{collections::BTreeSet, net::Ipv6Addr, time::Instant};

use super::{
    super::{
        ShellError,
        addresses::Addresses,
        answer::LivePolicy,
        api::server::Call,
        bus::{BusEvent, Incoming},
        clock,
        engine::Engine,
        flows::{Flows, Need},
        netlink::Netlink,
        next_hops::NextHops,
        perform::Performer,
        plain_routes::PlainRoutes,
        plane::Plane,
        recent::{Found, Recent},
    },
    looks::Looks,
    retiring::Retiring,
};
use crate::core::{
    controller::{Flushed, Input},
    correspondent::{Correspondent, Selection},
    member::{Member, Unserved},
};

/// Messages of the bus, and their octets, that are handled before the loop looks at anything else.
const TURN: usize = 64;
const TURN_OCTETS: usize = 32 << 10;

/// What most of them need.
pub(super) const SOON: Need = Need {
    open: false,
    soon: true,
};

/// Who waits for the flows to be read.
#[derive(Debug)]
pub(super) enum Waiter {
    /// The core, which judges the flows.
    Core,
    /// An anycast address that this machine does not serve, and whose packets go to another member when the last
    /// session has ended.
    Unserved,
    /// A group or a care-of address that a reload took out, and that ends with its last session.
    Retired,
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
    pub(super) recent: Recent,
    pub(super) netlink: Netlink,
    pub(super) addresses: Addresses,
    /// What a reload took out of the configuration, and sessions still use.
    pub(super) retiring: Retiring,
    /// Those at what is not served any more.
    pub(super) looks: Looks,
    /// Where XDP may send past the kernel: the next hops that it sends to.
    pub(super) next_hops: Option<NextHops>,
    /// Whether new flows may share these.
    pub(super) plain_routes: PlainRoutes,
    /// Whether this machine is a member and the router of members.
    pub(super) is_own_router: bool,
}

impl Parts {
    /// Performs the actions that the core asked for.
    pub(super) fn perform(&mut self) {
        let actions = self.core.actions();
        let wanted = self.performer.perform(actions, &mut self.plane);
        if let Some(soon) = wanted.all {
            self.flows.wait(Waiter::Core, Need { soon, ..SOON });
        }
        if wanted.hurry {
            self.flows.hurry();
        }
        if let Some(since) = wanted.since {
            self.recent.read(since);
        }
    }

    /// Hands over what the fleet's bus brings: one event, or several messages if they are small.
    pub(super) fn bus(&mut self, event: BusEvent, incoming: Option<&mut Incoming>) {
        let octets = match event {
            BusEvent::Message(octets) => octets,
            BusEvent::Connected(is) => return self.core.handle(Input::BusConnected(is)),
        };
        self.core.handle(Input::Bus(&octets));
        let mut turn = octets.len();
        let Some(incoming) = incoming else { return };
        for _ in 1..TURN {
            if turn >= TURN_OCTETS {
                break;
            }
            let Some(octets) = incoming.more() else { break };
            self.core.handle(Input::Bus(&octets));
            turn += octets.len();
        }
    }

    /// Hands over the flows that were in use of late.
    pub(super) fn recent_read(&mut self, (began, flows): Found) {
        self.core.handle_at(began, Input::RecentFlows(&flows));
    }

    /// Whether this machine can do all of its part.
    pub(super) fn is_ready(&self) -> bool {
        let correspondent = self.core.controller().correspondent();
        correspondent.is_none_or(Correspondent::is_ready)
    }

    /// Assigns and removes addresses, so that they fit the interfaces that exist and the groups that are served.
    pub(super) fn assign(&mut self) {
        if self.is_own_router {
            let sent_on = self.unserved().filter(|(anycast, why)| {
                *why == Unserved::Ill || self.addresses.is_sent_on(*anycast)
            });
            let sent_on = sent_on.map(|(anycast, _)| anycast).collect();
            self.addresses.send_on(sent_on);
        }
        let links = self.plane.links();
        self.addresses
            .reconcile(&mut self.netlink, links, Instant::now());
    }

    /// What the last run sent on goes there until the service is known to be well. An address that nobody sent on stays
    /// here as long as nothing is known.
    pub(super) fn send_on_as_before(&mut self) {
        if self.is_own_router {
            // Of a kernel without rules there is nothing to read.
            let sent_on = self.netlink.sent_on().unwrap_or_default();
            self.addresses.send_on(sent_on.into_iter().collect());
        }
    }

    /// The groups that this machine does not serve, those included that a reload took out, and why.
    fn unserved(&self) -> impl Iterator<Item = (Ipv6Addr, Unserved)> {
        let member = self.core.controller().member();
        let is_gone = move |anycast: &Ipv6Addr| member.is_none_or(|member| !member.has(*anycast));
        let gone = self.retiring.anycast().filter(is_gone);
        let groups = member.into_iter().flat_map(Member::unserved);
        groups.chain(gone.map(|anycast| (anycast, Unserved::Left)))
    }

    /// Whether [`each_second`](Self::each_second) has something to do.
    pub(super) fn is_periodic(&self) -> bool {
        self.is_own_router || self.next_hops.is_some() || self.retiring.is_waiting()
    }

    /// What is done now and then.
    pub(super) fn each_second(&mut self) {
        self.look_at_next_hops();
        if self.is_own_router {
            let waiting = self.waiting();
            if self.looks.is_due(clock::now(), waiting) {
                self.flows.wait(Waiter::Unserved, SOON);
            }
        }
        if self.retiring.is_due(clock::now()) {
            self.flows.wait(Waiter::Retired, SOON);
        }
    }

    /// What is not served and not sent on yet, since sessions may go on with it.
    fn waiting(&self) -> BTreeSet<Ipv6Addr> {
        let unserved = self.unserved();
        let waiting = unserved.filter(|(anycast, why)| {
            *why == Unserved::Left && !self.addresses.is_sent_on(*anycast)
        });
        waiting.map(|(anycast, _)| anycast).collect()
    }

    /// The flows have been read, by whomever: packets to what is not served go to another member where no session is
    /// left.
    pub(super) fn end_unserved(&mut self) {
        if !self.is_own_router || self.flows.seen().last().is_none() || self.waiting().is_empty() {
            return;
        }
        let sessions = self.flows.seen().sessions(clock::now());
        let ends = |(anycast, why): &(Ipv6Addr, Unserved)| match why {
            Unserved::Ill => true,
            Unserved::Left => !sessions.contains_key(anycast),
            Unserved::Unknown => self.addresses.is_sent_on(*anycast),
        };
        let sent_on = self
            .unserved()
            .filter(ends)
            .map(|(anycast, _)| anycast)
            .collect();
        self.addresses.send_on(sent_on);
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
