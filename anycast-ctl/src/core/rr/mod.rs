//! Return routability: the formulae and constants of RFC 6275, once, for both ends.
//!
//! The names are the RFC's, with this project's meaning: "home address" is the anycast address B,
//! "care-of address" is the member's unicast address C, "correspondent" is the client A.

mod keys;
mod seal;

#[cfg(test)]
pub(in crate::core) mod tests;

use std::time::Duration;

pub use keys::{
    Authenticator, COOKIE, Cookie, Kbm, Kcn, KeygenToken, Nonce, care_of_keygen_token, digest64,
    home_keygen_token,
};
pub use seal::{build, seal, verify};

/// The generator that cookies, nonces, keys and delays are drawn from. Seeded by the operating
/// system in production and by a number in tests; wiped when it is dropped.
pub type Generator = chacha20::ChaCha20Rng;

/// How long a binding lives: a Lifetime of 1 with E set (draft anycast-rr).
pub const BINDING_LIFETIME: Duration = Duration::from_secs(16);
/// The Lifetime that says so on the wire.
pub const LIFETIME: u16 = 1;
/// A token is acceptable for at least this long after it was handed out (RFC 6275 section 12).
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(210);
/// A nonce is acceptable for at most this long after its first use (RFC 6275 section 12).
pub const MAX_NONCE_LIFETIME: Duration = Duration::from_secs(240);
/// First retransmission of any message that waits for an answer (RFC 6275 section 12).
pub const INITIAL_BINDACK_TIMEOUT: Duration = Duration::from_secs(1);
/// Retransmissions before the client is left alone (RFC 6275 section 12).
pub const MAX_RO_FAILURE: u32 = 3;
/// Messages of one type to one client within a second (RFC 6275 section 12).
pub const MAX_UPDATE_RATE: u32 = 3;

/// Whether `sequence` is greater than `last` modulo 2^16: not in the range of `last` and the 32768
/// values before it (RFC 6275 section 9.5.1).
#[must_use]
pub const fn is_after(sequence: u16, last: u16) -> bool {
    let ahead = sequence.wrapping_sub(last);
    0 < ahead && ahead < 0x8000
}
