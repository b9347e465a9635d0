//! Finds a flow in its sets, and notes what is heard of it.

use super::{
    home::{Home, KEY_WORDS, word, word_of},
    lanes::{lowest, tags, with_tag},
    layout::{SLOTS, Set, Slot, check, class},
};
use crate::abi::maps::{FlowKey, state, unattended::tick};

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

/// Notes that something was heard of the flow in a slot, `now` in nanoseconds.
///
/// # Safety
///
/// As of [`slot`].
#[inline(always)]
pub unsafe fn heard(set: *mut Set, number: usize, now: u64) {
    let when = tick(now);
    // SAFETY: by the caller.
    unsafe {
        let heard = when_heard(set, number);
        // Others may read the line just now.
        if heard.read_volatile() != when {
            heard.write_volatile(when);
        }
    }
}

/// For how many ticks nothing was heard of it.
///
/// # Safety
///
/// As of [`slot`].
#[inline(always)]
#[must_use]
pub unsafe fn silent(set: *mut Set, number: usize, now: u64) -> u32 {
    // SAFETY: by the caller.
    let heard = unsafe { when_heard(set, number).read_volatile() };
    age(heard, tick(now))
}

/// Ticks from one to another, which may be a moment ahead: another CPU's clock.
#[inline(always)]
pub(super) fn age(heard: u32, now: u32) -> u32 {
    let age = now.wrapping_sub(heard);
    // 0 for those of which the top bit is set. Without a branch.
    age & core::hint::black_box(age >> 31).wrapping_sub(1)
}

/// Puts the flow in a slot into one of the [classes](class).
///
/// # Safety
///
/// As of [`slot`].
#[inline(always)]
pub unsafe fn rank(set: *mut Set, number: usize, class: u8) {
    // SAFETY: by the caller.
    unsafe {
        let there = (&raw mut (*set).classes)
            .cast::<u8>()
            .add(number & (SLOTS - 1));
        if there.read_volatile() != class {
            there.write_volatile(class);
        }
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

/// Makes the flow in a slot open, unless another has it by now.
///
/// # Safety
///
/// As of [`slot`].
#[inline(always)]
pub unsafe fn open(set: *mut Set, number: usize, home: &Home) {
    // SAFETY: by the caller.
    unsafe {
        let tag = tag(set, number);
        if tag.read_volatile() != home.tag {
            return;
        }
        // Nobody's, while it is written.
        tag.write_volatile(0);
        let slot = slot(set, number);
        let flow = &raw mut (*slot).flow;
        (*flow).care_of = [0; 16];
        (*flow).delta = 0;
        (*flow).state = state::OPEN;
        (&raw mut (*slot).check).write_volatile(check(home.hash, [0; 2], 0));
        rank(set, number, class::OPEN);
        tag.write_volatile(home.tag);
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
            rank(set, number, class::FREE);
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
