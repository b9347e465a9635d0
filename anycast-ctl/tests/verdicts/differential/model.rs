//! The rules of the data plane, written down from `docs/protocol.md` and from nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use super::{
    frame::UDP_LITE,
    view::{Transport, View, u16_at},
};
use crate::{
    harness::Verdict,
    packets::{ACK, FIN, ICMPV6, MOBILITY, RST, SYN, TCP, UDP},
};

/// What has to become of a frame.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    pub(super) verdict: Verdict,
    pub(super) frame: Vec<u8>,
    /// Checksums in it for which 0 and 0xffff are the same number.
    pub(super) either: Vec<usize>,
}

/// The flow as the client names it: client, anycast address, their ports, protocol.
pub(super) type Key = (Ipv6Addr, Ipv6Addr, u16, u16, u8);

/// Where an address is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Side {
    fn at(self, ip: usize) -> usize {
        match self {
            Self::Source => ip + 8,
            Self::Destination => ip + 24,
        }
    }
}

pub(super) type Change = (Side, Ipv6Addr);
pub(super) type Packet = (Ipv6Addr, Ipv6Addr, u32, u8);

/// What later fragments of a packet do; `None`: they stay as they are.
pub(super) type Fragments = BTreeMap<Packet, Option<Change>>;

impl Fate {
    pub(super) fn same(verdict: Verdict, frame: &[u8]) -> Self {
        Self {
            verdict,
            frame: frame.to_vec(),
            either: Vec::new(),
        }
    }

    /// Replaces an address, and takes what that changes out of the checksums at these places.
    fn replace(&mut self, at: usize, address: Ipv6Addr, checksums: &[Option<Checksum>]) {
        let new = address.octets();
        self.change(at, &new, checksums);
    }

    fn change(&mut self, at: usize, new: &[u8], checksums: &[Option<Checksum>]) {
        let old = self.frame[at..at + new.len()].to_vec();
        self.frame[at..at + new.len()].copy_from_slice(new);
        for checksum in checksums.iter().flatten() {
            checksum.update(self, &old, new);
        }
    }
}

/// A checksum that is there.
#[derive(Clone, Copy, Debug)]
struct Checksum {
    at: usize,
    /// Of UDP or UDP-Lite, where 0 says that there is none.
    udp: bool,
}

/// In the arithmetic of RFC 1071, where 0xffff is 0.
const MODULUS: u64 = 0xffff;

fn sum(octets: &[u8]) -> u64 {
    let words = octets
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1]));
    words.sum::<u64>() % MODULUS
}

impl Checksum {
    fn of(transport: &Transport, protocol: u8) -> Option<Self> {
        let udp = matches!(protocol, UDP | UDP_LITE);
        transport.checksum.map(|at| Self { at, udp })
    }

    /// The checksum is what the rest lacks to make 0: more of the rest, less of it.
    fn update(self, fate: &mut Fate, old: &[u8], new: &[u8]) {
        let now = u64::from(u16_at(&fate.frame, self.at).expect("it was read"));
        if self.udp && now == 0 {
            return;
        }
        let mut next = (now + sum(old) + MODULUS - sum(new)) % MODULUS;
        if next == 0 && self.udp {
            next = MODULUS;
        }
        if !self.udp {
            fate.either.push(self.at);
        }
        let next = u16::try_from(next).expect("below the modulus");
        fate.frame[self.at..self.at + 2].copy_from_slice(&next.to_be_bytes());
    }
}

/// Addresses that are never rewritten, and whose partner is not either.
pub(super) fn is_never_rewritten(view: &View) -> bool {
    let of_no_flow = |address: Ipv6Addr| {
        let link_local = address.segments()[0] & 0xffc0 == 0xfe80;
        link_local || address.is_multicast() || address.is_unspecified() || address.is_loopback()
    };
    of_no_flow(view.source) || of_no_flow(view.destination)
}

/// Of an error.
pub(super) fn is_port_unreachable(frame: &[u8], view: &View) -> bool {
    frame[view.upper..view.upper + 2] == [1, 4]
}

