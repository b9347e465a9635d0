//! Timers with the operations that RFC 2710 section 6 names.

use std::{hash::Hash, time::Duration};

use crate::core::{Time, timers::Timers};

/// Timers, at most one for each key.
#[derive(Debug)]
pub(super) struct Schedule<K>(Timers<K>);

/// A timer never expires in the step that sets it, so that `poll` ends with any settings.
const TICK: Duration = Duration::from_millis(1);

impl<K: Copy + Ord + Hash> Schedule<K> {
    pub(super) fn new() -> Self {
        Self(Timers::default())
    }

    /// Starts the timer, or restarts it with the new delay.
    pub(super) fn start(&mut self, key: K, now: Time, delay: Duration) {
        self.0.set(key, Some(now + delay.max(TICK)));
    }

    /// Starts the timer, unless it already runs and expires earlier ("start timer*").
    pub(super) fn lower(&mut self, key: K, now: Time, delay: Duration) {
        let delay = delay.max(TICK);
        if self.get(key).is_none_or(|time| time > now + delay) {
            self.start(key, now, delay);
        }
    }

    /// Starts the timer, unless it already runs and expires later.
    pub(super) fn raise(&mut self, key: K, now: Time, delay: Duration) {
        if self.get(key).is_none_or(|time| time < now + delay) {
            self.start(key, now, delay);
        }
    }

    pub(super) fn cancel(&mut self, key: K) {
        self.0.set(key, None);
    }

    pub(super) fn get(&self, key: K) -> Option<Time> {
        self.0.get(key)
    }

    /// When to look for expired timers. This is no later than the first timer expires.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.next()
    }

    /// Removes the first timer that has expired, and gives its key.
    pub(super) fn expired(&mut self, now: Time) -> Option<K> {
        self.0.pop(now)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
