//! What the programs of a correspondent answer Test Inits with.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

layout!(NodeKey: 64);

/// A node key and a nonce (RFC 6275 section 5.2). Map `NODE_KEYS`. Whoever may read the map can make tokens, as whoever
/// can read the memory of the controller.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct NodeKey {
    /// The state of SHA-1 after the key, combined with the inner pad of HMAC (RFC 2104 section 4).
    pub inner: [u32; 5],
    /// The state after the key, combined with the outer pad.
    pub outer: [u32; 5],
    /// The nonce as the two words that SHA-1 sees.
    pub nonce: [u32; 2],
    /// Tokens are made of it before this time, and not from it on; 0 when there is no key.
    pub until: u64,
    /// The index of the nonce, network order.
    pub index: [u8; 2],
    /// Zero.
    pub reserved: [u8; 6],
}

impl NodeKey {
    /// Number of entries of the map: the one in use, and the one by which it is replaced.
    pub const ENTRIES: u32 = 2;
    /// The section of the object with one `u64`, which the controller counts up after it has written an entry. The
    /// entry in use is the one with the last bit of this number.
    pub const AGE_SECTION: &str = ".data.key_age";

    /// The entry in use at this age.
    #[inline(always)]
    #[must_use]
    pub const fn entry(age: u64) -> u32 {
        (age % 2) as u32
    }
}
