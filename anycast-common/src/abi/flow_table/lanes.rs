//! The tags of a set, which are compared all at once.

use super::{home::word, layout::Set};

const LANES: u64 = 0x0001_0001_0001_0001;
const BELOW_TOP: u64 = 0x7fff_7fff_7fff_7fff;
/// Makes its number of the bit of a slot that [`with_tag`] gives.
const NUMBERS: u64 = 1 << 45 | 2 << 29 | 3 << 13 | 4 << 57 | 5 << 41 | 6 << 25 | 7 << 9;

/// A bit for each slot with a tag: all slots at once, without a branch, which the verifier would follow both ways.
#[inline(always)]
pub(super) fn with_tag(tags: [u64; 2], tag: u16) -> u64 {
    let wanted = u64::from(tag) * LANES;
    // The top bit of each lane that is zero.
    let zeros = |lanes: u64| !(((lanes & BELOW_TOP) + BELOW_TOP) | lanes | BELOW_TOP);
    zeros(tags[0] ^ wanted) >> 15 | zeros(tags[1] ^ wanted) >> 11
}

/// All tags of a set, as they are at one time.
///
/// # Safety
///
/// `set` must point to a set.
#[inline(always)]
pub(super) unsafe fn tags(set: *const Set) -> [u64; 2] {
    // SAFETY: the tags are two aligned words.
    unsafe {
        let tags = (&raw const (*set).tags).cast::<u64>();
        [word(tags, 0), word(tags, 1)]
    }
}

/// How many these are.
#[inline(always)]
pub(super) const fn how_many(slots: u64) -> u64 {
    ((slots & LANES) + (slots >> 4 & LANES)).wrapping_mul(LANES) >> 48
}

/// Number of the lowest of them, below [`SLOTS`](super::SLOTS).
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "three bits")]
pub(super) fn lowest(slots: u64) -> usize {
    ((slots & slots.wrapping_neg()).wrapping_mul(NUMBERS) >> 61) as usize
}
