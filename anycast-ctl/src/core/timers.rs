//! At most one timer per key, in the order in which they run out.

use std::collections::{BTreeMap, BTreeSet};

use super::Time;

/// Timers of the keys `K`. Equal times run out in the order of the keys, so that the same inputs
/// always give the same actions.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    times: BTreeMap<K, Time>,
    queue: BTreeSet<(Time, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            times: BTreeMap::new(),
            queue: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Starts or restarts the timer of `key`; none stops it.
    pub(crate) fn set(&mut self, key: K, time: Option<Time>) {
        let before = match time {
            Some(time) => self.times.insert(key, time),
            None => self.times.remove(&key),
        };
        if let Some(before) = before {
            self.queue.remove(&(before, key));
        }
        if let Some(time) = time {
            self.queue.insert((time, key));
        }
    }

    /// The time of the next timer.
    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.first().map(|(time, _)| *time)
    }

    /// The key of the next timer.
    pub(crate) fn first(&self) -> Option<K> {
        self.queue.first().map(|(_, key)| *key)
    }

    /// Takes out a timer that has run out at `now`.
    pub(crate) fn pop(&mut self, now: Time) -> Option<K> {
        let (time, key) = *self.queue.first()?;
        if now < time {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    /// How many timers run.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn they_run_out_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set('b', Some(at(2)));
        timers.set('a', Some(at(2)));
        timers.set('c', Some(at(1)));
        assert_eq!((timers.next(), timers.first()), (Some(at(1)), Some('c')));
        assert_eq!(timers.pop(at(0)), None);
        assert_eq!(timers.pop(at(9)), Some('c'));
        assert_eq!(timers.pop(at(9)), Some('a'));
        assert_eq!(timers.pop(at(9)), Some('b'));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!((timers.next(), timers.len()), (None, 0));
    }

    #[test]
    fn a_restarted_timer_runs_out_at_its_new_time_only() {
        let mut timers = Timers::default();
        timers.set('a', Some(at(1)));
        timers.set('a', Some(at(5)));
        timers.set('a', Some(at(5)));
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.pop(at(4)), None);
        assert_eq!(timers.pop(at(5)), Some('a'));
        timers.set('a', Some(at(6)));
        timers.set('a', None);
        assert_eq!(timers.next(), None);
    }
}
