//! Limits how often an error that repeats is logged.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Shortest time between two log lines about the same failure.
pub const PERIOD: Duration = Duration::from_secs(10);

/// Allows one log line per kind of error and period.
#[derive(Debug)]
pub struct Throttle<K> {
    period: Duration,
    last: HashMap<K, (Instant, u64)>,
}

impl<K: Eq + Hash> Throttle<K> {
    /// Allows one line of each kind every `period`. There must be only a few kinds.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            last: HashMap::new(),
        }
    }

    /// Whether an error of this kind is logged now, and how many of its kind were held back since the last one.
    pub fn admit(&mut self, kind: K, now: Instant) -> Option<u64> {
        match self.last.get_mut(&kind) {
            Some((last, held)) if now.duration_since(*last) < self.period => {
                *held += 1;
                None
            }
            Some((last, held)) => {
                *last = now;
                Some(std::mem::take(held))
            }
            None => {
                self.last.insert(kind, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_period_and_the_rest_is_counted() {
        let mut throttle = Throttle::new(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(throttle.admit("a", start), Some(0));
        assert_eq!(throttle.admit("a", start + Duration::from_secs(9)), None);
        assert_eq!(throttle.admit("b", start + Duration::from_secs(9)), Some(0));
        assert_eq!(
            throttle.admit("a", start + Duration::from_secs(10)),
            Some(1)
        );
    }
}
