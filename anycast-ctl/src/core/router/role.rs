//! The role: what comes in, and the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::Duration,
};

use anycast_common::wire::{ipv6, mld};

use super::{
    discovery,
    group::Group,
    key::{GroupKey, LinkId, Timer},
    link::LinkState,
    member,
    policy::Policy,
    querier,
    routes::Routes,
    schedule::Schedule,
    settings::Settings,
};
use crate::core::{
    Action, Actions, Link, NextHop, Notice, Received, Time,
    counters::{Counter, Counters},
    notice::{LeaveCause, RefusedBy},
    rr::Generator,
};

/// How long the routes of an earlier run stay after the answers to the first Queries, where their members do not
/// report.
pub const GRACE: Duration = Duration::from_secs(5);

/// The router role.
#[derive(Debug)]
pub struct Router {
    pub(super) policy: Policy,
    pub(super) links: Vec<LinkState>,
    pub(super) groups: BTreeMap<GroupKey, Group>,
    /// Number of groups that a member is in.
    pub(super) memberships: BTreeMap<(LinkId, Ipv6Addr), usize>,
    /// Number of joins since the start.
    pub(super) joins: u64,
    pub(super) schedule: Schedule<Timer>,
    pub(super) routes: Routes,
    /// Addresses whose routes an earlier run left, by interface, until their members have been asked.
    pub(super) adopted: BTreeSet<(u32, Ipv6Addr)>,
    pub(super) counters: Counters,
    /// Spreads Advertisements over time.
    pub(super) random: Generator,
}

impl Router {
    /// Makes a router that knows no link yet.
    ///
    /// `settings` are not checked here; see [`Timers::validate`].
    #[must_use]
    pub fn new(settings: Settings, _now: Time, random: Generator) -> Self {
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
            random,
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
            mld::Message::Query(query) => {
                self.query(now, id, received, source, query, actions);
            }
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
                Timer::Earlier => self.routes.forget_earlier(),
                Timer::GeneralQuery(id) => {
                    self.role_event(now, id, querier::Event::QueryTimer, actions);
                }
                Timer::OtherQuerier(id) => {
                    self.role_event(now, id, querier::Event::OtherQuerierTimer, actions);
                }
                Timer::V2Querier(id) => self.v2_querier_gone(now, id, actions),
                Timer::Hold(id) => self.give_up(id, actions),
                Timer::LeaveGroup(id) => self.leave_to_hear(now, id, actions),
                Timer::Refresh(id) => self.refresh_next(now, id, actions),
                Timer::Probe(id) => self.probe_next(now, id, actions),
                Timer::Advertise(id) => {
                    self.discovery_event(now, id, discovery::Event::Timer, actions);
                }
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
    /// this one as soon as it sends a Report, so that a restart moves no flow; when the kernel's route is gone, after
    /// [`GRACE`], there is nothing to keep any more. Where no General Query is sent, the router asks the members of
    /// `anycast` with Address-Specific Queries.
    pub fn adopt(&mut self, now: Time, anycast: Ipv6Addr, next_hop: NextHop) {
        let links = self.links.iter();
        let answers = links.map(|link| link.settings.timers.first_answers());
        let answers = answers.max().unwrap_or_default();
        self.schedule
            .start(Timer::Earlier, now, answers.saturating_add(GRACE));
        self.adopted.insert((next_hop.ifindex, anycast));
        self.routes.adopt(anycast, next_hop);
    }

    /// Tells switches, withdraws every route and forgets every link and member. The router then does nothing until a
    /// link appears again.
    pub fn shutdown(&mut self, now: Time, actions: &mut Actions) {
        for id in 0..self.links.len() {
            self.discovery_event(now, id, discovery::Event::Stopped, actions);
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

    pub(super) fn link_id(&self, ifindex: u32) -> Option<LinkId> {
        self.links
            .iter()
            .position(|link| link.ifindex == Some(ifindex))
    }

    pub(super) fn refuse(
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