pub(super) fn is_error(view: &View, frame: &[u8]) -> bool {
    let whole = view.upper + 8 <= view.end.min(frame.len());
    view.protocol == ICMPV6 && whole && frame[view.upper] < 128
}

/// The type of a message, when its header is there.
pub(super) fn kind_of_mobility(frame: &[u8], view: &View) -> Option<u8> {
    let header = frame.get(view.upper..view.upper + 8)?;
    Some(header[2])
}

/// The packet that an error quotes, and its transport header, which a later fragment has not.
pub(super) fn quote(frame: &[u8], view: &View) -> Option<(View, Option<Transport>)> {
    let frame = &frame[..view.end.min(frame.len())];
    let quote = View::packet(frame, view.upper + 8)?;
    let transport = match quote.is_later() {
        true => None,
        false => Some(quote.transport(frame)?),
    };
    Some((quote, transport))
}

/// Whether it is an error about a later fragment.
pub(super) fn quotes_later(frame: &[u8]) -> bool {
    let view = View::frame(frame).filter(|view| !view.is_later() && is_error(view, frame));
    view.and_then(|view| quote(frame, &view))
        .is_some_and(|(quote, _)| quote.is_later())
}

pub(super) fn packet_of(view: &View) -> Option<Packet> {
    let fragment = view.fragment?;
    Some((
        view.source,
        view.destination,
        fragment.identification,
        fragment.protocol,
    ))
}

/// Replaces an address of a packet that has its transport header, or of one that has none.
pub(super) fn rewrite(
    frame: &[u8],
    view: &View,
    (side, address): Change,
    transport: Option<Transport>,
) -> Fate {
    let mut fate = Fate::same(Verdict::Pass, frame);
    let checksum = transport.and_then(|transport| Checksum::of(&transport, view.protocol));
    fate.replace(side.at(view.ip), address, &[checksum]);
    fate
}

/// Puts an error right: an address of the quote, and perhaps one of its own.
pub(super) fn translate(
    frame: &[u8],
    view: &View,
    (quote, transport): (View, Option<Transport>),
    inner: Change,
    outer: Option<Change>,
) -> Fate {
    let mut fate = Fate::same(Verdict::Pass, frame);
    let own = Some(Checksum {
        at: view.upper + 2,
        udp: false,
    });
    if let Some((side, address)) = outer {
        fate.replace(side.at(view.ip), address, &[own]);
    }
    let quoted = transport.and_then(|transport| Checksum::of(&transport, quote.protocol));
    let before = quoted.map(|quoted| fate.frame[quoted.at..quoted.at + 2].to_vec());
    fate.replace(inner.0.at(quote.ip), inner.1, &[own, quoted]);
    // The quoted checksum is itself covered by the error's.
    if let (Some(quoted), Some(before), Some(own)) = (quoted, before, own) {
        let after = fate.frame[quoted.at..quoted.at + 2].to_vec();
        own.update(&mut fate, &before, &after);
    }
    fate
}

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

/// A flow that is remembered: open, unless it has a care-of address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    pub(super) care_of: Option<Ipv6Addr>,
    /// It was answered before C said that it does not know the connection.
    doubted: bool,
    /// Something came from the member.
    heard: bool,
    /// The sequence number of the client's first segment by C.
    first: Option<u32>,
    /// The member answered something that the client sent by C.
    answered: bool,
    /// What comes after the last segment of the client, and of the member.
    next: [Option<u32>; 2],
    /// Client and member have closed it. All segments here have numbers that are near those of the flow.
    ended: [bool; 2],
}

impl Flow {
    fn bound(care_of: Ipv6Addr, led: bool) -> Self {
        Self {
            care_of: Some(care_of),
            heard: led,
            ..Self::default()
        }
    }

    fn is_closed(&self) -> bool {
        self.ended == [true; 2]
    }

