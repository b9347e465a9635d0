//! Keys, nonces and tokens, and how they are derived from each other (RFC 6275 sections 5.2.1 to 5.2.6).

use std::{fmt, net::Ipv6Addr};

use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::digest::{BLOCK, sha1, state_after};

/// Length of a cookie in octets.
pub const COOKIE: usize = 8;

/// Home or care-of init cookie (RFC 6275 section 5.2.3).
pub type Cookie = [u8; COOKIE];

/// First 96 bits of the MAC over a mobility message (RFC 6275 section 6.2.7).
pub type Authenticator = [u8; 12];

macro_rules! secret {
    ($(#[$meta:meta])* $type:ident, $size:literal) => {
        $(#[$meta])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $type([u8; $size]);

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "(..)"))
            }
        }

        impl From<[u8; $size]> for $type {
            fn from(octets: [u8; $size]) -> Self {
                Self(octets)
            }
        }
    };
}

secret!(
    /// Nonce of a correspondent, of the recommended 64 bits (RFC 6275 section 5.2.2).
    Nonce,
    8
);
secret!(
    /// Home or care-of keygen token (RFC 6275 section 5.2.3).
    KeygenToken,
    8
);
secret!(
    /// A key of HMAC-SHA1.
    Key,
    20
);

/// Node key of a correspondent: 20 random octets (RFC 6275 section 5.2.1).
#[derive(Clone)]
pub struct Kcn {
    key: Key,
    states: Midstates,
}

/// The inner and the outer state of HMAC-SHA1 that have taken in a key. From them, the MAC of a short message is two
/// compressions (RFC 2104 section 4). They are as secret as the key.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Midstates {
    /// The state after the key, combined with the inner pad.
    pub inner: [u32; 5],
    /// The state after the key, combined with the outer pad.
    pub outer: [u32; 5],
}

/// Binding management key (RFC 6275 section 5.2.5).
#[derive(Clone)]
pub struct Kbm(Midstates);

impl Kcn {
    /// The octets, to be kept where root alone reads them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 20] {
        &self.key.0
    }

    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Key([0; 20]);
        rng.fill_bytes(&mut key.0);
        key.into()
    }

    /// The states from which the programs of the data plane make tokens.
    #[must_use]
    pub fn midstates(&self) -> Midstates {
        self.states.clone()
    }

    fn token(&self, address: Ipv6Addr, nonce: &Nonce, kind: u8, client: Ipv6Addr) -> KeygenToken {
        let parts: [&[u8]; 4] = [&address.octets(), &nonce.0, &[kind], &client.octets()];
        let mut mac = self.states.mac(parts);
        let token = KeygenToken(first(&mac));
        mac.zeroize();
        token
    }
}

impl From<[u8; 20]> for Kcn {
    fn from(octets: [u8; 20]) -> Self {
        Key(octets).into()
    }
}

impl From<Key> for Kcn {
    fn from(key: Key) -> Self {
        let states = Midstates::new(&key);
        Self { key, states }
    }
}

impl From<[u8; 20]> for Kbm {
    fn from(octets: [u8; 20]) -> Self {
        Self(Midstates::new(&Key(octets)))
    }
}

impl Midstates {
    /// Takes in a key. HMAC fills one that is shorter than a block up with zeros (RFC 2104 section 2).
    fn new(key: &Key) -> Self {
        let state = |pad: u8| {
            let mut padded = [pad; BLOCK];
            for (octet, key) in padded.iter_mut().zip(&key.0) {
                *octet ^= *key;
            }
            let state = state_after(&padded);
            padded[..key.0.len()].zeroize();
            state
        };
        Self {
            inner: state(0x36),
            outer: state(0x5c),
        }
    }

    /// The MAC of these parts, one after the other.
    #[inline]
    fn mac<const N: usize>(&self, parts: [&[u8]; N]) -> [u8; 20] {
        let mut inner = sha1(Some(self.inner), parts);
        let mac = sha1(Some(self.outer), [&inner]);
        inner.zeroize();
        mac
    }
}

