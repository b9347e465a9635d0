//! The member role: its inputs and its timers.

use std::{collections::BTreeMap, net::Ipv6Addr};

use anycast_common::wire::{ipv6, mld, neighbor::Solicitation};

use super::{
    context::Context,
    followers::HandOn,
    group::Group,
    handshake::{Handshakes, Peer},
    listeners::Listeners,
    neighbor::Answers,
    settings::Settings,
    view::{GroupView, HandshakeCursor, HandshakeFilter, HandshakeView, InterfaceView, QueryView},
};
use crate::core::{
    Action, Actions, CheckAction, Link, MapAction, Notice, Received, Time,
    counters::{Counter, Counters},
    rr::Generator,
    time::earliest,
};

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The configuration does not have the address.
    #[error("{0} is not an anycast address of this member")]
    UnknownGroup(Ipv6Addr),
}

/// The member role.
#[derive(Debug)]
pub struct Member {
    pub(super) groups: BTreeMap<Ipv6Addr, Group>,
    /// The anycast address of each care-of address.
    pub(super) care_of: BTreeMap<Ipv6Addr, Ipv6Addr>,
    pub(super) links: BTreeMap<u32, Link>,
    /// When the last Query was heard on an interface, and from whom.
    queries: BTreeMap<u32, (Time, Ipv6Addr)>,
    pub(super) listeners: Listeners,
    pub(super) answers: Answers,
    pub(super) handshakes: Handshakes,
    pub(super) hand_on: HandOn,
    pub(super) rng: Generator,
    pub(super) counters: Counters,
}

impl Member {
    /// Makes the role, which is a member of no group yet.
    #[must_use]
    pub fn new(settings: Settings, now: Time, rng: Generator) -> Self {
        let Settings {
            groups,
            listener,
            handshake,
        } = settings;
        let care_of = groups
            .iter()
            .filter_map(|group| Some((group.care_of?, group.anycast)))
            .collect();
        let groups = groups
            .into_iter()
            .map(|settings| (settings.anycast, Group::new(settings, now)));
        Self {
            groups: groups.collect(),
            care_of,
            links: BTreeMap::new(),
            queries: BTreeMap::new(),
            listeners: Listeners::new(listener),
            answers: Answers::default(),
            hand_on: HandOn::new(&handshake),
            handshakes: Handshakes::new(handshake),
            rng,
            counters: Counters::default(),
        }
    }

    /// Handles an interface that appeared or changed.
    pub fn link(&mut self, now: Time, link: &Link, actions: &mut Actions) {
        self.links.insert(link.ifindex, link.clone());
        for anycast in self.joined() {
            self.report_on(now, anycast, link.ifindex, actions);
        }
    }

    /// Handles an interface that was deleted.
    pub fn link_gone(&mut self, now: Time, ifindex: u32, actions: &mut Actions) {
        self.links.remove(&ifindex);
        self.queries.remove(&ifindex);
        for anycast in self.joined() {
            self.report_on(now, anycast, ifindex, actions);
        }
    }

    /// Handles a Query. MLDv1 and MLDv2 Queries are answered in the same way.
    pub fn query(
        &mut self,
        now: Time,
        received: &Received<'_>,
        source: Ipv6Addr,
        query: mld::Query,
        actions: &mut Actions,
    ) {
        if !ipv6::is_link_local(source) {
            return self.counters.count(Counter::MldInvalid);
        }
        self.counters.count(Counter::QueryHeard);
        if self.links.contains_key(&received.ifindex) {
            self.queries.insert(received.ifindex, (now, source));
        }
        let asked: Vec<Ipv6Addr> = if query.address.is_unspecified() {
            self.joined()
        } else {
            vec![query.address]
        };
        let (listeners, mut cx) = self.listeners(now, actions);
        for anycast in asked {
            listeners.query(anycast, received.ifindex, query.max_response_delay, &mut cx);
        }
    }

    /// Whether a Neighbor Solicitation asks for an address that this member serves on the interface.
    #[must_use]
    pub fn owns(&self, ifindex: u32, packet: &ipv6::Packet<'_>) -> bool {
        let asked = Solicitation::parse(packet);
        asked.is_ok_and(|asked| self.listeners.source(asked.target, ifindex).is_some())
    }

