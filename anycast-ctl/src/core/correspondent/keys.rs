//! Sources of nonces and node keys: drawn at random by this correspondent, or the same for a whole fleet.

use std::time::Duration;

use super::{generation::Generation, nonces::Nonces, periods::Periods};
use crate::core::{Time, fleet, rr::Generator};

/// Nonces and node keys.
#[derive(Debug)]
pub(super) enum Keys {
    /// Drawn at random, and known to nobody else.
    Own(Nonces),
    /// Derived from a secret and the time of day, as at each gateway of the fleet.
    Fleet(Box<Periods>),
}

impl Keys {
    pub(super) fn new(fleet: Option<&fleet::Settings>, now: Time, rng: &mut Generator) -> Self {
        match fleet {
            None => Self::Own(Nonces::new(rng)),
            Some(fleet) => Self::Fleet(Box::new(Periods::new(fleet.clone(), now))),
        }
    }

    /// The time of day at `now`, since 1970.
    pub(super) fn clock(&mut self, now: Time, unix: Duration) {
        match self {
            Self::Own(_) => {}
            Self::Fleet(periods) => periods.clock(now, unix),
        }
    }

    /// The nonce to make a token with.
    pub(super) fn current(&mut self, now: Time, rng: &mut Generator) -> &Generation {
        match self {
            Self::Own(nonces) => nonces.current(now, rng),
            Self::Fleet(periods) => periods.current(now),
        }
    }

    /// The nonce that tokens are made with now, if nothing has to be drawn or derived for it.
    pub(super) fn fresh(&self, now: Time) -> Option<&Generation> {
        match self {
            Self::Own(nonces) => nonces.fresh(now),
            Self::Fleet(periods) => periods.fresh(now),
        }
    }

    /// The next token is made with another nonce than this. A fleet cannot agree on another before the next period.
    pub(super) fn retire(&mut self, now: Time, index: u16) {
        match self {
            Self::Own(nonces) => nonces.retire(now, index),
            Self::Fleet(_) => {}
        }
    }

    /// What an index of a Binding Update may stand for, while it is acceptable: one nonce at most, or one of each
    /// secret of a fleet.
    pub(super) fn find(&self, now: Time, index: u16) -> impl Iterator<Item = &Generation> {
        let (own, fleet) = match self {
            Self::Own(nonces) => (nonces.find(now, index), None),
            Self::Fleet(periods) => (None, Some(periods.find(now, index))),
        };
        own.into_iter().chain(fleet.into_iter().flatten())
    }

    /// The nonces that are lost when this correspondent ends.
    pub(super) fn drawn(&self, now: Time) -> impl Iterator<Item = &Generation> {
        let own = match self {
            Self::Own(nonces) => Some(nonces.acceptable(now)),
            Self::Fleet(_) => None,
        };
        own.into_iter().flatten()
    }

    /// The index of the next nonce that is drawn.
    pub(super) const fn next_index(&self) -> u16 {
        match self {
            Self::Own(nonces) => nonces.next_index(),
            Self::Fleet(_) => 0,
        }
    }

    /// Continues with the nonces of an earlier run. Those of a fleet need not be kept.
    pub(super) fn restore(&mut self, earlier: Nonces) {
        match self {
            Self::Own(nonces) => *nonces = earlier,
            Self::Fleet(_) => {}
        }
    }
}
