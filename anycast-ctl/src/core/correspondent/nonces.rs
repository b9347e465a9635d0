//! The nonces of the last minutes (RFC 6275 section 5.2.7) that this correspondent has drawn for itself.

use std::collections::VecDeque;

use rand::Rng;

use super::generation::Generation;
use crate::core::{
    Time,
    rr::{Generator, Kcn, Nonce},
};

/// Largest number of nonces that are acceptable at the same time: eight that were used for their whole time, and as
/// many that were [retired](Nonces::retire) before.
pub(super) const REMEMBERED: usize = 2 * EARLY;
const EARLY: usize = 8;

/// A nonce, and whether its use ended early.
#[derive(Debug)]
struct Drawn {
    generation: Generation,
    retired: bool,
}

/// Node key and nonce, renewed together when a token is asked for and the last ones are not fresh.
///
/// The index counts modulo 2^16, so it comes back after 2^16 renewals, more than 22 days later,
/// when the nonce that had it is long forgotten.
#[derive(Debug)]
pub(super) struct Nonces {
    /// The nonces, oldest first.
    generations: VecDeque<Drawn>,
    next_index: u16,
}

impl Nonces {
    /// Makes an empty list. The first index is random: after a restart, an index from before it counts as expired,
    /// which is answered. If it counted as known, the authenticator would be wrong.
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
        let place = last.filter(|_| self.fresh(now).is_some());
        let place = place.unwrap_or_else(|| self.renew(now, rng));
        &self.generations[place].generation
    }

    /// The same, if there is one that was drawn before.
    pub(super) fn fresh(&self, now: Time) -> Option<&Generation> {
        let last = self.generations.back().filter(|last| !last.retired)?;
        Some(&last.generation).filter(|generation| now < generation.until())
    }

    /// If new tokens are made with this nonce, makes the next token with another one, unless an older nonce would then
    /// be forgotten too early.
    pub(super) fn retire(&mut self, now: Time, index: u16) {
        let is_early = |old: &&Drawn| old.retired && old.generation.is_acceptable(now);
        let early = self.generations.iter().filter(is_early).count();
        if let Some(last) = self.generations.back_mut()
            && last.generation.index() == index
            && early < EARLY
        {
            last.retired = true;
        }
    }

    /// The nonce of an index that a Binding Update names, while it is acceptable.
    pub(super) fn find(&self, now: Time, index: u16) -> Option<&Generation> {
        self.acceptable(now)
            .find(|generation| generation.index() == index)
    }

    /// The acceptable nonces, oldest first.
    pub(super) fn acceptable(&self, now: Time) -> impl Iterator<Item = &Generation> {
        self.generations
            .iter()
            .map(|drawn| &drawn.generation)
            .filter(move |generation| generation.is_acceptable(now))
    }

    pub(super) const fn next_index(&self) -> u16 {
        self.next_index
    }

    /// Restores the nonces of an earlier run, oldest first.
    pub(super) fn restored(generations: Vec<Generation>, next_index: u16) -> Self {
        let drawn = |generation| Drawn {
            generation,
            retired: false,
        };
        Self {
            generations: generations.into_iter().map(drawn).collect(),
            next_index,
        }
    }

    /// Makes a nonce, and gives its index in the list.
    fn renew(&mut self, now: Time, rng: &mut Generator) -> usize {
        self.generations
            .retain(|old| old.generation.is_acceptable(now));
        let (key, nonce) = (Kcn::generate(rng), Nonce::generate(rng));
        self.generations.push_back(Drawn {
            generation: Generation::new(self.next_index, key, nonce, now),
            retired: false,
        });
        self.next_index = self.next_index.wrapping_add(1);
        if self.generations.len() > REMEMBERED {
            self.generations.pop_front();
        }
        self.generations.len() - 1
    }
}
