//! What a correspondent needs to know after a restart, so that handshakes that are under way can be completed: nonces
//! with their node keys, and the sequence numbers that prevent the replay of Binding Updates made with them (RFC 6275
//! section 5.2.8). Nonces are never kept without the sequence numbers. In a fleet, whose keys come from a secret, only
//! the sequence numbers are kept.
//!
//! Fields in network order, and a SHA-1 digest of all: next index (16 bits), count of nonces (16),
//! each with index (16), age in nanoseconds (64), Kcn (160), nonce (64); the age of the last update that is
//! forgotten (64, all ones where none is); count of sequence numbers (32), each with the digest of its triple
//! (64), the number (16), its age and that of the nonces that are barred (64 each, all ones for none). Where the nonces
//! of an update are first used later, which in a fleet they may be, the age is below zero, in the two's complement.

use std::time::Duration;

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{
    Correspondent,
    generation::Generation,
    nonces::{Nonces, REMEMBERED},
    periods::LATEST,
    sequences::{Known, Tag},
};
use crate::core::{Time, rr::MAX_NONCE_LIFETIME};

/// Octets of the fixed part, of a nonce, and of a sequence number.
const FIXED: usize = 2 + 2 + 8 + 4 + DIGEST;
const NONCE: usize = 2 + 8 + 20 + 8;
const SEQUENCE: usize = 8 + 2 + 8 + 8;
const DIGEST: usize = 20;
/// Largest number of sequence numbers that are saved. Older ones are recorded as forgotten.
const MOST: usize = 1 << 19;
/// The age of a value that is missing.
const NEVER: u64 = u64::MAX;

/// Why the saved file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The file is not as it was written.
    #[error("it is damaged")]
    Damaged,
}

impl Correspondent {
    /// All that is needed after a restart. It holds secrets.
    #[must_use]
    pub fn save(&self, now: Time) -> Zeroizing<Vec<u8>> {
        let nonces: Vec<_> = self.keys.drawn(now).collect();
        let mut needed = self.sequences.needed(now);
        let sequences: Vec<_> = needed.by_ref().take(MOST).collect();
        let left_out = needed.map(|(_, known)| known.at).max();
        let forgotten = self.sequences.forgotten().max(left_out);
        // The buffer has its full size from the start. If it moved while it grows, it would leave secrets in memory.
        let length = FIXED + nonces.len() * NONCE + sequences.len() * SEQUENCE;
        let mut saved = Zeroizing::new(Vec::with_capacity(length));
        saved.extend(self.keys.next_index().to_be_bytes());
        saved.extend(
            u16::try_from(nonces.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        for nonce in nonces {
            nonce.save(now, &mut saved);
        }
        saved.extend(age(now, forgotten).to_be_bytes());
        saved.extend(
            u32::try_from(sequences.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        for (tag, known) in sequences {
            saved.extend(tag.0.to_be_bytes());
            saved.extend(known.sequence.to_be_bytes());
            saved.extend(age(now, Some(known.at)).to_be_bytes());
            saved.extend(age(now, known.barred).to_be_bytes());
        }
        let digest = Sha1::digest(&*saved);
        saved.extend(digest);
        saved
    }

    /// Restores what was saved `elapsed` ago. It must be called before any message is handled. Gives the number of
    /// nonces that are still acceptable.
    ///
    /// # Errors
    ///
    /// [`MemoryError`]. Nothing is restored then.
    pub fn restore(
        &mut self,
        now: Time,
        saved: &[u8],
        elapsed: Duration,
    ) -> Result<usize, MemoryError> {
        let clock = Clock { now, elapsed };
        let parsed = parse(clock, saved).ok_or(MemoryError::Damaged)?;
        let count = parsed.nonces.acceptable(now).count();
        self.keys.restore(parsed.nonces);
        self.sequences.restore(parsed.sequences, parsed.forgotten);
        Ok(count)
    }
}

struct Parsed {
    nonces: Nonces,
    sequences: Vec<(Tag, Known)>,
    forgotten: Option<Time>,
}

/// The present time, and the time since the ages were written.
#[derive(Clone, Copy)]
struct Clock {
    now: Time,
    elapsed: Duration,
}

impl Clock {
    /// The time of an event of this age. `None` for an event that never happened, that is too old to matter, or that is
    /// older than the clock, which stops while the host is suspended.
    fn when(self, age: u64) -> Option<Time> {
        let ahead = Duration::from_nanos(age.wrapping_neg());
        if age != NEVER && (Duration::from_nanos(1)..=LATEST).contains(&ahead) {
            let since_start = self.now.since(Time::ZERO) + ahead;
            let left = since_start.checked_sub(self.elapsed);
            return left.map(|left| Time::ZERO + left);
        }
        let age = Duration::from_nanos(age).saturating_add(self.elapsed);
        let since_start = self.now.since(Time::ZERO);
        let matters = age < MAX_NONCE_LIFETIME && age <= since_start;
        matters.then(|| Time::ZERO + (since_start - age))
    }
}

fn parse(clock: Clock, saved: &[u8]) -> Option<Parsed> {
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
        let first_used = clock.when(u64::from_be_bytes(take(&mut left)?));
        let (key, nonce): ([u8; 20], [u8; 8]) = (take(&mut left)?, take(&mut left)?);
        generations.extend(
            first_used
                .map(|first_used| Generation::new(index, key.into(), nonce.into(), first_used)),
        );
    }
    let forgotten = clock.when(u64::from_be_bytes(take(&mut left)?));
    let count = u32::from_be_bytes(take(&mut left)?);
    let mut sequences = Vec::new();
    for _ in 0..count {
        let tag = Tag(u64::from_be_bytes(take(&mut left)?));
        let sequence = u16::from_be_bytes(take(&mut left)?);
        let at = clock.when(u64::from_be_bytes(take(&mut left)?));
        let barred = clock.when(u64::from_be_bytes(take(&mut left)?));
        // The nonces of an update without a time have none either.
        sequences.extend(at.map(|at| {
            let known = Known {
                sequence,
                at,
                barred,
            };
            (tag, known)
        }));
    }
    sequences.sort_unstable_by_key(|(tag, known)| (known.at, *tag));
    left.is_empty().then(|| Parsed {
        nonces: Nonces::restored(generations, next_index),
        sequences,
        forgotten,
    })
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = left.split_first_chunk()?;
    *left = rest;
    Some(*taken)
}

/// In nanoseconds.
fn age(now: Time, time: Option<Time>) -> u64 {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).ok();
    let age = time.and_then(|time| match time > now {
        // One of them more is not the one that stands for none.
        true => nanoseconds(time.since(now)).map(|ahead| ahead.max(2).wrapping_neg()),
        false => nanoseconds(now.since(time)),
    });
    age.unwrap_or(NEVER)
}

impl Generation {
    fn save(&self, now: Time, saved: &mut Vec<u8>) {
        saved.extend(self.index().to_be_bytes());
        saved.extend(age(now, Some(self.first_used())).to_be_bytes());
        saved.extend(self.key().expose());
        saved.extend(self.nonce().expose());
    }
}
