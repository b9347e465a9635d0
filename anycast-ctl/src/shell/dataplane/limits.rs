//! The rates of the token buckets in the programs.

use std::{io, os::fd::AsFd as _};

use anycast_common::abi::{
    globals,
    maps::{self, rates},
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData},
    util::nr_cpus,
};
use rand::{TryRng as _, rngs::SysRng};

use super::{
    access::{failed, take},
    error::DataplaneError,
};
use crate::{core::rate::Rate, model::limits::Limits, shell::bpf};

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
pub(super) struct Rates {
    rates: Array<MapData, maps::Rates>,
    /// Buckets that are found by a hash, which several may share.
    buckets: MapData,
}

impl Rates {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        let Some(Map::Array(buckets)) = ebpf.take_map(BUCKETS) else {
            return Err(DataplaneError::Missing(BUCKETS));
        };
        Ok(Self {
            rates: take(ebpf, maps::Rates::SECTION)?,
            buckets,
        })
    }

    /// Replaces all rates. If one is another than before, buckets that many share are full again: what a slower rate
    /// has spent of them would keep who comes into them out for minutes.
    pub(super) fn set(&mut self, limits: &Limits) -> Result<(), DataplaneError> {
        let rates = in_order(limits)?;
        let section = failed(maps::Rates::SECTION);
        if self.rates.get(&0, 0).map_err(&section)? == rates {
            return Ok(());
        }
        self.rates.set(0, rates, 0).map_err(section)?;
        bpf::set_all(
            self.buckets.fd().as_fd(),
            &vec![0; 2 * maps::BUCKETS_ROW as usize],
        )
        .map_err(|error| failed(BUCKETS)(error.into()))
    }
}

const BUCKETS: &str = "BUCKETS";

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
    of[rates::ANSWERS] = nanoseconds(limits.answers);
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
