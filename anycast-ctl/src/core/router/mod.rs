//! The first-hop router of members: draft-haberman-ipngwg-host-anycast section 4 over RFC 2710.
//!
//! Hosts report the anycast addresses that they serve. The router keeps the members of each address per link, sends
//! Queries from time to time, and has a route for each address that has a member. A message is handled by
//! [`Router::mld`], then by `membership` (policy and `member` diagram), then by `routes`. Timers are handled by
//! [`Router::poll`], which calls `links` (`querier` diagram), `queries` and `membership`.
//!
//! # Choices
//!
//! The drafts and RFC 2710 leave these questions open:
//!
//! - **Members are remembered one by one.** RFC 2710 needs to know only whether any host listens, but a unicast route
//!   has to lead to a particular host. So a Done starts a check of its sender alone, and a Report refreshes its sender
//!   alone.
//! - **The election is among MLDv1 Queries**, General and Specific. RFC 2710 would count an MLDv2
//!   Query too (it is at least 24 octets long), but its winner has to answer for anycast Dones and
//!   keep anycast groups alive, and RFC 3810 has no Query for a unicast address. An MLDv2 Query
//!   therefore shows only that another router asks *all hosts*, so that this router need not do so.
//! - **A refresh by Address-Specific Queries** sends each of them [Last Listener Query Count] times, since a
//!   Non-Querier that hears the first one gives members only as much time as that many Queries take.
//! - **Address-Specific Queries for one address are at least [Last Listener Query Interval] apart**, also when several
//!   members leave at once. Every member answers each Query, so a stream of forged Dones must not set their rate.
//! - **Fast leave** still sends Queries (draft section 4.3), after it has removed the member: other routers learn
//!   from them, and a victim of a forged Done answers them and so joins again.
//! - **A member that the kernel cannot reach** is removed long before its timer expires. Queries for its groups follow
//!   as after a fast leave. So a member that is alive, and whose neighbour entry somebody deleted by hand, is without a
//!   route only for a moment.
//! - **Caps apply to joins.** A host that is a member already stays one when a cap is lowered.

mod adopted;
mod explain;
mod group;
mod key;
mod link;
mod links;
mod listening;
mod member;
mod membership;
mod page;
mod policy;
mod probe;
mod querier;
mod queries;
mod roster;
mod routes;
mod schedule;
mod settings;
#[cfg(test)]
mod tests;
mod timers;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use anycast_common::wire::{ipv6, mld};

pub use explain::{Cap, Explanation, Mismatch, Step, Verdict};
pub use page::{Cursor, Filter, GroupSummary, MemberRow};
pub use policy::{Decision, MAX_RULES, Numbered, Place, Policy, PolicyError, Rule};
pub use settings::{GeneralQueries, LinkSettings, NextHopChoice, Settings};
pub use timers::{Timers, TimersError};
pub use view::{GroupState, GroupView, LinkRole, LinkView, MemberView, Queries, Reason};

use super::{
    Action, Actions, Link, NextHop, Notice, Received, Time,
    counters::{Counter, Counters},
    notice::{LeaveCause, RefusedBy},
};
use group::Group;
use key::{GroupKey, LinkId, Timer};
use link::LinkState;
use routes::Routes;
use schedule::Schedule;

/// The router role.
#[derive(Debug)]
pub struct Router {
    policy: Policy,
    links: Vec<LinkState>,
    groups: BTreeMap<GroupKey, Group>,
    /// Number of groups that a member is in.
    memberships: BTreeMap<(LinkId, Ipv6Addr), usize>,
    /// Number of joins since the start.
    joins: u64,
    schedule: Schedule<Timer>,
    routes: Routes,
    /// Addresses whose routes an earlier run left, by interface, until their members have been asked.
    adopted: BTreeSet<(u32, Ipv6Addr)>,
    counters: Counters,
}

impl Router {
    /// Makes a router that knows no link yet.
    ///
    /// `settings` are not checked here; see [`Timers::validate`].
    #[must_use]
    pub fn new(settings: Settings, _now: Time) -> Self {
        Self {
            policy: settings.policy,
            links: settings.links.into_iter().map(LinkState::new).collect(),
            groups: BTreeMap::new(),
            memberships: BTreeMap::new(),
            joins: 0,
            schedule: Schedule::new(),
            routes: Routes::new(settings.next_hops),
            adopted: BTreeSet::new(),
            counters: Counters::default(),
        }
    }

    /// Handles a link that appeared or changed. Links are matched by name, and a link without settings is ignored.
    pub fn link(&mut self, now: Time, link: &Link, actions: &mut Actions) {
        self.link_changed(now, link, actions);
        self.routes.flush(&self.groups, &self.links, actions);
    }

    /// Handles a link that disappeared.
    pub fn link_gone(&mut self, _now: Time, ifindex: u32, actions: &mut Actions) {
        if let Some(id) = self.link_id(ifindex) {
            self.forget_link(id, LeaveCause::LinkDown, actions);
        }
        self.routes.flush(&self.groups, &self.links, actions);
    }

