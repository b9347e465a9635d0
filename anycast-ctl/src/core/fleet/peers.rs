//! The other gateways of a fleet.
//!
//! A gateway repeats the challenges that it hears. Who has repeated ours is heard now: a recording of an earlier
//! message repeats another one. So nothing depends on clocks, and a gateway that has just started needs no memory.

use std::{collections::BTreeMap, time::Duration};

use super::{
    message::{ECHOES, Heartbeat},
    seal::Id,
};
use crate::core::Time;

/// A gateway that was not heard for so long is no longer there.
pub(super) const LOST: Duration = Duration::from_secs(10);
/// One that was not heard for so long is forgotten. By then, what it repeated of ours is out of date.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// Most gateways that are known.
const MOST: usize = 64;

/// Another gateway.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: String,
    /// It has repeated our challenge, and is heard.
    pub(super) proven: bool,
    pub(super) ready: bool,
    pub(super) bindings: u32,
    pub(super) flows: u32,
    /// When it was heard first, and last.
    since: Time,
    pub(super) heard: Time,
    /// An operator said that it does not come back.
    dismissed: bool,
    /// By how many milliseconds its clock is ahead of ours.
    pub(super) ahead: i64,
    /// Whether somebody was warned of its clock.
    pub(super) warned: bool,
    challenge: u64,
    /// Of messages to all, and of those to this gateway alone: two subscriptions bring them, not in one order.
    windows: [Window; 2],
}

/// The sequence numbers of a sender that were seen: the last one, and which of the 64 before it.
#[derive(Clone, Copy, Debug)]
struct Window {
    last: u64,
    seen: u64,
}

impl Window {
    /// That of a sender who was first heard with this number: all before it is of another time.
    const fn after(number: u64) -> Self {
        Self {
            last: number.saturating_sub(1),
            seen: u64::MAX,
        }
    }

    /// From now on, all before this number is of another time.
    const fn begin(&mut self, number: u64) {
        if number >= self.last {
            (self.last, self.seen) = (number, u64::MAX);
        }
    }

    /// Notes a number. Gives whether it is new.
    fn note(&mut self, number: u64) -> bool {
        if number > self.last {
            let ahead = u32::try_from(number - self.last).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.last = number;
            return true;
        }
        let bit = u32::try_from(self.last - number).ok();
        let Some(bit) = bit.and_then(|back| 1_u64.checked_shl(back)) else {
            return false;
        };
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

/// Why a message of a gateway is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwanted {
    /// It came before, or is so old that nobody knows.
    Replayed,
    /// Nothing shows that its sender is heard now.
    Unproven,
    /// There are too many gateways.
    Full,
}

/// What a heartbeat has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The gateway is there, and was not before.
    pub(super) joined: bool,
    /// It was there already, or has gone on elsewhere: until this time each heard what the other said, if ever.
    pub(super) apart_since: Option<Time>,
    /// Its challenge is one that it did not hear from us yet.
    pub(super) wants_echo: bool,
}

/// The gateways that were heard.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<Id, Peer>,
    /// The last of each name that is forgotten: nothing depends on them, and people still want to know of them.
    gone: BTreeMap<String, Peer>,
}

/// Why a gateway stays among those that people are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unforgotten {
    /// No gateway of this name was heard.
    Unknown,
    /// It is there.
    There,
}

impl Peers {
    /// Takes a heartbeat whose authenticator is right. `challenges` are ours, the present one and the one before.
    pub(super) fn heartbeat(
        &mut self,
        now: Time,
        (own, challenges): (Id, [u64; 2]),
        (sender, sequence): (Id, u64),
        heartbeat: Heartbeat,
        ahead: i64,
    ) -> Result<Heard, Unwanted> {
        let repeats = |echo: &(Id, u64)| echo.0 == own && challenges.contains(&echo.1);
        let repeats = heartbeat.echoes.iter().any(repeats);
        if !self.known.contains_key(&sender) {
            self.make_room(now)?;
        }
        let peer = self.known.entry(sender).or_insert_with(|| Peer {
            name: String::new(),
            proven: false,
            ready: false,
            bindings: 0,
            flows: 0,
            since: now,
            heard: now,
            dismissed: false,
            ahead: 0,
            warned: false,
            challenge: 0,
            windows: [Window::after(sequence); 2],
        });
        if !peer.windows[0].note(sequence) {
            return Err(Unwanted::Replayed);
        }
        let joined = repeats && !peer.proven;
        let apart_since = match peer.name.is_empty() {
            true => heartbeat.ready.then_some(Time::ZERO),
            false => Some(peer.heard),
        };
        let heard = Heard {
            joined,
            apart_since: apart_since.filter(|_| joined),
            wants_echo: peer.challenge != heartbeat.challenge,
        };
        if joined {
            // What it said before was not taken, and may be a recording that nobody has seen yet.
            for window in &mut peer.windows {
                window.begin(sequence);
            }
        }
        peer.challenge = heartbeat.challenge;
        if repeats || peer.proven {
            peer.proven = true;
            peer.dismissed = false;
            self.gone.remove(&heartbeat.name);
            peer.name = heartbeat.name;
            peer.ready = heartbeat.ready;
            peer.bindings = heartbeat.bindings;
            peer.flows = heartbeat.flows;
            peer.ahead = ahead;
            peer.heard = now;
        }
        Ok(heard)
    }

