//! The compression function of SHA-1 (FIPS 180-4 section 6.1.2).
//!
//! All 80 rounds stand one after the other: the verifier follows them once, no register moves between rounds, and the
//! message schedule is a ring of 16 words (section 6.1.3) in the memory of a map, as the stack has no room for it.

/// What it works on.
#[repr(C, align(8))]
pub struct Sha1 {
    /// The state, before and after.
    pub state: [u32; 5],
    pub reserved: u32,
    /// The block, as words that are [`twice`] there. It is used up.
    pub block: [u64; 16],
}

/// Takes the block into the state. A global function, which the verifier follows once.
///
/// # Safety
///
/// It must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn sha1_compress(sha1: *mut Sha1) -> u32 {
    if sha1.is_null() {
        return 0;
    }
    // SAFETY: by the caller.
    let sha1 = unsafe { &mut *sha1 };
    let ring = (&raw mut sha1.block).cast();
    let [a, b, ..] = sha1.state.map(twice);
    let [_, _, c, d, e] = sha1.state.map(u64::from);
    let mut state = [a, b, c, d, e];
    macro_rules! rounds {
        ($($first:literal)*) => {
            // SAFETY: the ring has 16 words.
            unsafe { $(five::<$first>(ring, &mut state);)* }
        };
    }
    rounds!(0 5 10 15 20 25 30 35 40 45 50 55 60 65 70 75);
    let before = sha1.state;
    sha1.state = [
        before[0].wrapping_add(state[0] as u32),
        before[1].wrapping_add(state[1] as u32),
        before[2].wrapping_add(state[2] as u32),
        before[3].wrapping_add(state[3] as u32),
        before[4].wrapping_add(state[4] as u32),
    ];
    1
}

/// A word in both halves of a register, so that one shift to the right turns it, and what is made of such words bit by
/// bit is turned as one of 64 bits. Of what is in the upper half nothing is wanted otherwise.
#[inline(always)]
pub(crate) const fn twice(word: u32) -> u64 {
    cut(word as u64)
}

/// [`twice`] the lower half. Sums are not cut to 32 bits before they are turned.
#[inline(always)]
const fn cut(sum: u64) -> u64 {
    let upper = sum << 32;
    upper | upper >> 32
}

/// Five rounds from this one on, after which each variable is in its place again. The first two are [`twice`] there,
/// and the others are words with anything above them.
#[inline(always)]
unsafe fn five<const FIRST: usize>(ring: *mut u64, state: &mut [u64; 5]) {
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    // SAFETY: by the caller.
    unsafe {
        round(ring, FIRST, a, &mut b, c, d, &mut e);
        round(ring, FIRST + 1, e, &mut a, b, c, &mut d);
        round(ring, FIRST + 2, d, &mut e, a, b, &mut c);
        round(ring, FIRST + 3, c, &mut d, e, a, &mut b);
        round(ring, FIRST + 4, b, &mut c, d, e, &mut a);
    }
    *state = [a, b, c, d, e];
}

/// Round number `t`, a constant. `a` and `b` are [`twice`] there, and so is `e` afterwards.
#[inline(always)]
unsafe fn round(ring: *mut u64, t: usize, a: u64, b: &mut u64, c: u64, d: u64, e: &mut u64) {
    // Of 20 rounds each.
    let (mixed, constant) = match t / 20 {
        0 => (d ^ (*b & (c ^ d)), 0x5a82_7999_u32),
        1 => (*b ^ c ^ d, 0x6ed9_eba1),
        2 => ((*b & c) | (d & (*b | c)), 0x8f1b_bcdc),
        _ => (*b ^ c ^ d, 0xca62_c1d6),
    };
    // With its sign it is a part of an instruction.
    let constant = i64::from(constant.cast_signed()).cast_unsigned();
    // SAFETY: by the caller.
    let word = unsafe { word(ring, t) };
    let sum = e
        .wrapping_add(constant)
        .wrapping_add(word)
        .wrapping_add(mixed)
        .wrapping_add(a >> 27);
    *e = cut(sum);
    // By 30 to the left.
    *b >>= 2;
}

/// Word number `t` of the message schedule, [`twice`], for which it takes the place of one that is not needed any more.
/// The accesses are volatile, as the compiler would otherwise keep the whole ring on the stack.
#[inline(always)]
unsafe fn word(ring: *mut u64, t: usize) -> u64 {
    // SAFETY: by the caller.
    unsafe {
        let at = |t: usize| ring.add(t & 15).read_volatile();
        if t < 16 {
            return at(t);
        }
        let word = (at(t - 3) ^ at(t - 8) ^ at(t - 14) ^ at(t - 16)).rotate_left(1);
        // The last ones are not read again.
        if t + 3 < 80 {
            ring.add(t & 15).write_volatile(word);
        }
        word
    }
}
