//! Rate limits: token buckets in bounded memory.

use std::{hash::Hash, net::Ipv6Addr, time::Duration};

use super::{Time, timers::Timers};

/// Parameters of a token bucket: `burst` events at once, then one event every `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time in which one token is added. Zero means no limit.
    pub every: Duration,
    /// Number of tokens in a full bucket, at least 1.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        every: Duration::ZERO,
        burst: 1,
    };

    /// Allows `count` events per second, and up to `burst` at once. A count of 0 allows one event per year.
    #[must_use]
    pub const fn per_second(count: u32, burst: u32) -> Self {
        let every = match Duration::from_secs(1).checked_div(count) {
            Some(every) => every,
            None => Duration::from_hours(24 * 365),
        };
        Self { every, burst }
    }

    /// How long before it is full a bucket holds one token.
    fn depth(self) -> Duration {
        self.every.saturating_mul(self.burst.saturating_sub(1))
    }

    /// When a bucket will be full, for which it was `full` by this rate or another one. What is later than that of an
    /// empty bucket another rate has left; such a bucket has one token.
    fn settled(self, full: Time, now: Time) -> Time {
        let ahead = full.since(now);
        if ahead.saturating_sub(self.depth()) > self.every {
            now + self.depth()
        } else {
            full
        }
    }

    /// Whether a bucket that will be full at `full` holds a token at `now`.
    fn holds(self, full: Time, now: Time) -> bool {
        self.every.is_zero() || self.settled(full, now).since(now) <= self.depth()
    }
}

/// One token bucket. Its whole state is the time at which it will be full again.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    full: Time,
}

impl Bucket {
    /// Makes a full bucket.
    pub(crate) const fn new(rate: Rate) -> Self {
        Self {
            rate,
            full: Time::ZERO,
        }
    }

    /// Another rate from now on. What was taken stays taken, as far as a bucket of this rate can be empty.
    pub(crate) const fn set(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Whether the bucket holds a token.
    pub(crate) fn holds(&self, now: Time) -> bool {
        self.rate.holds(self.full, now)
    }

    /// Takes a token, if the bucket holds one. Gives whether it did.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        if self.rate.every.is_zero() {
            return true;
        }
        let holds = self.holds(now);
        if holds {
            self.full = self.rate.settled(self.full, now).max(now) + self.rate.every;
        }
        holds
    }
}

/// A token bucket for each key, at most `capacity` of them. Full buckets are not stored. When there are too many
/// others, the fullest one is forgotten, since that gives its key the fewest extra tokens.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    capacity: usize,
    /// When each will be full.
    full: Timers<K>,
}

impl<K: Copy + Ord + Hash> Buckets<K> {
    /// Makes a full bucket for every key.
    pub(crate) fn new(rate: Rate, capacity: usize) -> Self {
        Self {
            rate,
            capacity: capacity.max(1),
            full: Timers::default(),
        }
    }

    /// Another rate and another capacity from now on. What was taken stays taken, as far as buckets of this rate can be
    /// empty.
    pub(crate) fn set(&mut self, rate: Rate, capacity: usize) {
        self.rate = rate;
        self.capacity = capacity.max(1);
        while self.full.len() > self.capacity {
            self.forget_fullest();
        }
    }

    /// Whether the bucket of `key` holds a token.
    pub(crate) fn holds(&self, now: Time, key: K) -> bool {
        let full = self.full.get(key).unwrap_or(Time::ZERO);
        self.rate.holds(full, now)
    }

    /// Takes a token from the bucket of `key`, if it holds one. Gives whether it did.
    pub(crate) fn take(&mut self, now: Time, key: K) -> bool {
        if self.rate.every.is_zero() {
            // Such a bucket is always full.
            return true;
        }
        let known = self.full.get(key);
        if !self.rate.holds(known.unwrap_or(Time::ZERO), now) {
            return false;
        }
        while self.full.pop(now).is_some() {}
        let known = known.filter(|full| now < *full);
        if known.is_none() && self.full.len() >= self.capacity {
            self.forget_fullest();
        }
        let full = self.rate.settled(known.unwrap_or(now), now) + self.rate.every;
        self.full.set(key, Some(full));
        true
    }

    fn forget_fullest(&mut self) {
        if let Some(key) = self.full.first() {
            self.full.set(key, None);
        }
    }
}

