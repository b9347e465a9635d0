//! The rates of the token buckets in the programs.

use std::io;

use anycast_common::abi::{globals, maps};
use aya::{EbpfLoader, util::nr_cpus};
use rand::{TryRng as _, rngs::SysRng};

use super::error::DataplaneError;
use crate::{core::rate::Rate, model::limits::Limits};

/// The rates, in the form in which the programs read them.
pub(super) struct Globals {
    rates: [(&'static str, maps::Rate); 8],
    /// Random key of the hash that assigns token buckets, so that nobody can choose with whom to share a bucket.
    key: [u64; 2],
}

impl Globals {
    pub(super) fn new(limits: &Limits) -> Result<Self, DataplaneError> {
        let random = || SysRng.try_next_u64().map_err(io::Error::other);
        let unsolicited = shared(limits.unsolicited)?;
        Ok(Self {
            rates: [
                (globals::REPORTS, limits.reports),
                (globals::NEW_SENDERS, limits.new_senders),
                (globals::MESSAGES_TO_CLIENT, limits.to_client),
                (globals::MESSAGES_FROM_PREFIX, limits.from_prefix),
                (globals::MESSAGES_SOLICITED, limits.solicited),
                (globals::MESSAGES_UNSOLICITED, unsolicited),
                (globals::NEW_CLIENTS_OF_PREFIX, limits.clients_of_prefix),
                (globals::NEW_CLIENTS, limits.clients),
            ]
            .map(|(name, rate)| (name, nanoseconds(rate))),
            key: [random()?, random()?],
        })
    }

    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        for (name, rate) in &self.rates {
            loader.override_global(name, rate, true);
        }
        loader.override_global(globals::HASH_KEY, &self.key, true);
    }
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
