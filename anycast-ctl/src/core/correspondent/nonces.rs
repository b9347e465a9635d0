//! The nonces of the last minutes (RFC 6275 section 5.2.7).

use std::{collections::VecDeque, net::Ipv6Addr, time::Duration};

use rand::Rng;

use crate::core::{
    Time,
    rr::{self, Generator, Kcn, KeygenToken, MAX_NONCE_LIFETIME, Nonce},
};

/// A nonce is handed out for this long: the difference between MAX_NONCE_LIFETIME and
/// MAX_TOKEN_LIFETIME, so that a token is good for the latter however late it was made.
const FRESH: Duration = MAX_NONCE_LIFETIME.saturating_sub(rr::MAX_TOKEN_LIFETIME);

/// As many nonces as can be acceptable at once: eight that were handed out for their whole time, and
/// as many that were [retired](Nonces::retire) before.
pub(super) const REMEMBERED: usize = 2 * EARLY;
const EARLY: usize = 8;

/// A nonce and the node key that is used with it.
#[derive(Debug)]
pub(super) struct Generation {
    index: u16,
    key: Kcn,
    nonce: Nonce,
    first_used: Time,
    /// It was not handed out for its whole time.
    retired: bool,
}

impl Generation {
    /// One that an earlier run made.
    pub(super) const fn restored(index: u16, key: Kcn, nonce: Nonce, first_used: Time) -> Self {
        Self {
            index,
            key,
            nonce,
            first_used,
            retired: false,
        }
    }

    pub(super) const fn key(&self) -> &Kcn {
        &self.key
    }

    pub(super) const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    pub(super) const fn first_used(&self) -> Time {
        self.first_used
    }

    fn is_acceptable(&self, now: Time) -> bool {
        now < self.first_used + MAX_NONCE_LIFETIME
    }

    /// The index that names it on the wire.
    pub(super) const fn index(&self) -> u16 {
        self.index
    }

    /// The home keygen token of `home`, for this client.
    pub(super) fn home(&self, home: Ipv6Addr, client: Ipv6Addr) -> KeygenToken {
        rr::home_keygen_token(&self.key, &self.nonce, home, client)
    }

    /// The care-of keygen token of `care_of`, for this client.
    pub(super) fn care_of(&self, care_of: Ipv6Addr, client: Ipv6Addr) -> KeygenToken {
        rr::care_of_keygen_token(&self.key, &self.nonce, care_of, client)
    }
}

/// Node key and nonce, renewed together when a token is asked for and the last ones are not fresh.
///
/// The index counts modulo 2^16, so it comes back after 2^16 renewals, more than 22 days later,
/// when the nonce that had it is long forgotten.
#[derive(Debug)]
pub(super) struct Nonces {
    /// Oldest first.
    generations: VecDeque<Generation>,
    next_index: u16,
}

impl Nonces {
    /// No nonces yet. The first index is random: after a restart, one from before it then counts
    /// as expired, which is answered, and not as known, whose authenticator would be wrong.
    pub(super) fn new(rng: &mut Generator) -> Self {
        let [high, low, ..] = rng.next_u32().to_be_bytes();
        Self {
            generations: VecDeque::with_capacity(REMEMBERED + 1),
            next_index: u16::from_be_bytes([high, low]),
        }
    }

    /// The nonce to make a token with.
    pub(super) fn current(&mut self, now: Time, rng: &mut Generator) -> &Generation {
        let last = self.generations.len().checked_sub(1);
        let last = last.filter(|last| !self.generations[*last].retired);
        let fresh = last.filter(|last| now < self.generations[*last].first_used + FRESH);
        let index = fresh.unwrap_or_else(|| self.renew(now, rng));
        &self.generations[index]
    }

    /// If this is the nonce that is handed out, the next token is made with another; unless that would
    /// make an older one forgotten before its time.
    pub(super) fn retire(&mut self, now: Time, index: u16) {
        let early = self.acceptable(now).filter(|old| old.retired).count();
        if let Some(last) = self.generations.back_mut()
            && last.index == index
            && early < EARLY
        {
            last.retired = true;
        }
    }

    /// The nonce of an index that a Binding Update names, while it is acceptable.
    pub(super) fn find(&self, now: Time, index: u16) -> Option<&Generation> {
        self.generations
            .iter()
            .find(|generation| generation.index == index && generation.is_acceptable(now))
    }

    /// Those that are acceptable, oldest first.
    pub(super) fn acceptable(&self, now: Time) -> impl Iterator<Item = &Generation> {
        self.generations
            .iter()
            .filter(move |generation| generation.is_acceptable(now))
    }

    pub(super) const fn next_index(&self) -> u16 {
        self.next_index
    }

    /// Those of an earlier run, oldest first.
    pub(super) fn restored(generations: Vec<Generation>, next_index: u16) -> Self {
        Self {
            generations: generations.into(),
            next_index,
        }
    }

    /// Makes a nonce, and gives its place.
    fn renew(&mut self, now: Time, rng: &mut Generator) -> usize {
        self.generations.retain(|old| old.is_acceptable(now));
        self.generations.push_back(Generation {
            index: self.next_index,
            key: Kcn::generate(rng),
            nonce: Nonce::generate(rng),
            first_used: now,
            retired: false,
        });
        self.next_index = self.next_index.wrapping_add(1);
        if self.generations.len() > REMEMBERED {
            self.generations.pop_front();
        }
        self.generations.len() - 1
    }
}
