//! Limits on the work and the answers that forged packets can cause.

use std::net::Ipv6Addr;

use super::Limits;
use crate::core::{
    Time,
    rate::{Bucket, Buckets, Rate, prefix64},
};

/// Refusals that are reported as events. The counters have all of them.
const NOTICES: Rate = Rate::per_second(10, 20);

/// The rate limits of a correspondent.
#[derive(Debug)]
pub(super) struct Limiter {
    /// Test Inits.
    inits: Answers,
    /// Binding Updates. They have a limit of their own, so that a flood of Test Inits does not keep handshakes from
    /// ending.
    updates: Answers,
    errors: Bucket,
    notices: Bucket,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            inits: Answers::new(limits),
            updates: Answers::new(limits),
            errors: Bucket::new(limits.errors),
            notices: Bucket::new(NOTICES),
        }
    }

    /// Other limits from now on.
    pub(super) fn set(&mut self, limits: &Limits) {
        self.inits.set(limits);
        self.updates.set(limits);
        self.errors.set(limits.errors);
    }

    /// Whether a Test Init from `source` may be answered.
    pub(super) fn init(&mut self, now: Time, source: Ipv6Addr) -> bool {
        self.inits.take(now, source)
    }

    /// Whether a Binding Update from `source` may be examined.
    pub(super) fn update(&mut self, now: Time, source: Ipv6Addr) -> bool {
        self.updates.take(now, source)
    }

    /// Whether an error may be sent.
    pub(super) fn error(&mut self, now: Time) -> bool {
        self.errors.take(now)
    }

    /// Whether a refusal may be reported.
    pub(super) fn notice(&mut self, now: Time) -> bool {
        self.notices.take(now)
    }
}

/// The limits for one kind of message.
#[derive(Debug)]
struct Answers {
    whole: Bucket,
    prefixes: Buckets<u64>,
}

impl Answers {
    fn new(limits: &Limits) -> Self {
        Self {
            whole: Bucket::new(limits.whole),
            prefixes: Buckets::new(limits.per_prefix, limits.max_prefixes),
        }
    }

    fn set(&mut self, limits: &Limits) {
        self.whole.set(limits.whole);
        self.prefixes.set(limits.per_prefix, limits.max_prefixes);
    }

    /// A prefix that sends too much takes nothing from the others.
    fn take(&mut self, now: Time, source: Ipv6Addr) -> bool {
        self.whole.holds(now) && self.prefixes.take(now, prefix64(source)) && self.whole.take(now)
    }
}
