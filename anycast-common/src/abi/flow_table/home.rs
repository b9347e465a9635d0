//! In which sets a flow may be, and by which tag.

use crate::abi::maps::FlowKey;

/// Words of the key of a flow.
pub(super) const KEY_WORDS: usize = size_of::<FlowKey>() / 8;
const _: () = assert!(align_of::<FlowKey>() == 8);

/// Words of the key of the hash.
pub type Secret = [u64; KEY_WORDS];

/// Where a flow may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// What all else comes from.
    pub hash: u64,
    /// Its tag in a set, not 0.
    pub tag: u16,
}

impl Home {
    /// That of a flow.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "parts of a hash")]
    pub fn of(key: &FlowKey, secret: &Secret) -> Self {
        let hash = hash(key, secret);
        let tag = 1 + (((hash >> 48) * 0xffff) >> 16) as u16;
        Self { hash, tag }
    }

    /// Number of its first set in a table of so many.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a hash")]
    pub fn first(&self, sets: u32) -> u32 {
        scale(self.hash as u32, sets)
    }

    /// Number of the other one.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "parts of a hash")]
    pub fn second(&self, sets: u32) -> u32 {
        let mixed = self.hash as u32 ^ (self.hash >> 40) as u32;
        scale(mixed.wrapping_mul(0x9e37_79b1), sets)
    }
}

/// A number below this one.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the upper half")]
fn scale(part: u32, sets: u32) -> u32 {
    ((u64::from(part) * u64::from(sets)) >> 32) as u32
}

/// A word of a key. They are read where they are wanted: programs have little room to keep them.
#[inline(always)]
pub(super) fn word_of(key: &FlowKey, number: usize) -> u64 {
    // SAFETY: the key is so many words, aligned as words are.
    unsafe { word((&raw const *key).cast(), number) }
}

/// NH (RFC 4418 section 5.2.2) over the ten half words, and a finish that spreads it over all bits. Who does not know
/// the secret cannot choose flows that meet.
#[inline(always)]
fn hash(key: &FlowKey, secret: &Secret) -> u64 {
    let mut sum = 0_u64;
    for number in 0..secret.len() {
        // SAFETY: the number is that of a word.
        let mask = unsafe { word(secret.as_ptr(), number) };
        let word = word_of(key, number);
        let low = word.wrapping_add(mask) & 0xffff_ffff;
        let high = (word >> 32).wrapping_add(mask >> 32) & 0xffff_ffff;
        sum = sum.wrapping_add(low.wrapping_mul(high));
    }
    let once = (sum ^ (sum >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let twice = (once ^ (once >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    twice ^ (twice >> 32)
}

/// A word that others may write just now.
#[inline(always)]
pub(super) unsafe fn word(words: *const u64, number: usize) -> u64 {
    // SAFETY: by the caller.
    unsafe { words.add(number).read_volatile() }
}
