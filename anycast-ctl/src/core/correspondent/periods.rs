//! The nonces of a fleet: one for each period of 30 seconds of the time of day, from a secret. All gateways make and
//! accept the same ones, restarts included, without a word between them.

use std::time::Duration;

use super::generation::{FRESH, Generation};
use crate::core::{
    Time,
    fleet::{self, Secret},
    rr::MAX_NONCE_LIFETIME,
};

/// A nonce is handed out for this long, as one that is drawn is.
const PERIOD: Duration = FRESH;
/// Periods that have not begun here and are accepted: the clock of the gateway that handed out the token may be
/// ahead by a period for sure, and by two at most.
const AHEAD: u64 = 2;
/// So much later than now a nonce may be first used that is accepted.
pub(super) const LATEST: Duration = Duration::from_secs(PERIOD.as_secs() * AHEAD);
/// Periods that have begun and are accepted: a nonce is so for MAX_NONCE_LIFETIME.
const BEHIND: u64 = MAX_NONCE_LIFETIME.as_secs() / PERIOD.as_secs() - 1;
/// What two readings of two clocks one after the other may differ by. More than that, and the clock was set.
const JITTER: Duration = Duration::from_millis(100);

/// The time of day at a time.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    at: Time,
    unix: Duration,
}

impl Anchor {
    fn unix(self, now: Time) -> Duration {
        let later = self.unix + now.since(self.at);
        later.saturating_sub(self.at.since(now))
    }

    /// When a time of day is, or the start of the clock.
    fn time(self, unix: Duration) -> Time {
        let later = self.at + unix.saturating_sub(self.unix);
        later.before(self.unix.saturating_sub(unix))
    }
}

/// The nonces of a fleet that may be needed now.
#[derive(Debug)]
pub(super) struct Periods {
    fleet: fleet::Settings,
    anchor: Anchor,
    /// The period for which `known` was made.
    present: u64,
    /// From the oldest period that may be accepted to the last one ahead; of each, one of each secret.
    known: Vec<Generation>,
}

impl Periods {
    /// Those of 1970, until [`Periods::clock`] is called.
    pub(super) fn new(fleet: fleet::Settings, now: Time) -> Self {
        let mut periods = Self {
            fleet,
            anchor: Anchor {
                at: now,
                unix: Duration::ZERO,
            },
            present: 0,
            known: Vec::new(),
        };
        periods.derive(0);
        periods
    }

    /// The time of day at `now`. It has to be told before a period has passed since the last time.
    pub(super) fn clock(&mut self, now: Time, unix: Duration) {
        let expected = self.anchor.unix(now);
        let set = expected.abs_diff(unix) > JITTER;
        if set {
            self.anchor = Anchor { at: now, unix };
        }
        let period = self.period(now);
        if set || period != self.present {
            self.derive(period);
        }
    }

    /// The nonce to make a token with.
    pub(super) fn current(&mut self, now: Time) -> &Generation {
        let period = self.period(now);
        if !(self.present..=self.present + AHEAD).contains(&period) {
            self.derive(period);
        }
        &self.known[self.place(period)]
    }

    /// The same, unless it has to be derived first.
    pub(super) fn fresh(&self, now: Time) -> Option<&Generation> {
        let period = self.period(now);
        let known = self.present..=self.present + AHEAD;
        let fresh = known.contains(&period).then(|| self.place(period));
        fresh.map(|place| &self.known[place])
    }

    /// Where the first secret's nonce of a period is that is not older than the present one.
    fn place(&self, period: u64) -> usize {
        let before = usize::try_from(period - self.first(self.present));
        before.unwrap_or_default() * self.secrets().count()
    }

    /// What an index may stand for, while it is acceptable, in the order of the secrets.
    pub(super) fn find(&self, now: Time, index: u16) -> impl Iterator<Item = &Generation> {
        let present = self.period(now);
        let (first, last) = (self.first(present), present + AHEAD);
        let made = self.first(self.present);
        let number = self.secrets().count();
        let known = (made..).flat_map(move |period| std::iter::repeat_n(period, number));
        let known = known.zip(&self.known);
        known
            .filter(move |(period, generation)| {
                (first..=last).contains(period) && generation.index() == index
            })
            .map(|(_, generation)| generation)
    }

    /// That which tokens are made with comes first.
    fn secrets(&self) -> impl Iterator<Item = &Secret> {
        [Some(&self.fleet.secret), self.fleet.previous.as_ref()]
            .into_iter()
            .flatten()
    }

    /// The number of the period of this time.
    fn period(&self, now: Time) -> u64 {
        self.anchor.unix(now).as_secs() / PERIOD.as_secs()
    }

    /// The oldest period that is accepted.
    fn first(&self, present: u64) -> u64 {
        present.saturating_sub(BEHIND)
    }

    fn derive(&mut self, present: u64) {
        self.present = present;
        self.known.clear();
        for period in self.first(present)..=present + AHEAD {
            let begins = Duration::from_secs(period.saturating_mul(PERIOD.as_secs()));
            let first_used = self.anchor.time(begins);
            let [.., high, low] = period.to_be_bytes();
            let index = u16::from_be_bytes([high, low]);
            let of_secret = |secret: &Secret| {
                Generation::new(index, secret.kcn(period), secret.nonce(period), first_used)
            };
            let secrets = [Some(&self.fleet.secret), self.fleet.previous.as_ref()];
            self.known
                .extend(secrets.into_iter().flatten().map(of_secret));
        }
    }
}
