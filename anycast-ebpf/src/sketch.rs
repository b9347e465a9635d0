//! Count-min sketches of two rows: token buckets of many keys in a fixed array, and the clients that recently sent a
//! packet.
//!
//! A key has a bucket in each row, and the fuller one counts. An LRU map would forget a bucket as soon as enough other
//! keys are used, and an attacker can use as many as he likes. Here nothing is forgotten and nothing grows. A key that
//! shares a bucket with a flooded one in the first row most likely has a bucket of its own in the second. The hash has
//! a secret key, so that nobody can choose with whom to share.

use anycast_common::abi::maps::{BUCKETS_ROW, Rate, SENT_ROW};

use crate::{
    limit::{holds, now, spend},
    maps::{BUCKETS, HASH_KEY, SENT},
};

/// The bucket of a key, in both rows.
#[derive(Clone, Copy)]
pub(crate) struct Bucket {
    rows: [*mut u64; 2],
}

impl Bucket {
    /// The bucket of these 128 bits. `tag` separates keys of different kinds.
    #[inline(always)]
    pub(crate) fn of(tag: u64, key: [u64; 2]) -> Option<Self> {
        let [left, right] = places(hash(tag, key[0], key[1]), BUCKETS_ROW);
        Some(Self {
            rows: [BUCKETS.get_ptr_mut(left)?, BUCKETS.get_ptr_mut(right)?],
        })
    }

    /// Whether a token is left. Where there is no limit there is one, whatever others that share the bucket have taken.
    #[inline(always)]
    pub(crate) fn holds(self, now: u64, rate: Rate) -> bool {
        rate.every == 0 || holds(self.full(), now, rate)
    }

    /// Takes a token. A row in which others have taken more stays as it is.
    #[inline(always)]
    pub(crate) fn spend(self, now: u64, rate: Rate) {
        let mut full = self.full();
        spend(&mut full, now, rate);
        for row in self.rows {
            // SAFETY: entries of an array are aligned and live as long as the map.
            unsafe { *row = (*row).max(full) };
        }
    }

    #[inline(always)]
    fn full(self) -> u64 {
        let [left, right] = self.rows;
        // SAFETY: as above.
        unsafe { (*left).min(*right) }
    }
}

/// The two words of an address.
#[inline(always)]
pub(crate) fn words(address: &[u8; 16]) -> [u64; 2] {
    // SAFETY: 16 plain octets either way.
    unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(*address) }
}

/// The unit of time of [`SENT`], a little more than a second.
const TICK: u32 = 30;
/// For this number of units a client counts as one that recently sent a packet. The last retransmission of a Test Init
/// or Binding Update comes 7 seconds after the first.
const LATELY: u32 = 15;
const SENT_TAG: u64 = 0;

/// Notes that a source sent a packet, if it is a client. Whether it is, is looked up once in a unit of time.
#[inline(always)]
pub(crate) fn note_sent(key: [u64; 2], is_client: impl FnOnce() -> bool) {
    let tick = tick();
    let [left, right] = places(hash(SENT_TAG, key[0], key[1]), SENT_ROW);
    let (Some(left), Some(right)) = (SENT.get_ptr_mut(left), SENT.get_ptr_mut(right)) else {
        return;
    };
    // SAFETY: as above.
    unsafe {
        if (*left != tick || *right != tick) && is_client() {
            *left = tick;
            *right = tick;
        }
    }
}

/// Whether a client recently sent a packet. This is rarely true of one that did not, and never false of one that did.
#[inline(always)]
pub(crate) fn sent_lately(key: [u64; 2]) -> bool {
    let tick = tick();
    let [left, right] = places(hash(SENT_TAG, key[0], key[1]), SENT_ROW);
    let lately = |index| {
        let sent = SENT.get(index).copied().unwrap_or(0);
        sent != 0 && tick.wrapping_sub(sent) <= LATELY
    };
    lately(left) && lately(right)
}

/// The present unit of time. It is never 0, which stands for never.
#[inline(always)]
pub(crate) fn tick() -> u32 {
    (now() >> TICK) as u32 + 1
}

/// The indices of a key, one in each row.
#[inline(always)]
fn places(hash: u64, row: u32) -> [u32; 2] {
    [
        hash as u32 & (row - 1),
        row + ((hash >> 32) as u32 & (row - 1)),
    ]
}

#[inline(always)]
fn hash(tag: u64, high: u64, low: u64) -> u64 {
    sip_hash(tag, high, low)
}

/// SipHash-1-3 of three words. It is a global function, so that the verifier follows it only once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sip_hash(tag: u64, high: u64, low: u64) -> u64 {
    let [left, right] = HASH_KEY.load();
    let mut state = [
        left ^ 0x736f_6d65_7073_6575,
        right ^ 0x646f_7261_6e64_6f6d,
        left ^ 0x6c79_6765_6e65_7261,
        right ^ 0x7465_6462_7974_6573,
    ];
    for word in [high, low, tag] {
        state[3] ^= word;
        round(&mut state);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

#[inline(always)]
fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}
