//! The words of RFC 2710 section 6 for timers.

use std::{hash::Hash, time::Duration};

use crate::core::{Time, timers::Timers};

/// At most one timer per key.
#[derive(Debug)]
pub(super) struct Schedule<K>(Timers<K>);

/// A timer never expires in the step that sets it, so that `poll` comes to an end whatever the
/// settings are.
const TICK: Duration = Duration::from_millis(1);

impl<K: Copy + Ord + Hash> Schedule<K> {
    pub(super) fn new() -> Self {
        Self(Timers::default())
    }

    /// Starts the timer, or starts it anew.
    pub(super) fn start(&mut self, key: K, now: Time, delay: Duration) {
        self.0.set(key, Some(now + delay.max(TICK)));
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
        self.0.set(key, None);
    }

    pub(super) fn get(&self, key: K) -> Option<Time> {
        self.0.get(key)
    }

    /// When to look for timers that have expired: no later than the first of them does.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.next()
    }

    /// Takes the first timer that has expired.
    pub(super) fn expired(&mut self, now: Time) -> Option<K> {
        self.0.pop(now)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
