//! Sequence numbers of Binding Updates, which outlive bindings so that none can be replayed while its
//! nonces are acceptable (RFC 6275 section 5.2.8).
//!
//! They are kept apart from bindings and are small, since a digest stands for a triple. Their number is limited. An
//! attacker who fills the table with triples of clients that do not exist has the oldest entries forgotten, and with
//! them their nonces: an update for an unknown triple must be made with a nonce that was first used after the last
//! update that was forgotten. So no update can be replayed. No member is kept from binding either, since members then
//! ask for new nonces.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::triple::Triple;
use crate::core::{
    Time,
    rr::{MAX_NONCE_LIFETIME, digest64},
};

/// Updates of a span of this length are forgotten together.
const SPAN: Duration = Duration::from_secs(30);
/// A span holds at most this part of all updates, so that only the oldest are forgotten.
const PARTS: usize = 16;

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
        Self(digest64(&addresses.each_ref().map(|octets| &octets[..])))
    }
}

/// What is known of a triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Sequence number of the last valid Binding Update.
    pub(super) sequence: u16,
    /// When that update came.
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

/// The updates of one span.
#[derive(Debug)]
struct Part {
    begun: Time,
    last: Time,
    known: HashMap<Tag, Known>,
}

/// The sequence numbers of the last four minutes.
#[derive(Debug)]
pub(super) struct Sequences {
    capacity: usize,
    count: usize,
    /// The spans, oldest first.
    parts: VecDeque<Part>,
    /// The last update that was forgotten before its time.
    forgotten: Option<Time>,
}

impl Sequences {
    /// Makes an empty table for this number of entries.
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            count: 0,
            parts: VecDeque::new(),
            forgotten: None,
        }
    }

    /// Another capacity from now on.
    pub(super) const fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
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

    /// Notes a valid Binding Update of a triple.
    pub(super) fn note(&mut self, now: Time, tag: Tag, sequence: u16) {
        let earlier = self.take(tag).filter(|known| known.is_needed(now));
        let barred = earlier.map_or(self.forgotten, |known| known.barred);
        let known = Known {
            sequence,
            at: now,
            barred,
        };
        self.insert(now, tag, known);
    }

    /// Bars bindings of a triple by nonces that were first used at this time or before.
    pub(super) fn bar(&mut self, now: Time, tag: Tag, nonces: Time) {
        if let Some(known) = self.find(now, tag).copied() {
            let barred = known.barred.max(Some(nonces));
            self.take(tag);
            self.insert(now, tag, Known { barred, ..known });
        }
    }

    /// The last update that was forgotten before its time.
    pub(super) const fn forgotten(&self) -> Option<Time> {
        self.forgotten
    }

    /// All entries that are needed, newest spans first.
    pub(super) fn needed(&self, now: Time) -> impl Iterator<Item = (Tag, Known)> + '_ {
        let known = self.parts.iter().rev().flat_map(|part| &part.known);
        known
            .map(|(tag, known)| (*tag, *known))
            .filter(move |(_, known)| known.is_needed(now))
    }

    /// Restores the entries of an earlier run, oldest first, and what it had forgotten.
    pub(super) fn restore(&mut self, known: Vec<(Tag, Known)>, forgotten: Option<Time>) {
        self.forgotten = forgotten;
        for (tag, known) in known {
            self.take(tag);
            self.insert(known.at, tag, known);
        }
    }

    fn find(&self, now: Time, tag: Tag) -> Option<&Known> {
        let mut parts = self.parts.iter().rev();
        let known = parts.find_map(|part| part.known.get(&tag))?;
        Some(known).filter(|known| known.is_needed(now))
    }

    /// Removes an entry. Each triple has one at most, mostly in one of the newest spans.
    fn take(&mut self, tag: Tag) -> Option<Known> {
        let mut parts = self.parts.iter_mut().rev();
        let known = parts.find_map(|part| part.known.remove(&tag))?;
        self.count -= 1;
        Some(known)
    }

    /// Adds the entry of a triple that has none.
    fn insert(&mut self, now: Time, tag: Tag, known: Known) {
        while let Some(part) = self.parts.front()
            && part.last + MAX_NONCE_LIFETIME <= now
        {
            self.drop_oldest();
        }
        while self.count >= self.capacity
            && let Some(last) = self.drop_oldest()
        {
            self.forgotten = self.forgotten.max(Some(last));
        }
        let most = self.capacity.div_ceil(PARTS).max(1);
        let has_room = |part: &&mut Part| now < part.begun + SPAN && part.known.len() < most;
        let part = match self.parts.back_mut().filter(has_room) {
            Some(part) => part,
            None => self.parts.push_back_mut(Part {
                begun: now,
                last: now,
                known: HashMap::new(),
            }),
        };
        part.last = part.last.max(known.at);
        part.known.insert(tag, known);
        self.count += 1;
    }

    fn drop_oldest(&mut self) -> Option<Time> {
        let part = self.parts.pop_front()?;
        self.count -= part.known.len();
        Some(part.last)
    }

    /// Number of entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let kept: usize = self.parts.iter().map(|part| part.known.len()).sum();
        assert_eq!(kept, self.count);
        kept
    }
}
