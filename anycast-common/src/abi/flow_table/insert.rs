//! Puts a flow into one of its sets.

use super::{
    find::{age, heard, rank, slot, tag},
    home::{Home, KEY_WORDS, word_of},
    lanes::{how_many, lowest, tags, with_tag},
    layout::{OPEN_SHARE, SLOTS, Set, Slot, address, check, class},
};
use crate::abi::maps::{Flow, FlowKey, unattended::tick};

/// What an insert did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It took a free slot.
    Free,
    /// A bound flow lost its slot.
    Evicted,
    /// An open one did.
    EvictedOpen,
    /// Nothing: there is no slot for an open flow.
    Refused,
}

/// Puts a flow that is in neither of its sets into one of them, in one of the [classes](class).
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
    class: u8,
    now: u64,
) -> Inserted {
    let goes = (address(&flow.care_of), flow.delta);
    // SAFETY: by the caller; the place is that of a flow.
    unsafe {
        insert_with(sets, home, key, goes, class, now, |place| {
            place.write(*flow)
        })
    }
}

/// The same for a flow with this [care-of address](Flow::care_of) and [difference](Flow::delta), all of which is
/// written where it will be: programs have little room elsewhere.
///
/// # Safety
///
/// As of [`insert`].
#[inline(always)]
pub unsafe fn insert_with(
    sets: [*mut Set; 2],
    home: &Home,
    key: &FlowKey,
    (care_of, delta): ([u64; 2], u16),
    class: u8,
    now: u64,
    fill: impl FnOnce(*mut Flow),
) -> Inserted {
    let [first, second] = sets;
    // SAFETY: by the caller; the numbers are those of slots.
    unsafe {
        let open = class == class::OPEN;
        let one = offer(first, home.tag, open, now);
        let other = offer(second, home.tag, open, now);
        let (set, offer) = if one >= other {
            (first, one)
        } else {
            (second, other)
        };
        if offer == NONE {
            return Inserted::Refused;
        }
        #[expect(clippy::cast_possible_truncation, reason = "three bits")]
        let number = offer as usize & (SLOTS - 1);
        let lost = (&raw const (*set).classes)
            .cast::<u8>()
            .add(number)
            .read_volatile();
        // Nobody's, while it is written.
        tag(set, number).write_volatile(0);
        let slot = slot(set, number);
        write_key(slot, key);
        fill(&raw mut (*slot).flow);
        // Of what was to be written: what is there may be another's by now.
        (&raw mut (*slot).check).write_volatile(check(home.hash, care_of, delta));
        heard(set, number, now);
        rank(set, number, class);
        tag(set, number).write_volatile(home.tag);
        if offer >= ROOM {
            Inserted::Free
        } else if lost == class::OPEN {
            Inserted::EvictedOpen
        } else {
            Inserted::Evicted
        }
    }
}

/// What a set offers that has room.
const ROOM: u64 = 1 << 48;
/// What a full one does at least.
const FULL: u64 = 1 << 44;
/// And with a flow of the lowest class, so much for each below the highest.
const CLASS: u64 = 1 << 40;
/// What a set offers that has its flow already, as if by another's tag: its slot, and no more.
const TAKEN: u64 = 1 << 4;
/// Nothing.
const NONE: u64 = 0;

/// The slot in which the set would have a flow with this tag, in the lowest three bits. The better it is the more they
/// are together: a free one, the more there are; else one of the lowest class, the longer it was silent.
///
/// # Safety
///
/// `set` must point to a set.
#[inline(never)]
unsafe fn offer(set: *const Set, tag: u16, open: bool, now: u64) -> u64 {
    // SAFETY: by the caller.
    let (tags, classes) = unsafe { (tags(set), (&raw const (*set).classes).cast::<u64>()) };
    // SAFETY: the classes are one aligned word.
    let spent = open && how_many_open(unsafe { classes.read_volatile() }) >= OPEN_SHARE;
    // No tag comes twice in a set.
    let taken = with_tag(tags, tag);
    if taken != 0 {
        // Whose it is would be lost to an open flow.
        return if open {
            NONE
        } else {
            TAKEN + lowest(taken) as u64
        };
    }
    let room = with_tag(tags, 0);
    if room != 0 && !spent {
        return ROOM + (how_many(room) << 3 | lowest(room) as u64);
    }
    // SAFETY: as above.
    unsafe { least(set, open, now) }
}

/// The flow that gives way: the one of the lowest class, and of those the one that was silent for longest. To an open
/// flow none gives way but another. Without a branch, which the verifier would follow both ways.
#[inline(always)]
unsafe fn least(set: *const Set, open: bool, now: u64) -> u64 {
    let now = tick(now);
    let any = u64::from(!open);
    let mut least = NONE;
    for number in 0..SLOTS {
        // SAFETY: by the caller.
        let (heard, class) = unsafe {
            let heard = (&raw const (*set).heard).cast::<u32>().add(number);
            let class = (&raw const (*set).classes).cast::<u8>().add(number);
            (heard.read_volatile(), class.read_volatile())
        };
        let class = u64::from(class);
        let worth = u64::from(class::SESSION).wrapping_sub(class) & 7;
        let silent = u64::from(age(heard, now)) << 3;
        let offer = FULL + worth * CLASS + silent + number as u64;
        // All ones when it may give way.
        let is_open = (class ^ u64::from(class::OPEN)).wrapping_sub(1) >> 63;
        let offer = offer & 0_u64.wrapping_sub(core::hint::black_box(any | is_open));
        // The larger of both.
        let more = offer.wrapping_sub(least);
        let is_less = core::hint::black_box(more >> 63);
        least = least.wrapping_add(more & is_less.wrapping_sub(1));
    }
    least
}

/// How many slots are of open flows, by the classes of all.
#[inline(always)]
const fn how_many_open(classes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const BELOW_TOP: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let other = classes ^ (EACH * class::OPEN as u64);
    // The top bit of each octet that is zero.
    let zeros = !(((other & BELOW_TOP) + BELOW_TOP) | other | BELOW_TOP);
    (zeros >> 7).wrapping_mul(EACH) >> 56
}

#[inline(always)]
unsafe fn write_key(slot: *mut Slot, key: &FlowKey) {
    // SAFETY: by the caller.
    unsafe {
        let to = (&raw mut (*slot).key).cast::<u64>();
        for number in 0..KEY_WORDS {
            to.add(number).write_volatile(word_of(key, number));
        }
    }
}
