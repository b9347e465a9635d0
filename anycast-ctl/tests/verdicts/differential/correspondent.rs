//! The correspondent's half of the rules, written down from `docs/protocol.md` and from nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use super::{
    fate::{Change, Fate, Fragments, Key, Packet, Side, rewrite, translate},
    flow::{Flow, numbers},
    message::{
        is_error, is_never_rewritten, is_port_unreachable, kind_of_mobility, packet_of, quote,
    },
    view::{Transport, View},
};
use crate::{
    harness::Verdict,
    packets::{ACK, ICMPV6, MOBILITY, RST, SYN, TCP},
};

/// The correspondent's half.
#[derive(Clone, Debug, Default)]
pub(super) struct Correspondent {
    /// (A, B) to C, when it is live.
    pub(super) bindings: BTreeMap<(Ipv6Addr, Ipv6Addr), Ipv6Addr>,
    /// (A, C) to B.
    pub(super) care_of: BTreeMap<(Ipv6Addr, Ipv6Addr), Ipv6Addr>,
    /// (A, C) whose binding is live.
    pub(super) live: BTreeSet<(Ipv6Addr, Ipv6Addr)>,
    pub(super) flows: BTreeMap<Key, Flow>,
    fragments: Fragments,
    /// Where fragments came from that errors quote with B: the client got them so.
    seen: BTreeMap<Packet, Ipv6Addr>,
    /// The kernel receives what it gets, and forwards nothing: hop limits are no matter then.
    is_end: bool,
}

/// Whether an error to a client quotes a message that was sent in its name.
fn quotes_ours(frame: &[u8], view: &View) -> bool {
    let Some(quoted) = frame.get(view.upper + 8..view.upper + 52) else {
        return false;
    };
    let of_client = quoted[8..24] == view.destination.octets() && is_client(view.destination);
    of_client && quoted[6] == MOBILITY && matches!(quoted[42], 3 | 4 | 6 | 7)
}

fn is_client(address: Ipv6Addr) -> bool {
    address.segments()[..4] == [0x2001, 0xdb8, 1, 0]
}

fn is_bindable(address: Ipv6Addr) -> bool {
    address.segments()[..3] == [0x2001, 0xdb8, 0xa]
}

/// What becomes of a packet of a flow.
enum Decision {
    Change(Change, Transport),
    Drop,
}

/// Whether a packet of a member opens something of its own, or leaves nothing to lead.
fn is_own(frame: &[u8], view: &View, transport: &Transport) -> bool {
    let opens = transport.flags & (SYN | ACK) == SYN;
    let asks = view.protocol == ICMPV6 && frame[view.upper] == 128;
    opens || asks || transport.flags & RST != 0
}

/// Test Inits, Binding Updates, and types that nobody knows.
const FOR_CORRESPONDENT: fn(u8) -> bool = |kind| matches!(kind, 1 | 2 | 5 | 8..);

impl Correspondent {
    pub(super) fn new(is_end: bool) -> Self {
        Self {
            is_end,
            ..Self::default()
        }
    }

    pub(super) fn ingress(&mut self, frame: &[u8], ours: impl Fn(Ipv6Addr) -> bool) -> Fate {
        let same = Fate::same(Verdict::Pass, frame);
        let Some(view) = View::frame(frame).filter(|view| !is_never_rewritten(view)) else {
            return same;
        };
        if view.protocol == MOBILITY {
            let punted = !view.is_later()
                && ours(view.destination)
                && kind_of_mobility(frame, &view).is_some_and(FOR_CORRESPONDENT);
            return if punted {
                Fate::same(Verdict::Drop, frame)
            } else {
                same
            };
        }
        if view.is_later() {
            return self.later(frame, &view).unwrap_or(same);
        }
        if is_error(&view, frame) {
            return self.error(frame, &view).unwrap_or(same);
        }
        let change = match self.decide(frame, &view) {
            Some(Decision::Drop) => return Fate::same(Verdict::Drop, frame),
            Some(Decision::Change(change, transport)) => Some((change, transport)),
            None => None,
        };
        // The kernel says that the hop limit is used up, of the packet that it was sent.
        let change = change.filter(|_| self.goes_on(&view));
        if let Some(packet) = packet_of(&view).filter(|_| view.is_first()) {
            // Of what has nothing to do with a binding, nothing is kept.
            if change.is_some() || self.is_bound(&view) {
                self.fragments
                    .insert(packet, change.map(|(change, _)| change));
            }
            if let Some(((Side::Source, anycast), _)) = change {
                let (care_of, client, identification, protocol) = packet;
                let seen = (anycast, client, identification, protocol);
                self.seen.insert(seen, care_of);
            }
        }
        change.map_or(same, |(change, transport)| {
            rewrite(frame, &view, change, Some(transport))
        })
    }

