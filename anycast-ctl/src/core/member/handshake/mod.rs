//! Binding handshakes with clients (RFC 6275 sections 11.6 and 11.7, draft anycast-rr).

mod back_off;
mod belongs;
mod exchange;
mod limiter;
mod machine;
mod page;
mod state;
mod step;

use std::{
    cmp::Ordering,
    collections::{
        BTreeMap,
        btree_map::{Entry, OccupiedEntry},
    },
    mem,
    net::Ipv6Addr,
    time::Duration,
};

pub(super) use exchange::Peer;
use limiter::Limiter;
use machine::Handshake;
pub(super) use state::{Event, Evidence, Test};

use super::{HandshakeSettings, context::Context};
use crate::core::{Time, counters::Counter, timers::Timers};

/// How long the data plane does not report a client whose handshake a limit held back.
const LIMITED: Duration = Duration::from_secs(1);

/// A client of an anycast address, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    anycast: Ipv6Addr,
    client: Ipv6Addr,
}

impl Key {
    /// What orders keys: addresses as whole numbers. The order of the standard library, which is the same, compares
    /// addresses by 16 bits, and each message is looked for among all clients.
    fn order(self) -> (u128, u128) {
        (self.anycast.to_bits(), self.client.to_bits())
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Peer> for Key {
    fn from(peer: Peer) -> Self {
        let Peer {
            client, anycast, ..
        } = peer;
        Self { anycast, client }
    }
}

/// The handshakes of this member, at most `max_clients`.
#[derive(Debug)]
pub(super) struct Handshakes {
    settings: HandshakeSettings,
    limiter: Limiter,
    table: BTreeMap<Key, (Peer, Handshake)>,
    timers: Timers<Key>,
    /// Entries that can be forgotten to make room: nothing is under way with them and nothing is bound.
    forgettable: Timers<Key>,
}

impl Handshakes {
    pub(super) fn new(settings: HandshakeSettings) -> Self {
        Self {
            limiter: Limiter::new(&settings),
            settings,
            table: BTreeMap::new(),
            timers: Timers::default(),
            forgettable: Timers::default(),
        }
    }

    /// Other limits and times from now on.
    pub(super) fn set(&mut self, settings: HandshakeSettings) {
        self.limiter.set(&settings);
        self.settings = settings;
    }

    /// Handles a packet of the client to B: starts a handshake, unless there is one already or a limit forbids it.
    pub(super) fn packet(&mut self, peer: Peer, cx: &mut Context<'_>) {
        let known = self.table.get(&peer.into()).map(|(_, handshake)| handshake);
        let starts = known.is_none_or(|known| known.starts(&Event::Packet, cx.now));
        let again = known.is_some_and(Handshake::tries_again);
        let is_known = known.is_some();
        let held = match starts {
            false => None,
            true if again && !self.limiter.tries_again(cx.now) => {
                return self.postpone(peer, cx);
            }
            true if !self.limiter.start(cx.now, peer.client) => Some(Counter::HandshakeLimited),
            true if !is_known && !self.has_room() => Some(Counter::HandshakeTableFull),
            true => None,
        };
        if let Some(counter) = held {
            cx.count(counter);
            let until = cx.now + LIMITED;
            return peer.quiet(until, cx);
        }
        match self.table.entry(peer.into()) {
            Entry::Occupied(entry) => {
                let timed = (&mut self.timers, &mut self.forgettable);
                advance(entry, Event::Packet, &self.settings, timed, cx);
            }
            Entry::Vacant(entry) => {
                let key = *entry.key();
                let handshake = Handshake::new(cx.now);
                let next = handshake.after(Event::Packet, peer, &self.settings, cx);
                set_timers(
                    key,
                    next.as_ref(),
                    (&mut self.timers, &mut self.forgettable),
                );
                if let Some(next) = next {
                    entry.insert((peer, next));
                }
            }
        }
    }

    /// Handles a message of the client. Gives false when nothing is known of the client.
    pub(super) fn message(&mut self, peer: Peer, event: Event<'_>, cx: &mut Context<'_>) -> bool {
        let Entry::Occupied(entry) = self.table.entry(peer.into()) else {
            return false;
        };
        let (_, handshake) = entry.get();
        if handshake.starts(&event, cx.now) && !self.limiter.start(cx.now, peer.client) {
            cx.count(Counter::HandshakeLimited);
            return true;
        }
        let timed = (&mut self.timers, &mut self.forgettable);
        advance(entry, event, &self.settings, timed, cx);
        true
    }

    /// Too many clients whose handshakes failed are being tried again at present. This one waits for as long as clients
    /// are left alone, so that the data plane does not report all of them every second.
    fn postpone(&mut self, peer: Peer, cx: &mut Context<'_>) {
        cx.count(Counter::HandshakePostponed);
        let key = peer.into();
        let until = cx.now + self.settings.max_back_off;
        if let Some((_, handshake)) = self.table.get_mut(&key) {
            handshake.postpone(cx.now, until);
            self.timers.set(key, Some(handshake.deadline()));
            self.forgettable.set(key, Some(handshake.deadline()));
        }
        peer.quiet(until, cx);
    }

    /// Forgets clients of the anycast addresses, so that their next packets start handshakes again. Gives their number.
    /// Bindings last until they expire.
    pub(super) fn forget(
        &mut self,
        client: Option<Ipv6Addr>,
        anycast: &[Ipv6Addr],
        cx: &mut Context<'_>,
    ) -> usize {
        let known = self.table.keys();
        let keys: Vec<Key> = known
            .filter(|key| client.is_none_or(|client| client == key.client))
            .filter(|key| anycast.contains(&key.anycast))
            .copied()
            .collect();
        for key in &keys {
            self.drop_entry(key, cx);
        }
        keys.len()
    }

    /// This member has another care-of address, or name, for `anycast` from now on. Clients that have been left alone
    /// are tried with it when they send next, and bindings are renewed with it.
    pub(super) fn readdress(
        &mut self,
        anycast: Ipv6Addr,
        care_of: Option<Ipv6Addr>,
        name: Option<u16>,
        cx: &mut Context<'_>,
    ) {
        let mut over = Vec::new();
        for (key, (peer, handshake)) in self.table.range_mut(Key::all(anycast)) {
            match care_of.filter(|_| !handshake.is_forgettable()) {
                Some(care_of) => (peer.care_of, peer.name) = (care_of, name),
                None => over.push(*key),
            }
        }
        for key in over {
            self.drop_entry(&key, cx);
        }
    }

    fn drop_entry(&mut self, key: &Key, cx: &mut Context<'_>) {
        self.timers.set(*key, None);
        self.forgettable.set(*key, None);
        if let Some((peer, _)) = self.table.remove(key) {
            peer.quiet(cx.now, cx);
        }
    }

    /// Ends the handshakes of `anycast` that are not bound yet. Bindings last until they expire: as long as routers
    /// still send clients to this member, a new flow that is bound survives the move of the route.
    pub(super) fn leave(&mut self, anycast: Ipv6Addr, cx: &mut Context<'_>) {
        self.all(anycast, &Event::Leave, cx);
    }

    /// Ends every handshake of `anycast`, and deletes its bindings.
    pub(super) fn stop(&mut self, anycast: Ipv6Addr, cx: &mut Context<'_>) {
        self.all(anycast, &Event::Stop, cx);
    }

    fn all(&mut self, anycast: Ipv6Addr, event: &Event<'_>, cx: &mut Context<'_>) {
        let keys: Vec<Key> = self
            .table
            .range(Key::all(anycast))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.step(key, event.clone(), cx);
        }
    }

    /// Does what is due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(key) = self.timers.pop(cx.now) {
            self.step(key, Event::TimerExpired, cx);
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    fn step(&mut self, key: Key, event: Event<'_>, cx: &mut Context<'_>) {
        if let Entry::Occupied(entry) = self.table.entry(key) {
            let timed = (&mut self.timers, &mut self.forgettable);
            advance(entry, event, &self.settings, timed, cx);
        }
    }

    /// Whether there is room for one more client. If necessary, the entry that would be forgotten next is forgotten
    /// now.
    fn has_room(&mut self) -> bool {
        if self.table.len() < self.settings.max_clients {
            return true;
        }
        let Some(key) = self.forgettable.first() else {
            return false;
        };
        self.forgettable.set(key, None);
        self.timers.set(key, None);
        self.table.remove(&key);
        true
    }
}

/// The timers of handshakes, and the order in which they can be forgotten.
type Timed<'a> = (&'a mut Timers<Key>, &'a mut Timers<Key>);

/// Has an event happen to a handshake, in its place: to take it out of the table and to put it back would move its
/// neighbours twice.
fn advance(
    mut entry: OccupiedEntry<'_, Key, (Peer, Handshake)>,
    event: Event<'_>,
    settings: &HandshakeSettings,
    timed: Timed<'_>,
    cx: &mut Context<'_>,
) {
    let key = *entry.key();
    let (peer, handshake) = entry.get_mut();
    let before = mem::replace(handshake, Handshake::new(cx.now));
    let next = before.after(event, *peer, settings, cx);
    set_timers(key, next.as_ref(), timed);
    match next {
        Some(next) => *handshake = next,
        None => {
            entry.remove();
        }
    }
}

fn set_timers(key: Key, next: Option<&Handshake>, (timers, forgettable): Timed<'_>) {
    timers.set(key, next.map(Handshake::deadline));
    let next = next.filter(|next| next.is_forgettable());
    forgettable.set(key, next.map(Handshake::deadline));
}

impl Key {
    /// Every client of `anycast`.
    fn all(anycast: Ipv6Addr) -> std::ops::RangeInclusive<Self> {
        let [first, last] = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX)];
        let key = |client| Self { anycast, client };
        key(first)..=key(last)
    }
}