    /// Whether another message of this gateway is to be taken, which it sent to all or to this one `alone`.
    pub(super) fn takes(&mut self, sender: Id, sequence: u64, alone: bool) -> Result<(), Unwanted> {
        let peer = self.known.get_mut(&sender).filter(|peer| peer.proven);
        let peer = peer.ok_or(Unwanted::Unproven)?;
        match peer.windows[usize::from(alone)].note(sequence) {
            true => Ok(()),
            false => Err(Unwanted::Replayed),
        }
    }

    /// Gateways that are no longer there. One that was restarted has another number, and is there.
    pub(super) fn lost(&mut self, now: Time) -> Vec<String> {
        let mut lost = Vec::new();
        for peer in self.known.values_mut() {
            if peer.proven && now.since(peer.heard) >= LOST {
                peer.proven = false;
                lost.push(peer.name.clone());
            }
        }
        lost.sort_unstable();
        lost.dedup();
        lost.retain(|name| !self.there().any(|(_, peer)| peer.name == *name));
        let forgotten = self
            .known
            .extract_if(.., |_, peer| now.since(peer.heard) >= FORGOTTEN);
        for (_, peer) in forgotten.collect::<Vec<_>>() {
            self.remember(peer);
        }
        lost
    }

    /// Keeps the name of a gateway that is forgotten.
    fn remember(&mut self, peer: Peer) {
        if peer.name.is_empty() || peer.dismissed {
            return;
        }
        if self.gone.len() >= MOST
            && !self.gone.contains_key(&peer.name)
            && let Some(name) = self.gone.values().min_by_key(|it| it.heard)
        {
            let name = name.name.clone();
            self.gone.remove(&name);
        }
        let gone = self.gone.entry(peer.name.clone()).or_insert(peer.clone());
        if gone.heard < peer.heard {
            *gone = peer;
        }
    }

    /// No longer shows people a gateway that is not there. What was heard of it is kept for as long as else: a
    /// recording could make it come back.
    pub(super) fn dismiss(&mut self, name: &str) -> Result<(), Unforgotten> {
        if self.there().any(|(_, peer)| peer.name == name) {
            return Err(Unforgotten::There);
        }
        let mut was_shown = self.gone.remove(name).is_some();
        for peer in self.known.values_mut().filter(|peer| peer.name == name) {
            was_shown |= !peer.dismissed;
            peer.dismissed = true;
        }
        was_shown.then_some(()).ok_or(Unforgotten::Unknown)
    }

    /// What a heartbeat repeats.
    pub(super) fn echoes(&self) -> Vec<(Id, u64)> {
        let peers = self.known.iter().take(ECHOES);
        peers.map(|(id, peer)| (*id, peer.challenge)).collect()
    }

    /// The gateways that are there.
    pub(super) fn there(&self) -> impl Iterator<Item = (Id, &Peer)> + Clone {
        let peers = self.known.iter().filter(|(_, peer)| peer.proven);
        peers.map(|(id, peer)| (*id, peer))
    }

    /// Whether one that was there is there no longer. One that was restarted knows what it has to tell when it is
    /// ready.
    pub(super) fn any_lost(&self) -> bool {
        let again = |old: &Peer| {
            let mut there = self.all().filter(|new| new.proven && new.ready);
            there.any(|new| new.name == old.name && new.since > old.heard)
        };
        self.all().any(|peer| !peer.proven && !again(peer))
    }

    /// Those that people are shown, one of each name: that which is there, or was heard last. One that was restarted
    /// has another number, and is not two.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Peer> {
        let mut shown: BTreeMap<&str, &Peer> = BTreeMap::new();
        let last = |peer: &Peer| (peer.proven, peer.heard);
        let known = self.all().filter(|peer| !peer.dismissed);
        for peer in self.gone.values().chain(known) {
            let row = shown.entry(&peer.name).or_insert(peer);
            if last(row) < last(peer) {
                *row = peer;
            }
        }
        shown.into_values()
    }

    /// Whether two gateways that are there have this name: each was heard after the other had come.
    pub(super) fn is_shared(&self, name: &str) -> bool {
        let mut named = self
            .there()
            .map(|(_, peer)| peer)
            .filter(|peer| peer.name == name);
        let Some(newest) = named.clone().max_by_key(|peer| peer.since) else {
            return false;
        };
        named.any(|peer| peer.since < newest.since && peer.heard > newest.since)
    }

    /// All that were there, and are remembered.
    fn all(&self) -> impl Iterator<Item = &Peer> {
        self.known.values().filter(|peer| !peer.name.is_empty())
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Peer> {
        self.known.get_mut(&id)
    }

    /// When [`Peers::lost`] has something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.there().map(|(_, peer)| peer.heard + LOST).min()
    }

    /// One that is not there gives way to another.
    fn make_room(&mut self, now: Time) -> Result<(), Unwanted> {
        if self.known.len() < MOST {
            return Ok(());
        }
        let gone = self.known.iter().filter(|(_, peer)| !peer.proven);
        let oldest = gone.min_by_key(|(_, peer)| peer.heard);
        let oldest = oldest.filter(|(_, peer)| now.since(peer.heard) >= LOST);
        let oldest = *oldest.ok_or(Unwanted::Full)?.0;
        if let Some(peer) = self.known.remove(&oldest) {
            self.remember(peer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