/// The states wipe themselves.
impl ZeroizeOnDrop for Kcn where Midstates: ZeroizeOnDrop {}
impl ZeroizeOnDrop for Kbm where Midstates: ZeroizeOnDrop {}

impl fmt::Debug for Kcn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kcn(..)")
    }
}

impl fmt::Debug for Midstates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Midstates(..)")
    }
}

impl fmt::Debug for Kbm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kbm(..)")
    }
}

impl Nonce {
    /// The octets, to be kept where root alone reads them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 8] {
        &self.0
    }

    /// Draws a nonce.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut nonce = Self([0; 8]);
        rng.fill_bytes(&mut nonce.0);
        nonce
    }
}

impl KeygenToken {
    /// The octets, to be put into a Home or Care-of Test.
    #[must_use]
    pub const fn expose(&self) -> [u8; 8] {
        self.0
    }
}

/// First (64, HMAC_SHA1 (Kcn, (home address | nonce | 0x00 | client))). This is RFC 6275 section 5.2.5 with the
/// client's address added at the end: one Kcn serves many clients, and a token for one of them must not be valid for
/// another.
#[must_use]
pub fn home_keygen_token(
    key: &Kcn,
    nonce: &Nonce,
    home: Ipv6Addr,
    client: Ipv6Addr,
) -> KeygenToken {
    key.token(home, nonce, 0, client)
}

/// First (64, HMAC_SHA1 (Kcn, (care-of address | nonce | 0x01 | client))), with the client's address for the same
/// reason as in [`home_keygen_token`].
#[must_use]
pub fn care_of_keygen_token(
    key: &Kcn,
    nonce: &Nonce,
    care_of: Ipv6Addr,
    client: Ipv6Addr,
) -> KeygenToken {
    key.token(care_of, nonce, 1, client)
}

impl Kbm {
    /// The Kbm that makes a binding: SHA1 (home keygen token | care-of keygen token).
    #[must_use]
    pub fn binding(home: &KeygenToken, care_of: &KeygenToken) -> Self {
        sha1(None, [&home.0, &care_of.0]).into()
    }

    /// The Kbm that deletes a binding: SHA1 (home keygen token).
    #[must_use]
    pub fn deletion(home: &KeygenToken) -> Self {
        sha1(None, [&home.0]).into()
    }

    /// First (96, HMAC_SHA1 (Kbm, (care-of address | correspondent | MH Data))), RFC 6275 section
    /// 6.2.7. `care_of` is the home address when the message deletes a binding.
    #[must_use]
    pub fn authenticator(
        &self,
        care_of: Ipv6Addr,
        correspondent: Ipv6Addr,
        data: &[&[u8]; 3],
    ) -> Authenticator {
        let [before, checksum, after] = data;
        first(&self.0.mac([
            &care_of.octets(),
            &correspondent.octets(),
            before,
            checksum,
            after,
        ]))
    }

    /// Whether `received` is the authenticator of that message. The comparison takes constant time.
    #[must_use]
    pub fn verify(
        &self,
        care_of: Ipv6Addr,
        correspondent: Ipv6Addr,
        data: &[&[u8]; 3],
        received: &Authenticator,
    ) -> bool {
        let expected = self.authenticator(care_of, correspondent, data);
        expected.ct_eq(received).into()
    }
}

/// First (64, SHA1 (parts)) as a number, to know by it what is too long to be kept.
#[must_use]
pub fn digest64<const N: usize>(parts: [&[u8]; N]) -> u64 {
    u64::from_be_bytes(first(&sha1(None, parts)))
}

/// The first N octets, which RFC 6275 writes as First (8 * N, octets).
fn first<const N: usize>(octets: &[u8; 20]) -> [u8; N] {
    const { assert!(N <= 20) };
    std::array::from_fn(|index| octets[index])
}
