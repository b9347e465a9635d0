//! Timers, at most one for each key, in the order in which they expire.

use std::{collections::BTreeSet, hash::Hash};

use super::{Time, hash::Map};

/// Timers for the keys `K`. Timers of the same time expire in the order of the keys, so that the same inputs always
/// give the same actions.
///
/// Most timers are restarted again and again and never expire, for example by each Report of a member or by each
/// Binding Update. A restart with a later time therefore only notes the new time. The timer moves back in the
/// order when the old time has come.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    order: BTreeSet<(Time, K)>,
    timers: Map<K, Timer>,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    time: Time,
    /// The time with which the timer stands in the order: its own time, or an earlier one.
    queued: Time,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            order: BTreeSet::new(),
            timers: Map::default(),
        }
    }
}

impl<K: Copy + Ord + Hash> Timers<K> {
    /// Starts or restarts the timer of `key`. A time of `None` stops it.
    pub(crate) fn set(&mut self, key: K, time: Option<Time>) {
        if let Some(time) = time
            && let Some(timer) = self.timers.get_mut(&key)
            && timer.queued <= time
        {
            timer.time = time;
            return;
        }
        if !self.timers.is_empty()
            && let Some(timer) = self.timers.remove(&key)
        {
            self.order.remove(&(timer.queued, key));
        }
        if let Some(time) = time {
            self.order.insert((time, key));
            self.timers.insert(key, Timer { time, queued: time });
        }
    }

    /// When the timer of `key` expires.
    pub(crate) fn get(&self, key: K) -> Option<Time> {
        self.timers.get(&key).map(|timer| timer.time)
    }

    /// When to look for expired timers. This is no later than the first timer expires.
    pub(crate) fn next(&self) -> Option<Time> {
        self.order.first().map(|(time, _)| *time)
    }

    /// The key of the timer that expires next.
    pub(crate) fn first(&mut self) -> Option<K> {
        loop {
            let (queued, key) = *self.order.first()?;
            if !self.put_off(queued, key) {
                return Some(key);
            }
        }
    }

    /// Removes a timer that has expired at `now`, and gives its key.
    pub(crate) fn pop(&mut self, now: Time) -> Option<K> {
        loop {
            let (queued, key) = *self.order.first()?;
            if now < queued {
                return None;
            }
            if !self.put_off(queued, key) {
                self.set(key, None);
                return Some(key);
            }
        }
    }

    /// Stops all timers.
    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.timers.clear();
    }

    /// Moves a timer back in the order, if it was restarted with a later time.
    fn put_off(&mut self, queued: Time, key: K) -> bool {
        let time = self.get(key).filter(|time| *time > queued);
        if time.is_some() {
            self.set(key, None);
            self.set(key, time);
        }
        time.is_some()
    }

    /// Number of running timers.
    pub(crate) fn len(&self) -> usize {
        debug_assert_eq!(self.order.len(), self.timers.len());
        self.timers.len()
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
        timers.set('b', Some(at(3)));
        assert_eq!((timers.len(), timers.get('a')), (2, Some(at(5))));
        assert_eq!(timers.first(), Some('b'), "the other was put off");
        assert_eq!(timers.pop(at(4)), Some('b'));
        assert_eq!(timers.pop(at(4)), None);
        assert_eq!(timers.pop(at(5)), Some('a'));
        timers.set('a', Some(at(6)));
        timers.set('a', Some(at(2)));
        assert_eq!(timers.pop(at(3)), Some('a'), "it was put forward");
        timers.set('a', Some(at(6)));
        timers.set('a', None);
        assert_eq!(timers.next(), None);
    }
}