/// The /64 prefix of an address. One host can easily use any address of its /64.
pub(crate) fn prefix64(address: Ipv6Addr) -> u64 {
    let [a, b, c, d, ..] = address.segments();
    [a, b, c, d]
        .iter()
        .fold(0, |prefix, word| prefix << 16 | u64::from(*word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may abort")]

    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let mut bucket = Bucket::new(Rate::per_second(2, 3));
        let now = at(10_000);
        assert_eq!(
            [(); 4].map(|()| bucket.take(now)),
            [true, true, true, false]
        );
        assert!(!bucket.take(at(10_499)));
        assert!(bucket.take(at(10_500)));
        assert!(!bucket.take(at(10_999)));
        assert!(bucket.take(at(11_000)));
        // A bucket never holds more than its burst.
        assert_eq!(
            [(); 4].map(|()| bucket.take(at(99_000))),
            [true, true, true, false]
        );
    }

    #[test]
    fn keys_have_their_own_buckets() {
        let mut buckets = Buckets::new(Rate::per_second(1, 1), 10);
        assert!(buckets.take(at(0), 'a'));
        assert!(!buckets.take(at(0), 'a'));
        assert!(buckets.take(at(0), 'b'));
        assert!(buckets.take(at(1000), 'a'));
    }

    #[test]
    fn memory_is_bounded_and_full_buckets_are_not_kept() {
        let mut buckets = Buckets::new(Rate::per_second(1, 2), 3);
        for key in 0..100 {
            assert!(buckets.take(at(0), key));
        }
        assert_eq!(buckets.full.len(), 3);
        assert!(buckets.take(at(5000), 7));
        assert_eq!(buckets.full.len(), 1);
    }

    #[test]
    fn a_bucket_that_is_there_needs_no_other_one_s_place() {
        let mut buckets = Buckets::new(Rate::per_second(1, 3), 2);
        for key in ['a', 'b', 'b', 'b'] {
            assert!(buckets.take(at(0), key));
        }
        assert_eq!(buckets.full.len(), 2);
    }

    #[test]
    fn the_emptiest_buckets_are_remembered_longest() {
        let mut buckets = Buckets::new(Rate::per_second(1, 2), 2);
        assert!(buckets.take(at(0), 'x'));
        assert!(buckets.take(at(0), 'x'));
        for key in 'a'..'k' {
            assert!(buckets.take(at(0), key));
        }
        assert!(!buckets.take(at(0), 'x'));
    }

    #[test]
    fn no_growth_means_no_more_than_the_burst() {
        let mut bucket = Bucket::new(Rate::per_second(0, 2));
        assert!(bucket.take(at(0)));
        assert!(bucket.take(at(0)));
        assert!(!bucket.take(at(u32::MAX.into())));
    }

    #[test]
    fn another_rate_counts_from_now_on_and_what_was_taken_stays_taken() {
        let mut bucket = Bucket::new(Rate::per_second(1, 1));
        assert!(bucket.take(at(0)) && !bucket.take(at(0)));
        bucket.set(Rate::per_second(1, 3));
        assert_eq!([(); 3].map(|()| bucket.take(at(0))), [true, true, false]);
        // A quicker rate, whose buckets are full sooner even when they are empty.
        let mut bucket = Bucket::new(Rate::per_second(1, 500));
        let quick = Rate::per_second(100, 2);
        let mut of_one = Buckets::new(Rate::per_second(1, 500), 10);
        for _ in 0..500 {
            assert!(bucket.take(at(0)) && of_one.take(at(0), 1));
        }
        assert!(!bucket.take(at(0)) && !of_one.take(at(0), 1));
        bucket.set(quick);
        of_one.set(quick, 10);
        assert!(bucket.take(at(0)) && of_one.take(at(0), 1));
        assert!(!bucket.take(at(0)) && !of_one.take(at(0), 1));
        for _ in 0..2 {
            assert!(bucket.take(at(1000)) && of_one.take(at(1000), 1));
        }
        assert!(!bucket.take(at(1000)) && !of_one.take(at(1000), 1));
        let mut buckets = Buckets::new(Rate::per_second(1, 1), 10);
        for key in 0..10 {
            assert!(buckets.take(at(key), key));
        }
        buckets.set(Rate::per_second(1, 2), 3);
        assert_eq!(buckets.full.len(), 3);
        assert!(buckets.take(at(9), 9) && !buckets.take(at(9), 9));
    }

    #[test]
    fn addresses_of_one_prefix_share_it() {
        let address = |text: &str| prefix64(text.parse().unwrap());
        assert_eq!(address("2001:db8:1:2::3"), 0x2001_0db8_0001_0002);
        assert_eq!(address("2001:db8:1:2::3"), address("2001:db8:1:2:ffff::"));
        assert_ne!(address("2001:db8:1:2::3"), address("2001:db8:1:3::3"));
    }
}
