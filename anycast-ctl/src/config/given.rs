//! What several parts of a configuration have in common.

use std::{num::NonZeroU32, ops::Range};

use crate::core::rate::Rate;

/// A place in the file, and what is wrong there.
pub(super) type Fault = (Range<usize>, String);

pub(super) fn take<T>(target: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *target = given;
    }
}

/// The burst of a rate is what a crowd that arrives at once may use up.
pub(super) fn rate(rate: NonZeroU32) -> Rate {
    Rate::per_second(rate.get(), rate.get().saturating_mul(2))
}
