//! Timers by key, in the order in which they expire.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

use crate::core::Time;

/// At most one timer per key.
///
/// Most timers are put off again and again and never expire: each Report of a member does so. That
/// only notes the new time; the timer moves to its place when the old one has come.
#[derive(Debug)]
pub(super) struct Schedule<K> {
    order: BTreeSet<(Time, K)>,
    timers: HashMap<K, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    expires: Time,
    /// Its place in the order: the same time, or an earlier one.
    place: Time,
}

/// A timer never expires in the step that sets it, so that `poll` comes to an end whatever the
/// settings are.
const TICK: Duration = Duration::from_millis(1);

impl<K: Copy + Ord + Hash> Schedule<K> {
    pub(super) fn new() -> Self {
        Self {
            order: BTreeSet::new(),
            timers: HashMap::new(),
        }
    }

    /// Starts the timer, or starts it anew.
    pub(super) fn start(&mut self, key: K, now: Time, delay: Duration) {
        let expires = now + delay.max(TICK);
        if let Some(entry) = self.timers.get_mut(&key)
            && entry.place <= expires
        {
            entry.expires = expires;
            return;
        }
        self.cancel(key);
        self.place(key, expires);
    }

    /// The same, but a timer that expires earlier stays as it is ("start timer*").
    pub(super) fn lower(&mut self, key: K, now: Time, delay: Duration) {
        let delay = delay.max(TICK);
        if self.get(key).is_none_or(|time| time > now + delay) {
            self.start(key, now, delay);
        }
    }

    /// The same, but a timer that expires later stays as it is.
    pub(super) fn raise(&mut self, key: K, now: Time, delay: Duration) {
        if self.get(key).is_none_or(|time| time < now + delay) {
            self.start(key, now, delay);
        }
    }

    pub(super) fn cancel(&mut self, key: K) {
        if let Some(entry) = self.timers.remove(&key) {
            self.order.remove(&(entry.place, key));
        }
    }

    pub(super) fn get(&self, key: K) -> Option<Time> {
        self.timers.get(&key).map(|entry| entry.expires)
    }

    /// When to look for timers that have expired: no later than the first of them does.
    pub(super) fn next(&self) -> Option<Time> {
        self.order.first().map(|(time, _)| *time)
    }

    /// Takes the first timer that has expired.
    pub(super) fn expired(&mut self, now: Time) -> Option<K> {
        while let Some((place, key)) = self.order.first().copied()
            && place <= now
        {
            let expires = self.get(key);
            self.cancel(key);
            match expires {
                Some(expires) if expires > place => self.place(key, expires),
                _ => return Some(key),
            }
        }
        None
    }

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.timers.clear();
    }

    fn place(&mut self, key: K, expires: Time) {
        let place = expires;
        self.timers.insert(key, Entry { expires, place });
        self.order.insert((place, key));
    }
}
