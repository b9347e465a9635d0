//! Sequence numbers of Binding Updates, which outlive bindings so that none can be replayed while its
//! nonces are acceptable (RFC 6275 section 5.2.8).
//!
//! They are kept apart from bindings and are small, since a digest stands for a triple. Their number is limited. An
//! attacker who fills the table with triples of clients that do not exist has the oldest entries forgotten, and with
//! them their nonces: an update for an unknown triple must be made with a nonce that was first used after the last
//! update that was forgotten. So no update can be replayed. No member is kept from binding either, since members then
//! ask for new nonces.

use super::{by_age::ByAge, triple::Triple};
use crate::core::{
    Time,
    rr::{MAX_NONCE_LIFETIME, digest64},
};

/// First(64, SHA1(A | B | C)). Two triples with the same digest share a sequence number, which is
/// harmless: one member continues with the number of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag(pub(super) u64);

impl Tag {
    /// The digest of a triple.
    pub(super) fn of(triple: Triple) -> Self {
        let Triple {
            client,
            anycast,
            care_of,
        } = triple;
        let addresses = [client, anycast, care_of].map(|address| address.octets());
        Self(digest64(addresses.each_ref().map(|octets| &octets[..])))
    }
}

/// What is known of a triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Sequence number of the last valid Binding Update.
    pub(super) sequence: u16,
    /// When that update came, or the later of its nonces is first used: the clock of the gateway of a fleet that handed
    /// it out may be ahead. From then on, it is acceptable for MAX_NONCE_LIFETIME.
    pub(super) at: Time,
    /// An update must be made with a nonce that was first used after this: the nonces of a binding that
    /// was deleted do not make another (RFC 6275 section 9.5.3).
    pub(super) barred: Option<Time>,
}

impl Known {
    fn is_needed(&self, now: Time) -> bool {
        now < self.at + MAX_NONCE_LIFETIME
    }
}

/// The sequence numbers of the last four minutes.
#[derive(Debug)]
pub(super) struct Sequences {
    capacity: usize,
    known: ByAge<Known>,
    /// The last update that was forgotten before its time.
    forgotten: Option<Time>,
}

impl Sequences {
    /// Makes an empty table for this number of entries.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.min(ByAge::<Known>::MOST),
            known: ByAge::default(),
            forgotten: None,
        }
    }

    /// Another capacity from now on.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.min(ByAge::<Known>::MOST);
    }

    /// The last sequence number of a triple. That of the next Binding Update must be after it.
    pub(super) fn last(&self, now: Time, tag: Tag) -> Option<u16> {
        self.find(now, tag).map(|known| known.sequence)
    }

    /// Whether an update of a triple is barred whose newer nonce was first used at `nonces`.
    pub(super) fn bars(&self, now: Time, tag: Tag, nonces: Time) -> bool {
        let barred = match self.find(now, tag) {
            Some(known) => known.barred,
            None => self.forgotten,
        };
        barred.is_some_and(|barred| nonces <= barred)
    }

    /// Notes a valid Binding Update of a triple, whose newer nonce was first used at `nonces`.
    pub(super) fn note(&mut self, now: Time, tag: Tag, sequence: u16, nonces: Time) {
        let mut fresh = Known {
            sequence,
            at: now.max(nonces),
            barred: self.forgotten,
        };
        if let Some(known) = self.known.renew(tag.0) {
            if known.is_needed(now) {
                fresh.barred = known.barred;
                fresh.at = fresh.at.max(known.at);
            }
            *known = fresh;
            return self.forget(now);
        }
        self.insert(now, tag, fresh);
    }

    /// Bars bindings of a triple by nonces that were first used at this time or before.
    pub(super) fn bar(&mut self, now: Time, tag: Tag, nonces: Time) {
        let known = self.known.get_mut(tag.0);
        if let Some(known) = known.filter(|known| known.is_needed(now)) {
            known.barred = known.barred.max(Some(nonces));
        }
    }

    /// The last update that was forgotten before its time.
    pub(super) const fn forgotten(&self) -> Option<Time> {
        self.forgotten
    }

    /// All entries that are needed, the youngest first.
    pub(super) fn needed(&self, now: Time) -> impl Iterator<Item = (Tag, Known)> + '_ {
        let known = self.known.youngest_first();
        known
            .map(|(tag, known)| (Tag(tag), *known))
            .filter(move |(_, known)| known.is_needed(now))
    }

    /// Restores the entries of an earlier run, oldest first, and what it had forgotten.
    pub(super) fn restore(&mut self, known: Vec<(Tag, Known)>, forgotten: Option<Time>) {
        self.forgotten = forgotten;
        for (tag, known) in known {
            match self.known.renew(tag.0) {
                Some(earlier) => *earlier = known,
                None => self.insert(known.at, tag, known),
            }
        }
    }

    /// Whether anything is known of a triple, be it out of date.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.known.get(tag.0).is_some()
    }

    /// Makes room for so many at once, as far as they may be kept.
    pub(super) fn reserve(&mut self, number: usize) {
        self.known.reserve(number.min(self.capacity));
    }

    fn find(&self, now: Time, tag: Tag) -> Option<&Known> {
        let known = self.known.get(tag.0)?;
        Some(known).filter(|known| known.is_needed(now))
    }

    /// Adds the entry of a triple that has none.
    fn insert(&mut self, now: Time, tag: Tag, known: Known) {
        self.forget(now);
        while self.known.len() >= self.capacity
            && let Some(oldest) = self.known.pop()
        {
            self.forgotten = self.forgotten.max(Some(oldest.at));
        }
        self.known.push(tag.0, known);
    }

    /// Forgets what nobody needs.
    fn forget(&mut self, now: Time) {
        while self
            .known
            .oldest()
            .is_some_and(|known| !known.is_needed(now))
        {
            self.known.pop();
        }
    }

    /// Number of entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
