//! The Internet checksum (RFC 1071), its IPv6 pseudo-header (RFC 8200 section 8.1) and its
//! incremental update (RFC 1624).
//!
//! # Representation
//!
//! Every `u16` here is a checksum field **as loaded from memory** (`u16::from_ne_bytes`, or a plain
//! load in eBPF), not a number in host order, and is stored the same way (`to_ne_bytes`). Ones'
//! complement addition commutes with a byte swap (RFC 1071 section 2 (B)), so the same code is right
//! on either byte order and no conversion is needed. For a number to print, use `u16::from_be`.

/// Ones' complement accumulator over octets.
///
/// 64 bits hold the carries of 2^32 pairs of words, so nothing is folded before the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    words: u64,
    /// The octets so far are odd in number: the next one completes a word.
    odd: bool,
}

impl Sum {
    /// An empty sum.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            words: 0,
            odd: false,
        }
    }

    /// Adds octets. Chunks may have any length: the sum is that of their concatenation.
    #[inline(always)]
    #[must_use]
    pub fn include(mut self, octets: &[u8]) -> Self {
        let mut rest = octets;
        if self.odd {
            let Some((&second, tail)) = rest.split_first() else {
                return self;
            };
            self = self.word([0, second]);
            self.odd = false;
            rest = tail;
        }
        // Two words at a time: what they are together is folded into what they are one by one.
        let mut fours = rest.chunks_exact(4);
        for four in &mut fours {
            if let Ok(four) = <[u8; 4]>::try_from(four) {
                self.words = self.words.wrapping_add(u64::from(u32::from_ne_bytes(four)));
            }
        }
        let mut pairs = fours.remainder().chunks_exact(2);
        for pair in &mut pairs {
            if let Ok(pair) = <[u8; 2]>::try_from(pair) {
                self = self.word(pair);
            }
        }
        if let [last] = pairs.remainder() {
            self = self.word([*last, 0]);
            self.odd = true;
        }
        self
    }

    /// The folded sum, not complemented: 0 only if every octet was 0.
    #[inline(always)]
    #[must_use]
    pub const fn fold(self) -> u16 {
        let folded = (self.words & 0xffff_ffff) + (self.words >> 32);
        let folded = (folded & 0xffff_ffff) + (folded >> 32);
        let folded = (folded & 0xffff) + (folded >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        low16(folded)
    }

    /// The checksum field: the complement of the sum.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }

    #[inline(always)]
    const fn word(mut self, octets: [u8; 2]) -> Self {
        self.words = self.words.wrapping_add(u16::from_ne_bytes(octets) as u64);
        self
    }
}

/// Starts a sum with the pseudo-header of RFC 8200 section 8.1. `upper_len` is the length in octets
/// of the upper-layer header and data.
#[inline(always)]
#[must_use]
pub fn pseudo_header(src: &[u8; 16], dst: &[u8; 16], upper_len: u32, next_header: u8) -> Sum {
    Sum::new()
        .include(src)
        .include(dst)
        .include(&upper_len.to_be_bytes())
        .include(&[0, 0, 0, next_header])
}

/// The checksum of an upper-layer packet whose checksum field is zero, in memory order.
///
/// For UDP pass the result through [`udp`].
#[must_use]
pub fn transport(src: &[u8; 16], dst: &[u8; 16], next_header: u8, payload: &[u8]) -> u16 {
    over(src, dst, next_header, payload).finish()
}

/// Whether an upper-layer packet, checksum field included, has a valid checksum.
#[must_use]
pub fn verify(src: &[u8; 16], dst: &[u8; 16], next_header: u8, payload: &[u8]) -> bool {
    over(src, dst, next_header, payload).fold() == 0xffff
}

fn over(src: &[u8; 16], dst: &[u8; 16], next_header: u8, payload: &[u8]) -> Sum {
    // The length field has 32 bits; a longer slice cannot be a packet, and its sum is never right.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    pseudo_header(src, dst, length, next_header).include(payload)
}

/// What replacing address `old` by `new` adds to a sum: `~m + m'` of RFC 1624 equation 3 over the
/// eight words. Depends on the two addresses only, so it can be kept beside them.
#[inline(always)]
#[must_use]
pub fn delta(old: &[u8; 16], new: &[u8; 16]) -> u16 {
    let old: [u16; 8] = zerocopy::transmute!(*old);
    let new: [u16; 8] = zerocopy::transmute!(*new);
    let mut sum = 0;
    for word in old {
        sum += u64::from(!word);
    }
    for word in new {
        sum += u64::from(word);
    }
    // 16 words carry less than 16 into the upper half, and the fold of that at most one more.
    let sum = (sum & 0xffff) + (sum >> 16);
    low16((sum & 0xffff) + (sum >> 16))
}

/// The checksum field after the change that `delta` stands for: `HC' = ~(~HC + ~m + m')`, RFC 1624
/// equation 3, which unlike equation 2 agrees with a full recomputation in every case.
///
/// For UDP pass the result through [`udp`].
#[inline(always)]
#[must_use]
pub const fn apply(check: u16, delta: u16) -> u16 {
    let sum = !check as u64 + delta as u64;
    !low16((sum & 0xffff) + (sum >> 16))
}

/// The UDP rule of RFC 8200 section 8.1: a computed zero is sent as 0xffff, since zero would mean
/// that there is no checksum.
#[inline(always)]
#[must_use]
pub const fn udp(check: u16) -> u16 {
    if check == 0 { 0xffff } else { check }
}

/// The low half of a sum whose carries are folded in.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "callers have folded the carries"
)]
const fn low16(folded: u64) -> u16 {
    folded as u16
}
