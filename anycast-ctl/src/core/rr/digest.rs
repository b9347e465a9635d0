//! SHA-1 (FIPS 180-4 section 6.1) of the few octets that a message of return routability has, block by block.
//!
//! The `Sha1` and `Hmac` that take any number of parts at any time keep a buffer for what is to come, copy it with each
//! clone and wipe all of it octet by octet. Of the twelve blocks of a Binding Update that was half of the time. Here
//! the parts are known at once, and there is one block, which is wiped by words.

use sha1::block_api::compress;
use zerocopy::transmute_mut;
use zeroize::{Zeroize as _, Zeroizing};

/// Block length in octets.
pub(super) const BLOCK: usize = 64;
/// The length of a message in bits stands at the end of its last block.
const LENGTH: usize = BLOCK - size_of::<u64>();
/// The state with which SHA-1 begins (FIPS 180-4 section 5.3.1).
const INITIAL: State = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// What SHA-1 keeps from block to block.
pub(super) type State = [u32; 5];

/// The state after one block.
pub(super) fn state_after(block: &[u8; BLOCK]) -> State {
    let mut state = INITIAL;
    compress(&mut state, std::slice::from_ref(block));
    state
}

/// The digest of these parts, one after the other. With a state that has taken in a block, they come after that.
#[inline]
pub(super) fn sha1<const N: usize>(after: Option<State>, parts: [&[u8]; N]) -> [u8; 20] {
    let mut words = Zeroizing::new([0_u64; BLOCK / size_of::<u64>()]);
    let block: &mut [u8; BLOCK] = transmute_mut!(&mut *words);
    let mut state = after.unwrap_or(INITIAL);
    let (mut filled, mut length) = (0, after.map_or(0, |_| BLOCK));
    for mut rest in parts {
        length += rest.len();
        while let Some((now, later)) = rest.split_at_checked(BLOCK - filled) {
            block[filled..].copy_from_slice(now);
            compress(&mut state, std::slice::from_ref(block));
            (rest, filled) = (later, 0);
        }
        block[filled..filled + rest.len()].copy_from_slice(rest);
        filled += rest.len();
    }
    block[filled] = 0x80;
    block[filled + 1..].fill(0);
    if filled >= LENGTH {
        compress(&mut state, std::slice::from_ref(block));
        block.fill(0);
    }
    let bits = (length as u64) * 8;
    block[LENGTH..].copy_from_slice(&bits.to_be_bytes());
    compress(&mut state, std::slice::from_ref(block));
    let mut digest = [0; 20];
    for (octets, word) in digest.chunks_exact_mut(4).zip(state) {
        octets.copy_from_slice(&word.to_be_bytes());
    }
    state.zeroize();
    digest
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use proptest::prelude::*;
    use sha1::{Digest as _, Sha1};

    use super::*;

    proptest! {
        #[test]
        fn it_is_sha_1_however_it_is_cut(octets in prop::collection::vec(any::<u8>(), 0..200), cuts: [prop::sample::Index; 2]) {
            let mut cuts = cuts.map(|cut| cut.index(octets.len() + 1));
            cuts.sort_unstable();
            let parts = [&octets[..cuts[0]], &octets[cuts[0]..cuts[1]], &octets[cuts[1]..]];
            let expected: [u8; 20] = Sha1::digest(&octets).into();
            prop_assert_eq!(sha1(None, parts), expected);
            if let Some((first, _)) = octets.split_first_chunk() {
                let after = octets.get(BLOCK..).unwrap_or_default();
                prop_assert_eq!(sha1(Some(state_after(first)), [after]), expected);
            }
        }

        #[test]
        fn with_the_states_of_a_key_it_is_hmac(key: [u8; 20], octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut pads = [[0x36; BLOCK], [0x5c; BLOCK]];
            for pad in &mut pads {
                for (octet, key) in pad.iter_mut().zip(key) {
                    *octet ^= key;
                }
            }
            let [inner, outer] = pads.map(|pad| Some(state_after(&pad)));
            let mut hmac = Hmac::<Sha1>::new_from_slice(&key).unwrap();
            hmac.update(&octets);
            let expected: [u8; 20] = hmac.finalize().into_bytes().into();
            prop_assert_eq!(sha1(outer, [&sha1(inner, [&octets])]), expected);
        }
    }
}
