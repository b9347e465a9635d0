//! Puts a flow into one of its sets.

use super::{
    find::{heard, slot, tag},
    home::{Home, KEY_WORDS, word_of},
    lanes::{how_many, lowest, tags, with_tag},
    layout::{ANSWERED, SLOTS, Set, Slot, address, check},
};
use crate::abi::maps::{Flow, FlowKey, unattended::tick};

/// What an insert did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It took a free slot.
    Free,
    /// Another flow lost its slot.
    Evicted,
}

/// Puts a flow that is in neither of its sets into one of them.
///
/// # Safety
///
/// `sets` must point to sets; others may write them at any time.
#[inline(always)]
pub unsafe fn insert(
    sets: [*mut Set; 2],
    home: &Home,
    key: &FlowKey,
    flow: &Flow,
    now: u64,
) -> Inserted {
    let [first, second] = sets;
    // SAFETY: by the caller; the numbers are those of slots.
    unsafe {
        let [one, other] = [offer(first, home.tag, now), offer(second, home.tag, now)];
        let (set, offer) = if one >= other {
            (first, one)
        } else {
            (second, other)
        };
        #[expect(clippy::cast_possible_truncation, reason = "three bits")]
        let number = offer as usize & (SLOTS - 1);
        // Nobody's, while it is written.
        tag(set, number).write_volatile(0);
        write(slot(set, number), home, key, flow);
        heard(set, number, now, flow.last_in != 0);
        tag(set, number).write_volatile(home.tag);
        if offer < ROOM {
            Inserted::Evicted
        } else {
            Inserted::Free
        }
    }
}

/// What a set offers that has room.
const ROOM: u64 = 1 << 48;
/// What a full one does at least.
const FULL: u64 = 1 << 40;

/// The slot in which the set would have a flow with this tag, in the lowest three bits. The better it is the more they
/// are together: a free one, the more there are; one that was silent, the longer it was.
///
/// # Safety
///
/// `set` must point to a set.
#[inline(always)]
unsafe fn offer(set: *const Set, tag: u16, now: u64) -> u64 {
    // SAFETY: by the caller.
    let tags = unsafe { tags(set) };
    // No tag comes twice in a set.
    let taken = with_tag(tags, tag);
    if taken != 0 {
        return lowest(taken) as u64;
    }
    let room = with_tag(tags, 0);
    if room != 0 {
        return ROOM + (how_many(room) << 3 | lowest(room) as u64);
    }
    // SAFETY: as above.
    FULL + u64::from(unsafe { oldest(set, now) })
}

/// The age of the flow that was silent for longest, in ticks, times [`SLOTS`], plus its number.
#[inline(always)]
unsafe fn oldest(set: *const Set, now: u64) -> u32 {
    let now = tick(now).wrapping_add(ANSWERED);
    let mut oldest = 0;
    for number in 0..SLOTS {
        // SAFETY: by the caller.
        let heard = unsafe {
            (&raw const (*set).heard)
                .cast::<u32>()
                .add(number)
                .read_volatile()
        };
        #[expect(clippy::cast_possible_truncation, reason = "it is below SLOTS")]
        let slot = number as u32;
        // Another CPU may have heard of it in the tick after.
        let age = now.wrapping_sub(heard);
        let age = if age >> 31 == 0 { age } else { 0 };
        oldest = oldest.max(age << 3 | slot);
    }
    oldest
}

#[inline(always)]
unsafe fn write(slot: *mut Slot, home: &Home, key: &FlowKey, flow: &Flow) {
    // SAFETY: by the caller.
    unsafe {
        let to = (&raw mut (*slot).key).cast::<u64>();
        for number in 0..KEY_WORDS {
            to.add(number).write_volatile(word_of(key, number));
        }
        (&raw mut (*slot).flow).write(*flow);
        // Of what was to be written: what is there may be another's by now.
        let check = check(home.hash, address(&flow.care_of), flow.delta);
        (&raw mut (*slot).check).write_volatile(check);
    }
}
