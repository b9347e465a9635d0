//! Finds a flow in its sets, and notes what is heard of it.

use super::{
    home::{Home, KEY_WORDS, word, word_of},
    lanes::{lowest, tags, with_tag},
    layout::{ANSWERED, SLOTS, Set, Slot, check},
};
use crate::abi::maps::{FlowKey, unattended::tick};

/// A flow that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Number of its slot in the set.
    pub number: usize,
    /// Its care-of address by words, and the next field, as they were when the slot was the flow's: it may be
    /// another's a moment later.
    pub care_of: [u64; 2],
    /// Its checksum difference, see [`Flow::delta`](crate::abi::maps::Flow::delta).
    pub delta: u16,
}

/// Looks for a flow in one of its sets.
///
/// # Safety
///
/// `set` must point to a set, of which others may write at any time.
#[inline(always)]
pub unsafe fn find(set: *mut Set, home: &Home, key: &FlowKey) -> Option<Found> {
    // SAFETY: by the caller; the number is that of a slot.
    unsafe {
        let slots = with_tag(tags(set), home.tag);
        if slots == 0 {
            return None;
        }
        let number = lowest(slots);
        let slot = slot(set, number);
        let there = (&raw const (*slot).key).cast::<u64>();
        for word_number in 0..KEY_WORDS {
            if word_of(key, word_number) != word(there, word_number) {
                return None;
            }
        }
        let care_of = (&raw const (*slot).flow.care_of).cast::<u64>();
        let care_of = [word(care_of, 0), word(care_of, 1)];
        let delta = (&raw const (*slot).flow.delta).read_volatile();
        let whole = word(&raw const (*slot).check, 0) == check(home.hash, care_of, delta);
        whole.then_some(Found {
            number,
            care_of,
            delta,
        })
    }
}

/// The slot with a number.
///
/// # Safety
///
/// `set` must point to a set.
#[inline(always)]
pub unsafe fn slot(set: *mut Set, number: usize) -> *mut Slot {
    // SAFETY: by the caller; there are so many.
    unsafe {
        (&raw mut (*set).slots)
            .cast::<Slot>()
            .add(number & (SLOTS - 1))
    }
}

/// Notes that the client of the flow in a slot was heard, `now` in nanoseconds, and whether that was after an answer:
/// then two ends know each other.
///
/// # Safety
///
/// As of [`slot`].
#[inline(always)]
pub unsafe fn heard(set: *mut Set, number: usize, now: u64, answered: bool) {
    let when = tick(now).wrapping_add(if answered { ANSWERED } else { 0 });
    // SAFETY: by the caller.
    unsafe {
        let heard = when_heard(set, number);
        // Others may read the line just now.
        if heard.read_volatile() != when {
            heard.write_volatile(when);
        }
    }
}

/// Notes that an answer was heard. It does not say that the client is there: a flood of SYNs is answered, too.
///
/// # Safety
///
/// As of [`slot`].
#[inline(always)]
pub unsafe fn answered(set: *mut Set, number: usize, now: u64) {
    let tick = tick(now);
    // SAFETY: by the caller.
    unsafe {
        let before = when_heard(set, number).read_volatile().wrapping_sub(tick);
        // One ahead may be another CPU's clock.
        heard(set, number, now, before.wrapping_sub(2) < ANSWERED);
    }
}

#[inline(always)]
unsafe fn when_heard(set: *mut Set, number: usize) -> *mut u32 {
    // SAFETY: by the caller.
    unsafe {
        (&raw mut (*set).heard)
            .cast::<u32>()
            .add(number & (SLOTS - 1))
    }
}

/// Ends the flow in a slot, unless another has it by now.
///
/// # Safety
///
/// As of [`slot`].
#[inline(always)]
pub unsafe fn end(set: *mut Set, number: usize, home: &Home) {
    // SAFETY: by the caller.
    unsafe {
        let tag = tag(set, number);
        if tag.read_volatile() == home.tag {
            tag.write_volatile(0);
        }
    }
}

/// Whether nobody has a slot.
///
/// # Safety
///
/// As of [`slot`].
#[inline(always)]
#[must_use]
pub unsafe fn is_free(set: *mut Set, number: usize) -> bool {
    // SAFETY: by the caller.
    unsafe { tag(set, number).read_volatile() == 0 }
}

#[inline(always)]
pub(super) unsafe fn tag(set: *mut Set, number: usize) -> *mut u16 {
    // SAFETY: by the caller.
    unsafe {
        (&raw mut (*set).tags)
            .cast::<u16>()
            .add((number & (SLOTS - 1)) ^ LANE_ORDER)
    }
}

/// The lowest lane of a word comes last in memory where the lowest octet does.
const LANE_ORDER: usize = if cfg!(target_endian = "big") { 3 } else { 0 };
