//! The rates of the token buckets, which the controller may change at any time.

use anycast_common::abi::maps::{Rate, Rates, rates};

use crate::shared::Shared;

/// [`Rates::SECTION`]; unlimited, for a loader that does not set them.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.rates")]
static RATES: Shared<Rates> = Shared::zero();

/// The rate with this number of [`rates`]. While the controller changes it, a packet may meet half of either.
#[inline(always)]
pub(crate) fn given<const NUMBER: usize>() -> Rate {
    const { assert!(NUMBER < rates::ALL) };
    // SAFETY: the number is within the array, which the controller writes in whole words.
    unsafe { RATES.get().cast::<Rate>().add(NUMBER).read_volatile() }
}
