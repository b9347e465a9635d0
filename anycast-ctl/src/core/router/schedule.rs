//! Timers by key, in the order in which they expire.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::core::Time;

/// At most one timer per key. Every operation takes logarithmic time, the next deadline too.
#[derive(Debug)]
pub(super) struct Schedule<K> {
    order: BTreeSet<(Time, K)>,
    at: BTreeMap<K, Time>,
}

/// A timer never expires in the step that sets it, so that `poll` comes to an end whatever the
/// settings are.
const TICK: Duration = Duration::from_millis(1);

impl<K: Copy + Ord> Schedule<K> {
    pub(super) fn new() -> Self {
        Self {
            order: BTreeSet::new(),
            at: BTreeMap::new(),
        }
    }

    /// Starts the timer, or starts it anew.
    pub(super) fn start(&mut self, key: K, now: Time, delay: Duration) {
        let time = now + delay.max(TICK);
        self.cancel(key);
        self.at.insert(key, time);
        self.order.insert((time, key));
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
        if let Some(time) = self.at.remove(&key) {
            self.order.remove(&(time, key));
        }
    }

    pub(super) fn get(&self, key: K) -> Option<Time> {
        self.at.get(&key).copied()
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.order.first().map(|(time, _)| *time)
    }

    /// Takes the first timer that has expired.
    pub(super) fn expired(&mut self, now: Time) -> Option<K> {
        let (_, key) = *self.order.first().filter(|(time, _)| *time <= now)?;
        self.cancel(key);
        Some(key)
    }

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.at.clear();
    }
}
