//! Home and care-of keygen tokens (RFC 6275 section 5.2.5, with the client's address at the end).

use anycast_common::abi::maps::NodeKey;

use crate::{
    hints::key_age,
    limit::now,
    maps::NODE_KEYS,
    packet::words,
    reply::Answer,
    sha1::{Sha1, sha1_compress, twice},
};

/// The end of a message in the last block (FIPS 180-4 section 5.1.1): one bit, and the length behind zeros.
const END: u32 = 1 << 31;
/// Octets of the block that the key fills.
const KEY: u32 = 64;
/// Octets of an address, a nonce, the octet that tells the kinds of tokens apart, and an address.
const MESSAGE: u32 = 16 + 8 + 1 + 16;
const DIGEST: u32 = 20;
/// The clock is behind by so many nanoseconds at most: a tick where a second has the fewest.
const TICK: u64 = 10_000_000;

/// Home or care-of token, by the octet in the message.
pub(crate) mod kind {
    pub(crate) const HOME: u32 = 0;
    pub(crate) const CARE_OF: u32 = 1;
}

/// Takes the node key that is in use to the answer: the states of the key, the nonce and its index. False: there is
/// none that is fresh.
#[inline(always)]
pub(crate) fn take_key(answer: &mut Answer) -> bool {
    let age = key_age();
    let Some(key) = NODE_KEYS.get_ptr(NodeKey::entry(age)) else {
        return false;
    };
    // SAFETY: entries of a map are aligned and live until the program ends.
    answer.key = unsafe { *key };
    // The entry is written again after the next one only.
    key_age() == age && now() + TICK < answer.key.until
}

/// First (64, HMAC_SHA1 (Kcn, (address | nonce | kind | client))), of the addresses in memory order, as the two words
/// of the digest. [`take_key`] comes before.
#[inline(always)]
pub(crate) fn make(
    answer: &mut Answer,
    address: &[u8; 16],
    client: &[u8; 16],
    kind: u32,
) -> [u32; 2] {
    let [address, client] = [words(address), words(client)];
    let [c0, c1, c2, c3] = client.map(u32::from_be);
    let [a0, a1, a2, a3] = address.map(u32::from_be);
    let [n0, n1] = answer.key.nonce;
    // The odd octet before the client's address moves all that follows by one.
    answer.sha1 = Sha1 {
        state: answer.key.inner,
        reserved: 0,
        block: [
            a0,
            a1,
            a2,
            a3,
            n0,
            n1,
            kind << 24 | c0 >> 8,
            c0 << 24 | c1 >> 8,
            c1 << 24 | c2 >> 8,
            c2 << 24 | c3 >> 8,
            c3 << 24 | END >> 8,
            0,
            0,
            0,
            0,
            (KEY + MESSAGE) * 8,
        ]
        .map(twice),
    };
    // SAFETY: it is there.
    unsafe { sha1_compress(&raw mut answer.sha1) };
    let [d0, d1, d2, d3, d4] = answer.sha1.state;
    answer.sha1 = Sha1 {
        state: answer.key.outer,
        reserved: 0,
        block: [
            d0,
            d1,
            d2,
            d3,
            d4,
            END,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            (KEY + DIGEST) * 8,
        ]
        .map(twice),
    };
    // SAFETY: as above.
    unsafe { sha1_compress(&raw mut answer.sha1) };
    let [first, second, ..] = answer.sha1.state;
    [first, second]
}
