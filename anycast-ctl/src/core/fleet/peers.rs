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
pub(super) struct Peers(BTreeMap<Id, Peer>);

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
        if !self.0.contains_key(&sender) {
            self.make_room(now)?;
        }
        let peer = self.0.entry(sender).or_insert_with(|| Peer {
            name: String::new(),
            proven: false,
            ready: false,
            bindings: 0,
            flows: 0,
            since: now,
            heard: now,
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
        let peer = self.0.get_mut(&sender).filter(|peer| peer.proven);
        let peer = peer.ok_or(Unwanted::Unproven)?;
        match peer.windows[usize::from(alone)].note(sequence) {
            true => Ok(()),
            false => Err(Unwanted::Replayed),
        }
    }

    /// Gateways that are no longer there.
    pub(super) fn lost(&mut self, now: Time) -> Vec<String> {
        let mut lost = Vec::new();
        for peer in self.0.values_mut() {
            if peer.proven && now.since(peer.heard) >= LOST {
                peer.proven = false;
                lost.push(peer.name.clone());
            }
        }
        self.0.retain(|_, peer| now.since(peer.heard) < FORGOTTEN);
        lost
    }

    /// What a heartbeat repeats.
    pub(super) fn echoes(&self) -> Vec<(Id, u64)> {
        let peers = self.0.iter().take(ECHOES);
        peers.map(|(id, peer)| (*id, peer.challenge)).collect()
    }

    /// The gateways that are there.
    pub(super) fn there(&self) -> impl Iterator<Item = (Id, &Peer)> {
        let peers = self.0.iter().filter(|(_, peer)| peer.proven);
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

    /// Those that people are shown. One that was restarted has another number: what it was before is not lost.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Peer> {
        let since = |peer: &Peer| (peer.proven, peer.heard);
        let replaces =
            move |new: &Peer, old: &Peer| new.name == old.name && since(new) > since(old);
        self.all()
            .filter(move |old| old.proven || !self.all().any(|new| replaces(new, old)))
    }

    /// All that were there, and are remembered.
    fn all(&self) -> impl Iterator<Item = &Peer> {
        self.0.values().filter(|peer| !peer.name.is_empty())
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Peer> {
        self.0.get_mut(&id)
    }

    /// When [`Peers::lost`] has something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.there().map(|(_, peer)| peer.heard + LOST).min()
    }

    /// One that is not there gives way to another.
    fn make_room(&mut self, now: Time) -> Result<(), Unwanted> {
        if self.0.len() < MOST {
            return Ok(());
        }
        let gone = self.0.iter().filter(|(_, peer)| !peer.proven);
        let oldest = gone.min_by_key(|(_, peer)| peer.heard);
        let oldest = oldest.filter(|(_, peer)| now.since(peer.heard) >= LOST);
        let oldest = *oldest.ok_or(Unwanted::Full)?.0;
        self.0.remove(&oldest);
        Ok(())
    }
}
