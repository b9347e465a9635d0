//! What a correspondent needs to know after a restart, so that handshakes under way can end: nonces
//! with their node keys, and with them the sequence numbers that keep Binding Updates made from
//! them from being replayed (RFC 6275 section 5.2.8). One without the other is never kept.
//!
//! Fields in network order, and a SHA-1 digest of all: next index (16 bits), count of nonces (16),
//! each with index (16), age in nanoseconds (64), Kcn (160), nonce (64); count of sequence numbers
//! (32), each with A, B (128 each), the number (16) and the nanoseconds until it may be forgotten (64).

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::wire::ipv6;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{
    Correspondent,
    cache::{Entry, Pair},
    nonces::{Generation, Nonces, REMEMBERED},
};
use crate::core::{Time, rr::MAX_NONCE_LIFETIME};

/// Octets of what is always there, of a nonce and of a sequence number.
const FIXED: usize = 2 + 2 + 4 + DIGEST;
const NONCE: usize = 2 + 8 + 20 + 8;
const SEQUENCE: usize = 16 + 16 + 2 + 8;
const DIGEST: usize = 20;

/// Why what was saved is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// It is not what was written.
    #[error("it is damaged")]
    Damaged,
    /// It holds more sequence numbers than the table of bindings.
    #[error("it holds more sequence numbers than max_bindings")]
    TooMany,
}

impl Correspondent {
    /// All that is needed after a restart. It holds secrets.
    #[must_use]
    pub fn save(&self, now: Time) -> Zeroizing<Vec<u8>> {
        // What is barred is not kept, so that nothing of it is acceptable afterwards.
        let nonces = self.nonces.acceptable(now);
        let nonces: Vec<_> = nonces
            .filter(|nonce| !self.cache.bars_nonce(nonce.index()))
            .collect();
        let sequences: Vec<_> = self.cache.replayable(now).collect();
        // Never moved while it grows, which would leave secrets behind.
        let length = FIXED + nonces.len() * NONCE + sequences.len() * SEQUENCE;
        let mut saved = Zeroizing::new(Vec::with_capacity(length));
        saved.extend(self.nonces.next_index().to_be_bytes());
        saved.extend(
            u16::try_from(nonces.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        for nonce in nonces {
            nonce.save(now, &mut saved);
        }
        saved.extend(
            u32::try_from(sequences.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        for (Pair { client, anycast }, entry) in sequences {
            saved.extend(client.octets());
            saved.extend(anycast.octets());
            saved.extend(entry.sequence.to_be_bytes());
            saved.extend(nanoseconds(entry.replay_ends.since(now)));
        }
        let digest = Sha1::digest(&*saved);
        saved.extend(digest);
        saved
    }

    /// Takes up what was saved `elapsed` ago, before anything else happens. Gives how many nonces
    /// are acceptable still.
    ///
    /// # Errors
    ///
    /// [`MemoryError`]; nothing is taken up then.
    pub fn restore(
        &mut self,
        now: Time,
        saved: &[u8],
        elapsed: Duration,
    ) -> Result<usize, MemoryError> {
        let (nonces, sequences) = parse(now, saved, elapsed).ok_or(MemoryError::Damaged)?;
        if sequences.len() > self.settings.max_bindings {
            return Err(MemoryError::TooMany);
        }
        let count = nonces.acceptable(now).count();
        self.nonces = nonces;
        for (pair, entry) in sequences {
            self.cache.restore(pair, entry);
        }
        Ok(count)
    }
}

type Parsed = (Nonces, Vec<(Pair, Entry)>);

fn parse(now: Time, saved: &[u8], elapsed: Duration) -> Option<Parsed> {
    let (mut left, digest) = saved.split_at_checked(saved.len().checked_sub(DIGEST)?)?;
    if !bool::from(Sha1::digest(left).ct_eq(digest)) {
        return None;
    }
    let next_index = u16::from_be_bytes(take(&mut left)?);
    let count = u16::from_be_bytes(take(&mut left)?);
    if usize::from(count) > REMEMBERED {
        return None;
    }
    let mut generations = Vec::with_capacity(REMEMBERED + 1);
    for _ in 0..count {
        let index = u16::from_be_bytes(take(&mut left)?);
        let age = duration(take(&mut left)?).saturating_add(elapsed);
        let (key, nonce): ([u8; 20], [u8; 8]) = (take(&mut left)?, take(&mut left)?);
        // Older than the clock: it was suspended meanwhile, and times before its start cannot be
        // said.
        if age < MAX_NONCE_LIFETIME && age <= now.since(Time::ZERO) {
            let first_used = Time::ZERO + (now.since(Time::ZERO) - age);
            generations.push(Generation::restored(
                index,
                key.into(),
                nonce.into(),
                first_used,
            ));
        }
    }
    let count = u32::from_be_bytes(take(&mut left)?);
    let mut sequences = Vec::new();
    for _ in 0..count {
        let pair = Pair {
            client: address(take(&mut left)?)?,
            anycast: address(take(&mut left)?)?,
        };
        let sequence = u16::from_be_bytes(take(&mut left)?);
        let remaining = duration(take(&mut left)?);
        if remaining > MAX_NONCE_LIFETIME {
            return None;
        }
        if let Some(remaining) = remaining.checked_sub(elapsed) {
            sequences.push((pair, Entry::ended(sequence, now + remaining)));
        }
    }
    left.is_empty()
        .then(|| (Nonces::restored(generations, next_index), sequences))
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = left.split_first_chunk()?;
    *left = rest;
    Some(*taken)
}

fn address(octets: [u8; 16]) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(octets)).filter(|address| ipv6::is_routable_unicast(*address))
}

fn duration(nanoseconds: [u8; 8]) -> Duration {
    Duration::from_nanos(u64::from_be_bytes(nanoseconds))
}

fn nanoseconds(duration: Duration) -> [u8; 8] {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .to_be_bytes()
}

impl Generation {
    fn save(&self, now: Time, saved: &mut Vec<u8>) {
        saved.extend(self.index().to_be_bytes());
        saved.extend(nanoseconds(now.since(self.first_used())));
        saved.extend(self.key().expose());
        saved.extend(self.nonce().expose());
    }
}
