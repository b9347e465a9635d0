//! Return routability: the formulae and constants of RFC 6275 that both ends use.
//!
//! The names are those of the RFC, with this project's meaning: the "home address" is the anycast address B, the
//! "care-of address" is the member's unicast address C, and the "correspondent" is the client A.

mod digest;
mod keys;
mod node_key;
mod seal;

#[cfg(test)]
pub(in crate::core) mod tests;

use std::time::Duration;

pub use keys::{
    Authenticator, COOKIE, Cookie, Kbm, Kcn, KeygenToken, Midstates, Nonce, care_of_keygen_token,
    digest64, home_keygen_token,
};
pub use node_key::NodeKey;
pub use seal::{build, build_sealed, seal, verify, verify_parsed};

/// The random number generator for cookies, nonces, keys and delays. In production the operating system seeds it, in
/// tests a number does. It is wiped when it is dropped.
pub type Generator = chacha20::ChaCha20Rng;

/// How long a binding lives: a Lifetime of 1 with E set (draft anycast-rr).
pub const BINDING_LIFETIME: Duration = Duration::from_secs(16);
/// The Lifetime field that stands for this time on the wire.
pub const LIFETIME: u16 = 1;
/// A token is valid for at least this long after it was handed out (RFC 6275 section 12).
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(210);
/// A nonce is valid for at most this long after its first use (RFC 6275 section 12).
pub const MAX_NONCE_LIFETIME: Duration = Duration::from_secs(240);
/// Time before the first retransmission of a message that waits for an answer (RFC 6275 section 12).
pub const INITIAL_BINDACK_TIMEOUT: Duration = Duration::from_secs(1);
/// Number of retransmissions before the member leaves the client alone (RFC 6275 section 12).
pub const MAX_RO_FAILURE: u32 = 3;
/// Largest number of messages of one type to one client within a second (RFC 6275 section 12).
pub const MAX_UPDATE_RATE: u32 = 3;

/// Whether `sequence` is greater than `last` modulo 2^16: not in the range of `last` and the 32768
/// values before it (RFC 6275 section 9.5.1).
#[must_use]
pub const fn is_after(sequence: u16, last: u16) -> bool {
    let ahead = sequence.wrapping_sub(last);
    0 < ahead && ahead < 0x8000
}