    fn bound(&self, key: &Key) -> Option<Ipv6Addr> {
        self.flows.get(key)?.care_of
    }

    fn goes_on(&self, view: &View) -> bool {
        view.hop_limit > 1 || self.is_end
    }

    /// Is, or was until a moment ago.
    fn is_bound(&self, view: &View) -> bool {
        let (source, destination) = (view.source, view.destination);
        let mut bound = self.care_of.iter();
        bound.any(|((client, care_of), anycast)| {
            (*client, *anycast) == (source, destination)
                || (*care_of, *client) == (source, destination)
        })
    }

    fn decide(&mut self, frame: &[u8], view: &View) -> Option<Decision> {
        let transport = view.transport(frame)?;
        let by_client = self.by_client(frame, view, &transport);
        by_client.unwrap_or_else(|| self.by_member(frame, view, &transport))
    }

    /// `None`: no flow of a client's is known, and none begins.
    fn by_client(
        &mut self,
        frame: &[u8],
        view: &View,
        transport: &Transport,
    ) -> Option<Option<Decision>> {
        let (source, destination) = (view.source, view.destination);
        let (client, service) = transport.ports;
        let key = (source, destination, client, service, view.protocol);
        let binding = self.bindings.get(&(source, destination)).copied();
        let syn = transport.flags & (SYN | ACK) == SYN;
        if let Some(flow) = self.flows.get_mut(&key) {
            match flow.care_of {
                None if flow.own && syn => {}
                None => return Some(None),
                Some(_) if flow.is_untried() && transport.flags & (RST | ACK) == RST => {
                    *flow = Flow::own();
                    return Some(Some(Decision::Drop));
                }
                Some(care_of) => {
                    let stillborn = !flow.heard && binding != Some(care_of);
                    if !(syn && (flow.is_closed() || stillborn)) {
                        flow.by_client(view, frame, transport);
                        let change = (Side::Destination, care_of);
                        return Some(Some(Decision::Change(change, *transport)));
                    }
                }
            }
            self.flows.remove(&key);
        }
        let care_of = self.care_of.get(&(source, destination));
        if let Some(anycast) = care_of.filter(|_| transport.flags & (RST | ACK) == RST) {
            let key = (source, *anycast, client, service, view.protocol);
            let flow = self.flows.get_mut(&key);
            if let Some(flow) = flow.filter(|flow| flow.care_of == Some(destination)) {
                flow.is_disowned();
                return Some(None);
            }
        }
        let reply = view.protocol == ICMPV6 && frame[view.upper] == 129;
        match binding {
            // Nothing follows a reset, and an answer begins nothing.
            Some(_) if reply || transport.flags & RST != 0 => None,
            Some(care_of) if syn || view.protocol != TCP => {
                self.flows.insert(key, Flow::bound(care_of, false));
                let flow = self.flows.get_mut(&key)?;
                flow.begins(numbers(view, view.end, frame, transport));
                let change = (Side::Destination, care_of);
                Some(Some(Decision::Change(change, *transport)))
            }
            Some(_) => None,
            None => {
                let begins = !reply && (syn || view.protocol != TCP) && transport.flags & RST == 0;
                if begins && is_client(source) && is_bindable(destination) {
                    self.flows.insert(key, Flow::default());
                }
                None
            }
        }
    }

    fn by_member(&mut self, frame: &[u8], view: &View, transport: &Transport) -> Option<Decision> {
        let (source, destination) = (view.source, view.destination);
        let (service, client) = transport.ports;
        let Some(anycast) = self.care_of.get(&(destination, source)).copied() else {
            let key = (destination, source, client, service, view.protocol);
            let mut known = self.flows.get_mut(&key);
            let bare = transport.flags & (RST | ACK) == RST;
            if bare && known.as_mut().is_some_and(|flow| flow.is_refused()) {
                return Some(Decision::Drop);
            }
            if let Some(flow) = known.filter(|flow| flow.care_of.is_some())
                && transport.flags & RST != 0
            {
                flow.note(
                    view,
                    transport,
                    numbers(view, view.end, frame, transport),
                    1,
                );
            }
            return None;
        };
        let key = (destination, anycast, client, service, view.protocol);
        let change = Decision::Change((Side::Source, anycast), *transport);
        match self.flows.get_mut(&key) {
            Some(flow) if flow.care_of == Some(source) => {
                let bare = transport.flags & (RST | ACK) == RST;
                if bare {
                    flow.is_disowned();
                    return Some(Decision::Drop);
                }
                flow.by_member(view, frame, transport);
                Some(change)
            }
            Some(flow) if flow.care_of.is_some() || flow.own => None,
            None if transport.flags & (SYN | ACK) == SYN => {
                self.flows.insert(key, Flow::own());
                None
            }
            // Its member leads it.
            _ if self.live.contains(&(destination, source)) && !is_own(frame, view, transport) => {
                self.flows.insert(key, Flow::bound(source, true));
                Some(change)
            }
            _ => None,
        }
    }