    /// Handles a Neighbor Solicitation. `mac` is the Ethernet address of this host on the interface.
    pub fn solicited(
        &mut self,
        now: Time,
        ifindex: u32,
        mac: [u8; 6],
        packet: &ipv6::Packet<'_>,
        actions: &mut Actions,
    ) {
        let Ok(asked) = Solicitation::parse(packet) else {
            return self.counters.count(Counter::SolicitationInvalid);
        };
        let Some(link_local) = self.listeners.source(asked.target, ifindex) else {
            return;
        };
        let mut cx = Context {
            now,
            rng: &mut self.rng,
            counters: &mut self.counters,
            actions,
        };
        self.answers
            .solicited(ifindex, &asked, link_local, mac, &mut cx);
    }

    /// Handles the event that a client's packet came to `anycast` and the data plane knows of no binding.
    pub fn new_client(
        &mut self,
        now: Time,
        client: Ipv6Addr,
        anycast: Ipv6Addr,
        actions: &mut Actions,
    ) {
        self.counters.count(Counter::ClientSeen);
        let peer = self.peer(client, anycast);
        let Some(peer) = peer.filter(|_| ipv6::is_routable_unicast(client)) else {
            return self.counters.count(Counter::ClientIgnored);
        };
        let (handshakes, mut cx) = self.handshakes_mut(now, actions);
        handshakes.packet(peer, &mut cx);
    }

    /// Does what is due at `now`.
    pub fn poll(&mut self, now: Time, actions: &mut Actions) {
        let (listeners, mut cx) = self.listeners(now, actions);
        listeners.poll(&mut cx);
        let mut cx = Context {
            now,
            rng: &mut self.rng,
            counters: &mut self.counters,
            actions,
        };
        let listeners = &self.listeners;
        self.answers
            .poll(|anycast, on| listeners.source(anycast, on), &mut cx);
        let (handshakes, mut cx) = self.handshakes_mut(now, actions);
        handshakes.poll(&mut cx);
        self.poll_health(now, actions);
    }

