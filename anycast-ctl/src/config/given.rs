//! Helpers that several parts of the configuration share.

use std::{num::NonZeroU32, ops::Range};

use crate::core::rate::Rate;

/// A range in the text of the file, and what is wrong there.
pub(super) type Fault = (Range<usize>, String);

pub(super) fn take<T>(target: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *target = given;
    }
}

/// A token bucket of this rate per second. Its burst is twice as many, for clients that arrive all at once.
pub(super) fn rate(rate: NonZeroU32) -> Rate {
    Rate::per_second(rate.get(), rate.get().saturating_mul(2))
}