    /// Handles an MLD message from `source` that [`mld::Message::parse`] accepted.
    pub fn mld(
        &mut self,
        now: Time,
        received: &Received<'_>,
        source: Ipv6Addr,
        message: mld::Message,
        actions: &mut Actions,
    ) {
        let (address, joins) = match message {
            mld::Message::Query(query) => (query.address, false),
            mld::Message::Report { address } | mld::Message::Done { address } => (address, true),
        };
        let Some(id) = self
            .link_id(received.ifindex)
            .filter(|id| self.links[*id].up)
        else {
            return self.refuse(Counter::MldNoLink, received, source, address, actions);
        };
        // A packet with this router's own source address comes from a loop or from a forger.
        let own = self.links[id].link_local == Some(source);
        if !ipv6::is_link_local(source) || own || joins && ipv6::anycastable(address).is_err() {
            return self.refuse(Counter::MldInvalid, received, source, address, actions);
        }
        match message {
            mld::Message::Query(query) => self.query(now, id, source, query, actions),
            mld::Message::Report { .. } => {
                self.report(now, id, received, source, address, actions);
            }
            mld::Message::Done { .. } => self.done(now, id, received, source, address, actions),
        }
        self.routes.flush(&self.groups, &self.links, actions);
    }

    /// Handles a host at `address` that does not answer Neighbor Solicitations on its link. Its memberships end at
    /// once. The router still sends Queries for its groups, so that a host which is alive can answer and join again.
    pub fn neighbour_failed(
        &mut self,
        now: Time,
        ifindex: u32,
        address: Ipv6Addr,
        actions: &mut Actions,
    ) {
        if let Some(id) = self.link_id(ifindex) {
            self.unreachable(now, id, address, actions);
        }
        self.routes.flush(&self.groups, &self.links, actions);
    }

    /// Does everything that is due. To be called when [`deadline`](Self::deadline) has come.
    pub fn poll(&mut self, now: Time, actions: &mut Actions) {
        while let Some(timer) = self.schedule.expired(now) {
            match timer {
                Timer::GeneralQuery(id) => {
                    self.role_event(now, id, querier::Event::QueryTimer, actions);
                }
                Timer::OtherQuerier(id) => {
                    self.role_event(now, id, querier::Event::OtherQuerierTimer, actions);
                }
                Timer::V2Querier(id) => self.v2_querier_gone(now, id, actions),
                Timer::LeaveGroup(id) => self.leave_to_hear(now, id, actions),
                Timer::Refresh(id) => self.refresh_next(now, id, actions),
                Timer::Probe(id) => self.probe_next(now, id, actions),
                Timer::Retransmit(key) => self.retransmit(now, key, actions),
                Timer::Member(key, member) => {
                    self.member_event(now, key, member, member::Event::Timer, actions);
                }
            }
        }
        self.routes.flush(&self.groups, &self.links, actions);
    }

    /// Time of the next call of [`poll`](Self::poll). It may be earlier than necessary, but never later.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.schedule.next()
    }

    /// Notes that the kernel still has the route of an earlier run to this member. Where one member is chosen, it is
    /// this one as soon as it sends a Report, so that a restart moves no flow. Where no General Query is sent, the
    /// router asks the members of `anycast` with Address-Specific Queries.
    pub fn adopt(&mut self, anycast: Ipv6Addr, next_hop: NextHop) {
        self.adopted.insert((next_hop.ifindex, anycast));
        self.routes.adopt(anycast, next_hop);
    }

    /// Withdraws every route and forgets every link and member. The router then does nothing until a link appears
    /// again.
    pub fn shutdown(&mut self, _now: Time, actions: &mut Actions) {
        for id in 0..self.links.len() {
            self.forget_link(id, LeaveCause::Shutdown, actions);
        }
        self.schedule.clear();
        self.routes.flush(&self.groups, &self.links, actions);
    }

    /// Replaces the policy. Members that the new policy does not allow are removed at once.
    pub fn set_policy(&mut self, _now: Time, policy: Policy, actions: &mut Actions) {
        self.policy = policy;
        self.apply_policy(actions);
        self.routes.flush(&self.groups, &self.links, actions);
    }

    /// The counters of the router role.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn link_id(&self, ifindex: u32) -> Option<LinkId> {
        self.links
            .iter()
            .position(|link| link.ifindex == Some(ifindex))
    }

    fn refuse(
        &mut self,
        reason: Counter,
        received: &Received<'_>,
        source: Ipv6Addr,
        anycast: Ipv6Addr,
        actions: &mut Actions,
    ) {
        self.counters.count(reason);
        actions.push(Action::Notice(Notice::MldRefused {
            ifindex: received.ifindex,
            source,
            mac: received.mac,
            by: RefusedBy::Controller,
            anycast: Some(anycast).filter(|address| !address.is_unspecified()),
            reason: reason.name(),
        }));
    }
}