    /// When [`Member::poll`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let checks = self
            .groups
            .values()
            .filter_map(|group| Some(group.checks.as_ref()?.deadline()));
        let deadline = earliest(self.listeners.deadline(), self.handshakes.deadline());
        earliest(self.answers.deadline(), earliest(deadline, checks.min()))
    }

    /// Leaves every group and takes back every binding.
    pub fn shutdown(&mut self, now: Time, actions: &mut Actions) {
        for anycast in self.joined() {
            if let Some(group) = self.groups.get_mut(&anycast) {
                group.joined = false;
            }
            self.part(now, anycast, actions);
        }
        let served: Vec<Ipv6Addr> = self.groups.keys().copied().collect();
        for anycast in served {
            // No check may make the member join again.
            let checks = self
                .groups
                .get_mut(&anycast)
                .and_then(|group| group.checks.take());
            if checks.is_some_and(|checks| checks.under_way()) {
                actions.push(Action::Check(CheckAction::Abort { anycast }));
            }
            let (handshakes, mut cx) = self.handshakes_mut(now, actions);
            handshakes.stop(anycast, &mut cx);
        }
    }

    /// Whether the configuration has the anycast address.
    #[must_use]
    pub fn has(&self, anycast: Ipv6Addr) -> bool {
        self.groups.contains_key(&anycast)
    }

    /// Every anycast address of the configuration, in order.
    #[must_use]
    pub fn groups(&self, now: Time) -> Vec<GroupView> {
        self.groups
            .iter()
            .map(|(anycast, group)| GroupView {
                anycast: *anycast,
                care_of: group.settings.care_of,
                // Without an interface nobody has been told.
                joined: group.joined && self.listeners.interfaces(*anycast).next().is_some(),
                wanted: group.wanted,
                draining: group.draining.map(|since| now.since(since)),
                health: group.checks.as_ref().map(|checks| checks.view(now)),
                interfaces: self
                    .listeners
                    .interfaces(*anycast)
                    .map(|(ifindex, report_owed)| InterfaceView {
                        ifindex,
                        name: self
                            .links
                            .get(&ifindex)
                            .map_or_else(String::new, |link| link.name.clone()),
                        report_owed,
                        last_query: self.queries.get(&ifindex).map(|(at, from)| QueryView {
                            from: *from,
                            age: now.since(*at),
                        }),
                    })
                    .collect(),
            })
            .collect()
    }

    /// A page of at most `limit` known clients in the order of anycast address and client, and where the next page
    /// begins. A page may be empty although there are more.
    #[must_use]
    pub fn handshakes_page(
        &self,
        now: Time,
        which: HandshakeFilter,
        after: Option<HandshakeCursor>,
        limit: usize,
    ) -> (Vec<HandshakeView>, Option<HandshakeCursor>) {
        self.handshakes.page(now, which, after, limit)
    }

    /// How many handshakes are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.handshakes.under_way()
    }

    /// What is known of each client, in the order of anycast address and client.
    #[cfg(test)]
    pub(crate) fn handshakes(&self, now: Time) -> Vec<HandshakeView> {
        let all = HandshakeFilter::default();
        self.handshakes_page(now, all, None, usize::MAX).0
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Does what has to be done when a group was left.
    pub(super) fn part(&mut self, now: Time, anycast: Ipv6Addr, actions: &mut Actions) {
        actions.push(Action::Map(MapAction::SetLocalAnycast {
            anycast,
            report_clients: false,
        }));
        let places: Vec<u32> = self
            .listeners
            .interfaces(anycast)
            .map(|(ifindex, _)| ifindex)
            .collect();
        let (listeners, mut cx) = self.listeners(now, actions);
        for ifindex in places {
            listeners.stop(anycast, ifindex, &mut cx);
        }
        let joined = false;
        actions.push(Action::Notice(Notice::Membership { anycast, joined }));
    }

    /// Brings the listener of `anycast` on an interface in line with the state of both.
    pub(super) fn report_on(
        &mut self,
        now: Time,
        anycast: Ipv6Addr,
        ifindex: u32,
        actions: &mut Actions,
    ) {
        let wanted = self.report_source(anycast, ifindex);
        let current = self.listeners.source(anycast, ifindex);
        if wanted == current {
            return;
        }
        let (listeners, mut cx) = self.listeners(now, actions);
        if current.is_some() {
            listeners.lose(anycast, ifindex, &mut cx);
        }
        // Routers know members by their link-local addresses, so that a host with another one is another member.
        if let Some(link_local) = wanted {
            listeners.start(anycast, ifindex, link_local, &mut cx);
        }
    }

    /// Source address that Reports for `anycast` should have on an interface. `None` where it should not be reported.
    pub(super) fn report_source(&self, anycast: Ipv6Addr, ifindex: u32) -> Option<Ipv6Addr> {
        let group = self.groups.get(&anycast).filter(|group| group.joined)?;
        let link = self.links.get(&ifindex).filter(|link| link.up)?;
        let configured = group.settings.interfaces.contains(&link.name);
        link.link_local.filter(|_| configured)
    }

    /// The addresses of a handshake. `None` when this host is not in the group, or the group has no care-of address.
    pub(super) fn peer(&self, client: Ipv6Addr, anycast: Ipv6Addr) -> Option<Peer> {
        let group = self.groups.get(&anycast).filter(|group| group.joined)?;
        Some(Peer {
            client,
            anycast,
            care_of: group.settings.care_of?,
            name: group.settings.peers.own(),
        })
    }

    pub(super) fn group(&mut self, anycast: Ipv6Addr) -> Result<&mut Group, CommandError> {
        self.groups
            .get_mut(&anycast)
            .ok_or(CommandError::UnknownGroup(anycast))
    }

    pub(super) fn joined(&self) -> Vec<Ipv6Addr> {
        let joined = self.groups.iter().filter(|(_, group)| group.joined);
        joined.map(|(anycast, _)| *anycast).collect()
    }

    pub(super) fn ifindexes(&self) -> Vec<u32> {
        self.links.keys().copied().collect()
    }

    pub(super) fn listeners<'a>(
        &'a mut self,
        now: Time,
        actions: &'a mut Actions,
    ) -> (&'a mut Listeners, Context<'a>) {
        let cx = Context {
            now,
            rng: &mut self.rng,
            counters: &mut self.counters,
            actions,
        };
        (&mut self.listeners, cx)
    }

    pub(super) fn handshakes_mut<'a>(
        &'a mut self,
        now: Time,
        actions: &'a mut Actions,
    ) -> (&'a mut Handshakes, Context<'a>) {
        let cx = Context {
            now,
            rng: &mut self.rng,
            counters: &mut self.counters,
            actions,
        };
        (&mut self.handshakes, cx)
    }
}