    /// C, or the client of what C sent, does not know it.
    fn is_disowned(&mut self) {
        if self.answered {
            (self.answered, self.doubted, self.first) = (false, true, None);
        } else if !self.doubted {
            *self = Self::default();
        }
    }

    /// The first by C sets what is known.
    fn begins(&mut self, [sequence, next, _]: [u32; 3]) {
        if self.first.is_none() {
            self.first = Some(sequence);
            self.next[0] = Some(next);
        }
    }

    fn by_client(&mut self, view: &View, frame: &[u8], transport: &Transport) {
        let numbers = numbers(view, frame, transport);
        self.begins(numbers);
        self.note(view, transport, numbers, 0);
    }

    fn by_member(&mut self, view: &View, frame: &[u8], transport: &Transport) {
        self.heard = true;
        let numbers = numbers(view, frame, transport);
        if let (Some(first), Some(next)) = (self.first, self.next[0]) {
            let near = first..=next + (1 << 20);
            let acknowledges = transport.flags & ACK != 0 && near.contains(&numbers[2]);
            self.answered |= view.protocol != TCP || acknowledges;
        }
        self.note(view, transport, numbers, 1);
    }

    fn note(&mut self, view: &View, transport: &Transport, numbers: [u32; 3], own: usize) {
        if view.protocol != TCP {
            return;
        }
        let [sequence, next, acknowledged] = numbers;
        let known = *self.next[own].get_or_insert(sequence);
        if transport.flags & ACK != 0 {
            self.next[1 - own].get_or_insert(acknowledged);
        }
        let ends = transport.flags & (FIN | RST) != 0;
        if ends {
            self.ended[own] = true;
        }
        if transport.flags & RST != 0 {
            self.ended = [true; 2];
        }
        if next > known {
            self.next[own] = Some(next);
            self.ended[own] &= ends;
        }
    }
}

/// Sequence number, the one after the segment, and acknowledgement number of TCP.
fn numbers(view: &View, frame: &[u8], transport: &Transport) -> [u32; 3] {
    if view.protocol != TCP {
        return [0; 3];
    }
    let at = |at: usize| {
        let octets = frame[at..at + 4].try_into().expect("the header is whole");
        u32::from_be_bytes(octets)
    };
    let (sequence, acknowledged) = (at(view.upper + 4), at(view.upper + 8));
    let header = usize::from(frame[view.upper + 12] >> 4) * 4;
    let payload = view.end - view.upper - header;
    let flag = |flag| u32::from(transport.flags & flag != 0);
    let next = sequence + u32::try_from(payload).expect("short") + flag(SYN) + flag(FIN);
    [sequence, next, acknowledged]
}

/// Whether a packet of a member opens something of its own, or leaves nothing to lead.
fn is_own(frame: &[u8], view: &View, transport: &Transport) -> bool {
    let opens = transport.flags & (SYN | ACK) == SYN;
    let asks = view.protocol == ICMPV6 && frame[view.upper] == 128;
    opens || asks || transport.flags & RST != 0
}

/// Test Inits, Binding Updates, and types that nobody knows.
const FOR_CORRESPONDENT: fn(u8) -> bool = |kind| matches!(kind, 1 | 2 | 5 | 8..);
/// The answers to a member's.
pub(super) const FOR_MEMBER: fn(u8) -> bool = |kind| matches!(kind, 0 | 3 | 4 | 6 | 7);

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
            let Some(care_of) = flow.care_of else {
                return Some(None);
            };
            let stillborn = !flow.heard && binding != Some(care_of);
            if !(syn && (flow.is_closed() || stillborn)) {
                flow.by_client(view, frame, transport);
                let change = (Side::Destination, care_of);
                return Some(Some(Decision::Change(change, *transport)));
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
                flow.begins(numbers(view, frame, transport));
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
            let bound = self.flows.get_mut(&key);
            if let Some(flow) = bound.filter(|flow| flow.care_of.is_some())
                && transport.flags & RST != 0
            {
                flow.note(view, transport, numbers(view, frame, transport), 1);
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
            Some(flow) if flow.care_of.is_some() => None,
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
