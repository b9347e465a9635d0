//! The rates of the token buckets in the programs.

use std::io;

use anycast_common::abi::{
    globals,
    maps::{self, rates},
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData},
    util::nr_cpus,
};
use rand::{TryRng as _, rngs::SysRng};

use super::{
    access::{failed, take},
    error::DataplaneError,
};
use crate::{core::rate::Rate, model::limits::Limits};

/// What the programs get before they are loaded, and keep.
pub(super) struct Globals {
    /// Random key of the hash that assigns token buckets, so that nobody can choose with whom to share a bucket.
    key: [u64; 2],
}

impl Globals {
    pub(super) fn new() -> Result<Self, DataplaneError> {
        let random = || SysRng.try_next_u64().map_err(io::Error::other);
        Ok(Self {
            key: [random()?, random()?],
        })
    }

    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader.override_global(globals::HASH_KEY, &self.key, true);
    }
}

/// The rates, which programs that run read with every packet that they are for.
pub(super) struct Rates(Array<MapData, maps::Rates>);

impl Rates {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        Ok(Self(take(ebpf, maps::Rates::SECTION)?))
    }

    /// Replaces all rates. What buckets have spent stays spent.
    pub(super) fn set(&mut self, limits: &Limits) -> Result<(), DataplaneError> {
        let rates = in_order(limits)?;
        let set = self.0.set(0, rates, 0);
        set.map_err(failed(maps::Rates::SECTION))
    }
}

/// The rates, in the form in which the programs read them.
fn in_order(limits: &Limits) -> Result<maps::Rates, DataplaneError> {
    let mut of = [nanoseconds(Rate::UNLIMITED); rates::ALL];
    of[rates::REPORTS] = nanoseconds(limits.reports);
    of[rates::NEW_SENDERS] = nanoseconds(limits.new_senders);
    of[rates::MESSAGES_TO_CLIENT] = nanoseconds(limits.to_client);
    of[rates::MESSAGES_FROM_PREFIX] = nanoseconds(limits.from_prefix);
    of[rates::MESSAGES_SOLICITED] = nanoseconds(limits.solicited);
    of[rates::MESSAGES_UNSOLICITED] = nanoseconds(shared(limits.unsolicited)?);
    of[rates::NEW_CLIENTS] = nanoseconds(limits.clients);
    of[rates::NEW_CLIENTS_OF_PREFIX] = nanoseconds(limits.clients_of_prefix);
    Ok(maps::Rates { of })
}

/// The part of a rate that one CPU gets.
fn shared(rate: Rate) -> Result<Rate, DataplaneError> {
    let cpus = nr_cpus().map_err(|(_, error)| error)?;
    let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
    Ok(Rate {
        every: rate.every.saturating_mul(cpus),
        burst: rate.burst.div_ceil(cpus),
    })
}

fn nanoseconds(rate: Rate) -> maps::Rate {
    let every = u64::try_from(rate.every.as_nanos()).unwrap_or(u64::MAX);
    let depth = every.saturating_mul(u64::from(rate.burst.saturating_sub(1)));
    maps::Rate { every, depth }
}
