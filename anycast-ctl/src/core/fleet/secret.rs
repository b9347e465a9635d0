//! The secret that all gateways of a fleet have, and what is derived from it.
//!
//! HKDF-SHA256 (RFC 5869) with a salt of this project; each use has an `info` of its own, a label and for keys of
//! return routability the number of a period (64 bits, network byte order).

use std::fmt;

use hkdf::Hkdf;
use hmac::Hmac;
use sha2::Sha256;
use zeroize::Zeroize as _;

use super::key::keyed;
use crate::core::rr::{Kcn, Nonce};

/// Fewest octets of a secret, which are as many as SHA-256 has.
const LEAST: usize = 32;
const SALT: &[u8] = b"anycast fleet 1";

/// Why a secret cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It can be guessed.
    #[error("it has {0} octets, and needs at least {LEAST}")]
    TooShort(usize),
    /// It is a file that was never filled.
    #[error("all of its octets are the same")]
    Uniform,
}

/// A secret of a fleet.
#[derive(Clone)]
pub struct Secret(Hkdf<Sha256>);

impl Secret {
    /// Takes over the octets of a secret: 32 or more.
    ///
    /// # Errors
    ///
    /// [`SecretError`], when they are too few or no secret.
    pub fn new(octets: &[u8]) -> Result<Self, SecretError> {
        if octets.len() < LEAST {
            return Err(SecretError::TooShort(octets.len()));
        }
        if octets.iter().all(|octet| octet == &octets[0]) {
            return Err(SecretError::Uniform);
        }
        Ok(Self(Hkdf::new(Some(SALT), octets)))
    }

    /// The node key of a period (RFC 6275 section 5.2.1).
    pub(in crate::core) fn kcn(&self, period: u64) -> Kcn {
        let mut octets: [u8; 20] = self.derive(&[b"kcn", &period.to_be_bytes()]);
        let key = octets.into();
        octets.zeroize();
        key
    }

    /// The nonce of a period (RFC 6275 section 5.2.2).
    pub(in crate::core) fn nonce(&self, period: u64) -> Nonce {
        let mut octets: [u8; 8] = self.derive(&[b"nonce", &period.to_be_bytes()]);
        let nonce = octets.into();
        octets.zeroize();
        nonce
    }

    /// The key of messages that gateways of the fleet send each other.
    pub(super) fn bus(&self) -> Hmac<Sha256> {
        let mut octets: [u8; 32] = self.derive(&[b"bus"]);
        let key = keyed(&octets);
        octets.zeroize();
        key
    }

    /// What people compare to see that two gateways have the same secret. It tells nothing of it.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 4] {
        self.derive(&[b"fingerprint"])
    }

    fn derive<const N: usize>(&self, info: &[&[u8]]) -> [u8; N] {
        const { assert!(N <= 32) };
        let mut derived = [0; N];
        // It fails for more than 255 times 32 octets alone.
        if self.0.expand_multi_info(info, &mut derived).is_err() {
            unreachable!("{N} octets are not too many");
        }
        derived
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        assert_eq!(
            Secret::new(&[7; 31]).unwrap_err(),
            SecretError::TooShort(31)
        );
        assert_eq!(Secret::new(&[7; 64]).unwrap_err(), SecretError::Uniform);
    }

    /// By another implementation: `openssl kdf -keylen N -kdfopt digest:SHA256 -kdfopt hexkey:KEY -kdfopt
    /// hexsalt:SALT -kdfopt hexinfo:INFO HKDF`.
    #[test]
    fn keys_are_those_of_another_implementation() {
        let octets: [u8; 32] = std::array::from_fn(|index| index.to_le_bytes()[0]);
        let secret = Secret::new(&octets).unwrap();
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let kcn: String = hex(secret.kcn(0x0102_0304_0506_0708).expose());
        let nonce: String = hex(secret.nonce(0x0102_0304_0506_0708).expose());
        let fingerprint: String = hex(&secret.fingerprint());
        assert_eq!(kcn, "faaeaa45fa1197e065c023b27a2f070490cec56f");
        assert_eq!(nonce, "282d6fd0e5ff3569");
        assert_eq!(fingerprint, "9b436df9");
    }
}
