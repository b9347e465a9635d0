//! What the data plane needs to answer Test Inits by itself.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Kcn, Midstates, Nonce};
use crate::core::Time;

/// A node key and a nonce (RFC 6275 section 5.2), as the programs use them. They are wiped when they are dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey {
    /// The states of HMAC-SHA1 with the node key.
    pub midstates: Midstates,
    /// The nonce.
    pub nonce: [u8; 8],
    /// The index that names the nonce on the wire.
    pub index: u16,
    /// Tokens are made of it before this time, and not from it on.
    pub until: Time,
}

impl NodeKey {
    /// The key, for tokens that are made before `until`.
    #[must_use]
    pub fn new(key: &Kcn, nonce: &Nonce, index: u16, until: Time) -> Self {
        Self {
            midstates: key.midstates(),
            nonce: *nonce.expose(),
            index,
            until,
        }
    }
}

impl Drop for NodeKey {
    fn drop(&mut self) {
        self.nonce.zeroize();
    }
}

/// The midstates wipe themselves.
impl ZeroizeOnDrop for NodeKey where Midstates: ZeroizeOnDrop {}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, until, .. } = self;
        write!(f, "NodeKey({index}, until {until:?}, ..)")
    }
}
