//! Keys of HMAC-SHA256.

use hmac::{Hmac, KeyInit as _};
use sha2::Sha256;

/// HMAC-SHA256 that has processed its key already.
pub(super) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC takes keys of any length.
    match Hmac::new_from_slice(key) {
        Ok(keyed) => keyed,
        Err(_) => unreachable!("32 octets are a key"),
    }
}
