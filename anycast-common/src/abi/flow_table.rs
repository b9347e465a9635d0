//! The table of pinned flows: an array that programs and controller read and write by the same functions.
//!
//! A kernel's LRU hash map takes an insert about as long as a hundred other instructions of a packet, and evicts
//! whoever was silent for longest. Here a flow may be in two sets of [`SLOTS`] slots. A set begins with a line of the
//! processor's cache that has a tag of each flow in it, so that a lookup reads this line and the flow's own, and an
//! insert no more. When both sets are full the flow goes that was silent for longest, where one whose client never
//! went on after an answer counts as [`ANSWERED`] ticks older than it is: a flood of packets with forged ports, answered
//! or not, ends no session that was heard of in the last minute.
//!
//! There is no lock. A slot is written by one CPU at a time but for chance, and [`Slot::check`] tells a slot that
//! two of them wrote at once, or that is being written: it is nobody's, and the flow is pinned again by its next packet.

mod home;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use self::home::{Home, Secret};
use self::home::{KEY_WORDS, word, word_of};
use super::maps::{Flow, FlowKey, unattended::tick};

/// Slots of a set.
pub const SLOTS: usize = 8;

/// For so many flows there is a set: with a fourth of the slots free, hardly ever are both sets of a flow full.
const FLOWS_OF_A_SET: u32 = 6;

/// A flow whose client went on after an answer counts as one that was heard of so many [ticks](tick) later.
pub const ANSWERED: u32 = 64;

/// Sets of a table for so many flows.
#[must_use]
pub const fn sets(flows: u32) -> u32 {
    flows.div_ceil(FLOWS_OF_A_SET)
}

/// Entries of the map `FLOWS` for so many: its sets, and the [`Header`] behind them.
#[must_use]
pub const fn entries(flows: u32) -> u32 {
    sets(flows) + 1
}

/// For how many flows a map with so many entries was made: as many as [`entries`] was asked for, or up to five more.
#[must_use]
pub const fn flows(entries: u32) -> u32 {
    entries.saturating_sub(1).saturating_mul(FLOWS_OF_A_SET)
}

/// A flow. Two lines of a processor's cache, of which the first says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Slot {
    /// Whose.
    pub key: FlowKey,
    /// What [`check`] makes of the key, and of that in the value which never changes.
    pub check: u64,
    /// What became of it.
    pub flow: Flow,
    /// Zero.
    pub reserved: [u64; 3],
}

impl Slot {
    /// Whether nobody is writing it: its tag says that there is a flow, and this whether it is one.
    #[must_use]
    pub fn is_whole(&self, home: &Home) -> bool {
        self.check == check(home.hash, address(&self.flow.care_of), self.flow.delta)
    }
}

/// Slots that share hashes. Map `FLOWS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Set {
    /// A tag for each slot; 0: the slot is free. No other is there twice.
    pub tags: [u16; SLOTS],
    /// When something was last heard of each, in [ticks](tick), plus [`ANSWERED`] once its client went on after an answer.
    pub heard: [u32; SLOTS],
    /// Zero.
    pub reserved: [u64; 2],
    /// The flows.
    pub slots: [Slot; SLOTS],
}

/// What is behind the sets: how to find flows in them. As large as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Header {
    /// [`Header::READY`] when the rest is true.
    pub ready: u64,
    /// Key of the hash.
    pub secret: Secret,
}

impl Header {
    /// A value of [`Header::ready`].
    pub const READY: u64 = u64::from_le_bytes(*b"anycast\0");
}

const _: () = assert!(size_of::<Set>() == 64 + SLOTS * 128 && size_of::<Slot>() == 128);
const _: () = assert!(size_of::<Header>() <= size_of::<Set>());

#[inline(always)]
fn address(octets: &[u8; 16]) -> [u64; 2] {
    // SAFETY: both are 16 octets of plain data.
    unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(*octets) }
}

const LANES: u64 = 0x0001_0001_0001_0001;
const BELOW_TOP: u64 = 0x7fff_7fff_7fff_7fff;
/// Makes its number of the bit of a slot that [`with_tag`] gives.
const NUMBERS: u64 = 1 << 45 | 2 << 29 | 3 << 13 | 4 << 57 | 5 << 41 | 6 << 25 | 7 << 9;

/// A bit for each slot with a tag: all slots at once, without a branch, which the verifier would follow both ways.
#[inline(always)]
fn with_tag(tags: [u64; 2], tag: u16) -> u64 {
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
unsafe fn tags(set: *const Set) -> [u64; 2] {
    // SAFETY: the tags are two aligned words.
    unsafe {
        let tags = (&raw const (*set).tags).cast::<u64>();
        [word(tags, 0), word(tags, 1)]
    }
}

/// How many these are.
#[inline(always)]
const fn how_many(slots: u64) -> u64 {
    ((slots & LANES) + (slots >> 4 & LANES)).wrapping_mul(LANES) >> 48
}

/// Number of the lowest of them, below [`SLOTS`].
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "three bits")]
fn lowest(slots: u64) -> usize {
    ((slots & slots.wrapping_neg()).wrapping_mul(NUMBERS) >> 61) as usize
}

/// A flow that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Number of its slot in the set.
    pub number: usize,
    /// [`Flow::care_of`] by words, and the next field, as they were when the slot was the flow's: it may be
    /// another's a moment later.
    pub care_of: [u64; 2],
    /// [`Flow::delta`]
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

/// What [`Slot::check`] is for a flow with this hash: of a mixture of two it is another.
#[inline(always)]
fn check(hash: u64, care_of: [u64; 2], delta: u16) -> u64 {
    (hash ^ care_of[0]).wrapping_mul(0x94d0_49bb_1331_11eb)
        ^ (care_of[1].wrapping_add(u64::from(delta))).wrapping_mul(0x9e37_79b9_7f4a_7c15)
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
unsafe fn tag(set: *mut Set, number: usize) -> *mut u16 {
    // SAFETY: by the caller.
    unsafe {
        (&raw mut (*set).tags)
            .cast::<u16>()
            .add((number & (SLOTS - 1)) ^ LANE_ORDER)
    }
}

/// The lowest lane of a word comes last in memory where the lowest octet does.
const LANE_ORDER: usize = if cfg!(target_endian = "big") { 3 } else { 0 };

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
