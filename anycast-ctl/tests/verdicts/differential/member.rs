//! The member's half of the rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use super::{
    fate::{Fate, Fragments, Key, Packet, Side, rewrite, translate},
    flow::numbers,
    member_flow::{Flow, Lead, Way},
    message::{
        is_error, is_never_rewritten, is_port_unreachable, kind_of_mobility, packet_of, quote,
    },
    view::{Transport, View},
};
use crate::{
    harness::Verdict,
    packets::{ACK, ICMPV6, MOBILITY, RST, SYN, TCP},
};

const ECHO_REPLY: u8 = 129;
/// The answers to a member's messages.
const FOR_MEMBER: fn(u8) -> bool = |kind| matches!(kind, 0 | 3 | 4 | 6 | 7);

/// The member's half.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// C to B.
    pub(super) groups: BTreeMap<Ipv6Addr, Ipv6Addr>,
    /// Flows that clients opened, and those that this host opened by B.
    flows: BTreeMap<Key, Flow>,
    /// Flows that this host opened itself, by C.
    own: BTreeSet<Key>,
    /// (A, B) of clients that are known: the care-of address by which they are led, while they are.
    clients: BTreeMap<(Ipv6Addr, Ipv6Addr), Option<Ipv6Addr>>,
    sent: Fragments,
    /// Packets to C whose first fragment stayed as it was.
    kept: BTreeSet<Packet>,
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

    /// A handshake has ended, or what it brought about is over.
    pub(super) fn bind(&mut self, client: Ipv6Addr, care_of: Ipv6Addr, live: bool) {
        if let Some(anycast) = self.groups.get(&care_of) {
            self.clients
                .insert((client, *anycast), live.then_some(care_of));
        }
    }

    /// The client does not know the binding.
    fn unbind(&mut self, client: Ipv6Addr, anycast: Ipv6Addr) {
        if let Some(led) = self.clients.get_mut(&(client, anycast)) {
            *led = None;
        }
    }

    /// How those flows are reached that have come by C.
    pub(super) fn ways(&self) -> BTreeMap<Key, Way> {
        let ways = self.flows.iter();
        ways.filter_map(|(key, flow)| Some((*key, flow.way()?)))
            .collect()
    }

    pub(super) fn ingress(&mut self, frame: &[u8]) -> Fate {
        let same = Fate::same(Verdict::Pass, frame);
        let Some(view) = View::frame(frame).filter(|view| !is_never_rewritten(view)) else {
            return same;
        };
        let destination = view.destination;
        let anycast = self.groups.get(&destination).copied();
        if view.protocol == MOBILITY {
            let ours = anycast.is_some() || self.serves(destination);
            let punted =
                !view.is_later() && ours && kind_of_mobility(frame, &view).is_some_and(FOR_MEMBER);
            return match punted {
                true => Fate::same(Verdict::Drop, frame),
                false => same,
            };
        }
        if view.is_later() {
            // C stands for B, except in packets that are this host's own.
            let kept = packet_of(&view).is_some_and(|packet| self.kept.contains(&packet));
            let change = anycast.filter(|_| !kept);
            return change.map_or(same, |anycast| {
                rewrite(frame, &view, (Side::Destination, anycast), None)
            });
        }
        let Some(anycast) = anycast else {
            let transport = view.transport(frame).filter(|_| self.serves(destination));
            if let Some(transport) = transport.filter(|_| !is_error(&view, frame)) {
                self.by_anycast(frame, &view, &transport);
            }
            return same;
        };
        let fate = if is_error(&view, frame) {
            self.error(frame, &view, anycast)
        } else {
            self.by_care_of(frame, &view, anycast)
        };
        let fate = fate.unwrap_or(same);
        if let Some(packet) = packet_of(&view).filter(|_| view.is_first()) {
            let after = View::frame(&fate.frame).map(|view| view.destination);
            match fate.verdict == Verdict::Pass && after == Some(destination) {
                true => self.kept.insert(packet),
                false => self.kept.remove(&packet),
            };
        }
        fate
    }

    /// A packet to B, which stays as it is.
    fn by_anycast(&mut self, frame: &[u8], view: &View, transport: &Transport) {
        let (client, service) = transport.ports;
        let pair = (view.source, view.destination);
        let key = (pair.0, pair.1, client, service, view.protocol);
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.came_by_anycast();
            let numbers = numbers(view, view.end, frame, transport);
            flow.came_in(view.protocol, transport.flags, numbers);
            return;
        }
        let opens = match view.protocol {
            TCP => transport.flags & (SYN | ACK) == SYN,
            ICMPV6 => frame[view.upper] != ECHO_REPLY,
            _ => true,
        };
        if opens && self.clients.contains_key(&pair) {
            self.flows.insert(key, Flow::opened(None));
        }
    }

    /// A packet to C. `None`: it stays as it is.
    fn by_care_of(&mut self, frame: &[u8], view: &View, anycast: Ipv6Addr) -> Option<Fate> {
        let transport = view.transport(frame)?;
        let care_of = view.destination;
        let (client, service) = transport.ports;
        let key = |local| (view.source, local, client, service, view.protocol);
        if let Some(flow) = self.flows.get_mut(&key(anycast)) {
            let bare = view.protocol == TCP && transport.flags & (RST | ACK) == RST;
            if bare && let Some(first) = flow.holds_reset() {
                if first {
                    self.unbind(view.source, anycast);
                }
                return Some(Fate::same(Verdict::Drop, frame));
            }
            let numbers = numbers(view, view.end, frame, &transport);
            flow.came_in(view.protocol, transport.flags, numbers);
            flow.came_by_care_of(care_of);
        } else {
            // Sockets are none of this test.
            let is_echo_reply = view.protocol == ICMPV6 && frame[view.upper] == ECHO_REPLY;
            if is_echo_reply || self.own.contains(&key(care_of)) {
                return None;
            }
            self.flows.insert(key(anycast), Flow::opened(Some(care_of)));
        }
        let change = (Side::Destination, anycast);
        Some(rewrite(frame, view, change, Some(transport)))
    }

    /// The socket sent B -> A, the network saw C -> A.
    fn error(&mut self, frame: &[u8], view: &View, anycast: Ipv6Addr) -> Option<Fate> {
        let quoted = quote(frame, view).filter(|(quote, _)| quote.source == view.destination)?;
        if let Some(transport) = quoted.1 {
            let (service, client) = transport.ports;
            let to = quoted.0.destination;
            // Else this host has opened the flow.
            let flow = self
                .flows
                .get_mut(&(to, anycast, client, service, quoted.0.protocol))?;
            if is_port_unreachable(frame, view)
                && let Some(first) = flow.holds_reset()
            {
                if first {
                    self.unbind(to, anycast);
                }
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

    /// A packet of this host. `from`: where it has left from, which the rules leave open where a flow that was not
    /// bound some milliseconds ago is now.
    pub(super) fn egress(&mut self, frame: &[u8], from: Option<Ipv6Addr>) -> Fate {
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
        let care_of = transport.and_then(|transport| self.leaves(frame, &view, &transport, from));
        let change = care_of.map(|care_of| (Side::Source, care_of));
        if let Some(packet) = packet_of(&view).filter(|_| view.is_first()) {
            self.sent.insert(packet, change);
        }
        change.map_or(same, |change| {
            next(rewrite(frame, &view, change, transport))
        })
    }

    /// The care-of address from which a packet of B leaves, if it does.
    fn leaves(
        &mut self,
        frame: &[u8],
        view: &View,
        transport: &Transport,
        from: Option<Ipv6Addr>,
    ) -> Option<Ipv6Addr> {
        let (service, client) = transport.ports;
        let pair = (view.destination, view.source);
        let key = (pair.0, pair.1, client, service, view.protocol);
        let Some(flow) = self.flows.get_mut(&key) else {
            // This host opens it.
            if view.protocol != TCP && self.clients.contains_key(&pair) {
                self.flows.insert(key, Flow::own());
            }
            return None;
        };
        let numbers = numbers(view, frame.len(), frame, transport);
        let is_new = flow.went_out(view.protocol, transport.flags, numbers);
        if let Some(care_of) = flow.by_care_of() {
            // A reset by which the host says that it does not know the connection.
            let bare = transport.flags & (RST | ACK) == RST;
            let answers_a_syn = transport.flags & RST != 0 && numbers[0] == 0;
            let disowns = view.protocol == TCP && (bare || answers_a_syn);
            return (!disowns).then_some(care_of);
        }
        if !is_new {
            return None;
        }
        let led = self.clients.get(&pair).copied().flatten();
        match flow.canary(led) {
            Lead::No => None,
            Lead::Yes(care_of) => Some(care_of),
            Lead::Maybe(care_of) => {
                let led = from == Some(care_of);
                flow.was_asked(led);
                led.then_some(care_of)
            }
        }
    }
}