    fn later(&self, frame: &[u8], view: &View) -> Option<Fate> {
        let guess = || {
            let binding = self.bindings.get(&(view.source, view.destination));
            let anycast = self.care_of.get(&(view.destination, view.source));
            let to = binding.map(|care_of| (Side::Destination, *care_of));
            to.or(anycast.map(|anycast| (Side::Source, *anycast)))
        };
        let noted = self.fragments.get(&packet_of(view)?);
        let change = noted.copied().unwrap_or_else(guess)?;
        self.goes_on(view)
            .then(|| rewrite(frame, view, change, None))
    }

    fn error(&mut self, frame: &[u8], view: &View) -> Option<Fate> {
        if quotes_ours(frame, view) {
            return Some(Fate::same(Verdict::Drop, frame));
        }
        if is_port_unreachable(frame, view)
            && let Some(verdict) = self.unwanted(frame, view)
        {
            return Some(Fate::same(verdict, frame));
        }
        self.of_client(frame, view)
            .or_else(|| self.of_member(frame, view))
    }

    /// C knows nothing of what its client sent, or the client of what C sent.
    fn unwanted(&mut self, frame: &[u8], view: &View) -> Option<Verdict> {
        let (quote, transport) = quote(frame, view)?;
        let (own, other) = transport?.ports;
        if (quote.source, quote.destination) != (view.destination, view.source) {
            return None;
        }
        let by_client = is_client(view.source);
        let ((client, care_of), (port, service), verdict) = if by_client {
            ((view.source, quote.source), (other, own), Verdict::Pass)
        } else {
            ((quote.source, view.source), (own, other), Verdict::Drop)
        };
        let anycast = *self.care_of.get(&(client, care_of))?;
        let flow = self
            .flows
            .get_mut(&(client, anycast, port, service, quote.protocol));
        match flow.filter(|flow| flow.care_of == Some(care_of)) {
            Some(flow) => flow.is_disowned(),
            None if by_client => {}
            None => return None,
        }
        Some(verdict)
    }

    /// The client sent A -> B, the network saw A -> C.
    fn of_client(&self, frame: &[u8], view: &View) -> Option<Fate> {
        let (quote, transport) = quote(frame, view)?;
        let (client, care_of) = (quote.source, quote.destination);
        let anycast = *self.care_of.get(&(client, care_of))?;
        let sent_there = match transport {
            Some(Transport { ports, .. }) => {
                let key = (client, anycast, ports.0, ports.1, quote.protocol);
                self.bound(&key) == Some(care_of)
            }
            None => {
                let (_, _, identification, protocol) = packet_of(&quote)?;
                let sent = (client, anycast, identification, protocol);
                self.fragments.get(&sent) == Some(&Some((Side::Destination, care_of)))
            }
        };
        if view.destination != client || !sent_there {
            return None;
        }
        let [kind, code] = [frame[view.upper], frame[view.upper + 1]];
        if kind == 1 && matches!(code, 0 | 3 | 6) {
            return Some(Fate::same(Verdict::Drop, frame));
        }
        let outer = (view.source == care_of).then_some((Side::Source, anycast));
        let inner = (Side::Destination, anycast);
        self.goes_on(view)
            .then(|| translate(frame, view, (quote, transport), inner, outer))
    }

    /// The member sent C -> A, the network behind the gateway saw B -> A.
    fn of_member(&self, frame: &[u8], view: &View) -> Option<Fate> {
        let (quote, transport) = quote(frame, view)?;
        let (anycast, client) = (quote.source, quote.destination);
        let care_of = match transport {
            Some(Transport { ports, .. }) => {
                let key = (client, anycast, ports.1, ports.0, quote.protocol);
                self.bound(&key)
            }
            None => self.seen.get(&packet_of(&quote)?).copied(),
        };
        let care_of = care_of.filter(|_| view.destination == anycast)?;
        let outer = Some((Side::Destination, care_of));
        let inner = (Side::Source, care_of);
        self.goes_on(view)
            .then(|| translate(frame, view, (quote, transport), inner, outer))
    }
}
