//! A nonce with its node key, and the tokens that are made of them (RFC 6275 section 5.2.5).

use std::{net::Ipv6Addr, time::Duration};

use crate::core::{
    Time,
    rr::{self, Kcn, KeygenToken, MAX_NONCE_LIFETIME, MAX_TOKEN_LIFETIME, NodeKey, Nonce},
};

/// How long a nonce is used for new tokens: the difference between MAX_NONCE_LIFETIME and MAX_TOKEN_LIFETIME, so that
/// every token is valid for the latter time.
pub(super) const FRESH: Duration = MAX_NONCE_LIFETIME.saturating_sub(MAX_TOKEN_LIFETIME);

/// A nonce and the node key that is used with it.
#[derive(Debug)]
pub(super) struct Generation {
    index: u16,
    key: Kcn,
    nonce: Nonce,
    first_used: Time,
}

impl Generation {
    pub(super) const fn new(index: u16, key: Kcn, nonce: Nonce, first_used: Time) -> Self {
        Self {
            index,
            key,
            nonce,
            first_used,
        }
    }

    pub(super) const fn key(&self) -> &Kcn {
        &self.key
    }

    pub(super) const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    pub(super) const fn first_used(&self) -> Time {
        self.first_used
    }

    /// New tokens are made of it before this time.
    pub(super) fn until(&self) -> Time {
        self.first_used + FRESH
    }

    /// As the programs of the data plane use it.
    pub(super) fn node_key(&self) -> NodeKey {
        NodeKey::new(&self.key, &self.nonce, self.index, self.until())
    }

    pub(super) fn is_acceptable(&self, now: Time) -> bool {
        now < self.first_used + MAX_NONCE_LIFETIME
    }

    /// The index that names it on the wire.
    pub(super) const fn index(&self) -> u16 {
        self.index
    }

    /// The home keygen token of `home`, for this client.
    pub(super) fn home(&self, home: Ipv6Addr, client: Ipv6Addr) -> KeygenToken {
        rr::home_keygen_token(&self.key, &self.nonce, home, client)
    }

    /// The care-of keygen token of `care_of`, for this client.
    pub(super) fn care_of(&self, care_of: Ipv6Addr, client: Ipv6Addr) -> KeygenToken {
        rr::care_of_keygen_token(&self.key, &self.nonce, care_of, client)
    }
}
