//! What keeps forged packets from costing more than they are worth.

use std::net::Ipv6Addr;

use super::Limits;
use crate::core::{
    Time,
    rate::{Bucket, Buckets, Rate, prefix64},
};

/// Refusals that are told; the counters have them all.
const NOTICES: Rate = Rate::per_second(10, 20);

/// The rate limits of a correspondent.
#[derive(Debug)]
pub(super) struct Limiter {
    /// Test Inits.
    inits: Answers,
    /// Apart from those, which would keep handshakes from their end.
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

    /// Whether a Test Init from `source` may be answered.
    pub(super) fn init(&mut self, now: Time, source: Ipv6Addr) -> bool {
        self.inits.take(now, source)
    }

    /// Whether a Binding Update from `source` may be looked at.
    pub(super) fn update(&mut self, now: Time, source: Ipv6Addr) -> bool {
        self.updates.take(now, source)
    }

    /// Whether an error may be sent.
    pub(super) fn error(&mut self, now: Time) -> bool {
        self.errors.take(now)
    }

    /// Whether a refusal may be told.
    pub(super) fn notice(&mut self, now: Time) -> bool {
        self.notices.take(now)
    }
}

/// How much of one kind is answered.
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

    /// One prefix that asks too often takes nothing from the others.
    fn take(&mut self, now: Time, source: Ipv6Addr) -> bool {
        self.whole.holds(now) && self.prefixes.take(now, prefix64(source)) && self.whole.take(now)
    }
}
