//! What is known of a live binding, and which of a pair's steers.

use super::{origin::Origin, triple::Triple};
use crate::core::Time;

/// A live binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// Since when (A, B) has been bound to C without a gap.
    pub(super) since: Time,
    /// When the binding expires.
    pub(super) expires: Time,
    /// Sequence number of the last valid Binding Update.
    pub(super) sequence: u16,
    /// When the newer nonce of the Binding Update was first used that made the binding.
    pub(super) nonces: Time,
    /// Who saw the Binding Update.
    pub(super) origin: Origin,
}

/// A live binding, and when it is looked at whether it has expired: no later than that. Most are renewed again and
/// again, and keep their place in that order until it is their turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) live: Live,
    pub(super) queued: Time,
}

impl Entry {
    /// A binding that is looked at when it expires.
    pub(super) const fn of(live: Live) -> Self {
        Self {
            live,
            queued: live.expires,
        }
    }
}

/// What steers new flows, and until when.
pub(super) type Steering = (Triple, Live);

/// The first of a pair's bindings that expires, and of those that expire at the same time the first in order.
pub(super) fn first<'a>(mut all: impl Iterator<Item = (Triple, &'a Entry)>) -> Option<Steering> {
    let (triple, entry) = all.next()?;
    let mut first = (triple, entry.live);
    for (triple, entry) in all {
        if (entry.live.expires, triple) < (first.1.expires, first.0) {
            first = (triple, entry.live);
        }
    }
    Some(first)
}

/// The one of the two that steers.
pub(super) fn earlier(steered: Option<Steering>, fresh: Steering) -> Option<Steering> {
    let key = |(triple, live): &Steering| (live.expires, *triple);
    let stays = steered.filter(|steered| key(steered) < key(&fresh));
    Some(stays.unwrap_or(fresh))
}
