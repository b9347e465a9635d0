//! What is around each message of a gateway. A Binding Update has an authenticator of its own besides. It shows that a
//! member asked for the binding, and not that it did so now: who has just started knows no sequence numbers.
//!
//! ```text
//! version (8 bits) | kind (8) | fingerprint of the secret (32) | sender (64) | recipient (64)
//! | sequence number (64) | time of day in milliseconds (64) | body | First(128, HMAC_SHA256(key, all before))
//! ```

use std::time::Duration;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{octets::Reader, secret::Secret};

/// Version of all messages. A gateway takes no others.
pub(super) const VERSION: u8 = 1;
/// Octets before the body, and those of the authenticator.
pub(super) const HEADER: usize = 1 + 1 + 4 + 4 * 8;
pub(super) const TAG: usize = 16;

/// A gateway's run. Each start draws another number.
pub type Id = u64;

/// The recipient of a message to all.
pub(super) const ALL: Id = 0;

/// What a message is, by its second octet.
pub(super) mod kind {
    /// A Binding Update, as it came, which a gateway accepted.
    pub(in crate::core::fleet) const UPDATE: u8 = 1;
    /// Who lives, and what its clock says.
    pub(in crate::core::fleet) const HEARTBEAT: u8 = 2;
    /// Bound flows, by their triples.
    pub(in crate::core::fleet) const PINS: u8 = 3;
    /// What has ended before its time.
    pub(in crate::core::fleet) const ENDS: u8 = 4;
    /// A wish for a chunk of a snapshot.
    pub(in crate::core::fleet) const WISH: u8 = 5;
    /// A chunk of a snapshot.
    pub(in crate::core::fleet) const CHUNK: u8 = 6;
}

/// A message whose authenticator is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened<'a> {
    pub(super) kind: u8,
    pub(super) sender: Id,
    /// Whom it is for, or [`ALL`].
    pub(super) to: Id,
    pub(super) sequence: u64,
    /// The sender's time of day.
    pub(super) unix: Duration,
    pub(super) body: &'a [u8],
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unopened<'a> {
    /// It is none of ours.
    Malformed,
    /// The sender has another secret, or somebody says so.
    OtherSecret {
        fingerprint: [u8; 4],
        kind: u8,
        body: &'a [u8],
    },
    /// Somebody without the secret made or changed it.
    Forged,
}

/// The keys of a fleet's messages: that which they are made with, and those that are accepted.
#[derive(Clone)]
pub(super) struct Keys(Vec<([u8; 4], Hmac<Sha256>)>);

impl Keys {
    /// Those of the secrets, of which the first is used.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let keys = secrets
            .into_iter()
            .map(|secret| (secret.fingerprint(), secret.bus()));
        Self(keys.collect())
    }

    pub(super) fn seal(&self, message: &Opened<'_>) -> Vec<u8> {
        let (fingerprint, key) = &self.0[0];
        let mut octets = Vec::with_capacity(HEADER + message.body.len() + TAG);
        octets.extend([VERSION, message.kind]);
        octets.extend(fingerprint);
        octets.extend(message.sender.to_be_bytes());
        octets.extend(message.to.to_be_bytes());
        octets.extend(message.sequence.to_be_bytes());
        octets.extend(milliseconds(message.unix).to_be_bytes());
        octets.extend(message.body);
        let tag = key.clone().chain_update(&octets).finalize().into_bytes();
        octets.extend(&tag[..TAG]);
        octets
    }

    pub(super) fn open<'a>(&self, octets: &'a [u8]) -> Result<Opened<'a>, Unopened<'a>> {
        let parts = octets.split_last_chunk::<TAG>();
        let (signed, tag) = parts.ok_or(Unopened::Malformed)?;
        let (fingerprint, message) = parse(signed).ok_or(Unopened::Malformed)?;
        let mut known = self.0.iter().filter(|(known, _)| *known == fingerprint);
        let Some((_, key)) = known.next() else {
            let Opened { kind, body, .. } = message;
            return Err(Unopened::OtherSecret {
                fingerprint,
                kind,
                body,
            });
        };
        let right = key.clone().chain_update(signed).verify_truncated_left(tag);
        right.map(|()| message).map_err(|_| Unopened::Forged)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

fn parse(signed: &[u8]) -> Option<([u8; 4], Opened<'_>)> {
    let mut reader = Reader(signed);
    if reader.octet()? != VERSION {
        return None;
    }
    let (kind, fingerprint) = (reader.octet()?, reader.array()?);
    let message = Opened {
        kind,
        sender: reader.long()?,
        to: reader.long()?,
        sequence: reader.long()?,
        unix: Duration::from_millis(reader.long()?),
        body: reader.0,
    };
    Some((fingerprint, message))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
