//! What the programs have counted.

use std::{net::Ipv6Addr, time::Instant};

use anycast_common::abi::counters::{Counter, short};

use super::{
    access::failed,
    error::DataplaneError,
    maps::Maps,
    traffic::{Read, Row},
};

/// Names and values of counters.
pub type Counters = Vec<(&'static str, u64)>;

impl Maps {
    /// Has the packets of a pair of addresses counted by themselves, if there is room, and gives the number of its
    /// account.
    pub(super) fn account(&mut self, anycast: Ipv6Addr, care_of: Ipv6Addr) -> u32 {
        self.account_at(anycast, care_of, Instant::now())
    }

    /// The same for addresses that this host serves: the number stands in other maps, so it stays theirs.
    pub(super) fn held_account(&mut self, anycast: Ipv6Addr, care_of: Ipv6Addr) -> u32 {
        let account = self.account(anycast, care_of);
        self.accounts.hold((anycast, care_of));
        account
    }

    /// The same at another time. For tests.
    pub fn account_at(&mut self, anycast: Ipv6Addr, care_of: Ipv6Addr, now: Instant) -> u32 {
        let hints = &mut self.hints;
        let ends = || hints.end_flow_cache();
        self.accounts.of((anycast, care_of), now, ends)
    }

    /// Names and values of all counters, summed over the CPUs.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<Counters, DataplaneError> {
        self.counted().map(|(counters, _)| counters)
    }

    /// The same, and packets and octets by anycast and care-of address.
    ///
    /// # Errors
    ///
    /// When the maps cannot be read.
    pub fn counted(&self) -> Result<(Counters, Vec<Row>), DataplaneError> {
        let Read { rows, short } = self.accounts.read()?;
        let counter = |counter: &Counter| {
            let values = self.counters.get(&(*counter as u32), 0);
            let own: u64 = values.map_err(failed("COUNTERS"))?.iter().sum();
            let parts = short::parts(*counter).iter().map(|part| short[*part]);
            Ok((counter.name(), own + parts.sum::<u64>()))
        };
        let counters: Result<_, DataplaneError> = Counter::ALL.iter().map(counter).collect();
        Ok((counters?, rows))
    }
}
