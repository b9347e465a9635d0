//! The member's half of the rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use super::{
    model::{
        FOR_MEMBER, Fate, Fragments, Key, Side, is_error, is_never_rewritten, is_port_unreachable,
        kind_of_mobility, packet_of, quote, rewrite, translate,
    },
    view::{Transport, View},
};
use crate::{
    harness::Verdict,
    packets::{ACK, ICMPV6, MOBILITY, RST, TCP},
};

const ECHO_REPLY: u8 = 129;

/// How a flow reaches a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) care_of: Ipv6Addr,
    /// It went back to B a moment ago.
    pub(super) by_anycast: bool,
}

/// The member's half.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// C to B.
    pub(super) groups: BTreeMap<Ipv6Addr, Ipv6Addr>,
    pub(super) flows: BTreeMap<Key, Way>,
    /// Flows that this host opened itself, by C.
    own: BTreeSet<Key>,
    sent: Fragments,
}

impl Member {
    pub(super) fn new(groups: BTreeMap<Ipv6Addr, Ipv6Addr>) -> Self {
        Self {
            groups,
            ..Self::default()
        }
    }

    /// Is this one of its addresses?
    pub(super) fn has(&self, address: Ipv6Addr) -> bool {
        self.groups.contains_key(&address) || self.serves(address)
    }

    fn serves(&self, address: Ipv6Addr) -> bool {
        self.groups.values().any(|anycast| *anycast == address)
    }

    pub(super) fn ingress(&mut self, frame: &[u8]) -> Fate {
        let same = Fate::same(Verdict::Pass, frame);
        let dropped = Fate::same(Verdict::Drop, frame);
        let Some(view) = View::frame(frame).filter(|view| !is_never_rewritten(view)) else {
            return same;
        };
        let destination = view.destination;
        let anycast = self.groups.get(&destination).copied();
        if view.protocol == MOBILITY {
            let ours = anycast.is_some() || self.serves(destination);
            let punted =
                !view.is_later() && ours && kind_of_mobility(frame, &view).is_some_and(FOR_MEMBER);
            return if punted { dropped } else { same };
        }
        if view.is_later() {
            // C stands for B and for nothing else.
            let change = anycast.map(|anycast| (Side::Destination, anycast));
            return change.map_or(same, |change| rewrite(frame, &view, change, None));
        }
        if is_error(&view, frame) {
            let translated = anycast.and_then(|anycast| self.error(frame, &view, anycast));
            return translated.unwrap_or(same);
        }
        let Some(transport) = view.transport(frame) else {
            return same;
        };
        let (client, service) = transport.ports;
        let key = |anycast| (view.source, anycast, client, service, view.protocol);
        let Some(anycast) = anycast else {
            if let Some(way) = self.flows.get_mut(&key(destination)) {
                way.by_anycast = true;
            }
            return same;
        };
        let bare_reset = transport.flags & (RST | ACK) == RST;
        if let Some(way) = self.flows.get_mut(&key(anycast)).filter(|_| bare_reset) {
            way.by_anycast = true;
            return dropped;
        }
        let known = self.flows.get(&key(anycast)).copied();
        // Sockets are none of this test.
        let is_echo_reply = view.protocol == ICMPV6 && frame[view.upper] == ECHO_REPLY;
        if known.is_none() && (is_echo_reply || self.own.contains(&key(destination))) {
            return same;
        }
        self.flows.insert(
            key(anycast),
            Way {
                care_of: destination,
                by_anycast: known.is_some_and(|way| way.by_anycast),
            },
        );
        rewrite(frame, &view, (Side::Destination, anycast), Some(transport))
    }

    /// The socket sent B -> A, the network saw C -> A.
    fn error(&mut self, frame: &[u8], view: &View, anycast: Ipv6Addr) -> Option<Fate> {
        let quoted = quote(frame, view).filter(|(quote, _)| quote.source == view.destination)?;
        if let Some(transport) = quoted.1 {
            let (service, client) = transport.ports;
            let to = quoted.0.destination;
            // Else this host has opened the flow.
            let way = self
                .flows
                .get_mut(&(to, anycast, client, service, quoted.0.protocol))?;
            if is_port_unreachable(frame, view) {
                way.by_anycast = true;
                return Some(Fate::same(Verdict::Drop, frame));
            }
        }
        let inner = (Side::Source, anycast);
        let outer = Some((Side::Destination, anycast));
        Some(translate(frame, view, quoted, inner, outer))
    }

    /// This host sends something from C, and no flow of a client does.
    fn note_own(&mut self, frame: &[u8], view: &View, anycast: Ipv6Addr) {
        let connected = matches!(view.protocol, TCP | ICMPV6 | MOBILITY);
        let transport = view.transport(frame);
        let Some(transport) = transport.filter(|_| !view.is_later() && !connected) else {
            return;
        };
        let (service, client) = transport.ports;
        let key = |local| (view.destination, local, client, service, view.protocol);
        if !self.flows.contains_key(&key(anycast)) {
            self.own.insert(key(view.source));
        }
    }

    pub(super) fn egress(&mut self, frame: &[u8]) -> Fate {
        let same = Fate::same(Verdict::Next, frame);
        let Some(view) = View::frame(frame).filter(|view| !is_never_rewritten(view)) else {
            return same;
        };
        if let Some(anycast) = self.groups.get(&view.source).copied() {
            self.note_own(frame, &view, anycast);
        }
        if view.protocol == MOBILITY || !self.serves(view.source) {
            return same;
        }
        let next = |fate| Fate {
            verdict: Verdict::Next,
            ..fate
        };
        if view.is_later() {
            let change =
                packet_of(&view).and_then(|packet| self.sent.get(&packet).copied().flatten());
            return change.map_or(same, |change| next(rewrite(frame, &view, change, None)));
        }
        let transport = view.transport(frame);
        // A reset by which the host says that it does not know the connection.
        let disowns = |transport: &Transport| transport.flags & (RST | ACK) == RST;
        let known = transport.filter(|transport| view.protocol != TCP || !disowns(transport));
        let change = known.and_then(|transport| {
            let (service, client) = transport.ports;
            let key = (
                view.destination,
                view.source,
                client,
                service,
                view.protocol,
            );
            let way = self.flows.get(&key).filter(|way| !way.by_anycast)?;
            Some((Side::Source, way.care_of))
        });
        if let Some(packet) = packet_of(&view).filter(|_| view.is_first()) {
            self.sent.insert(packet, change);
        }
        change.map_or(same, |change| {
            next(rewrite(frame, &view, change, transport))
        })
    }
}
