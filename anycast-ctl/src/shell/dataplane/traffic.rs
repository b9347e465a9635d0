//! Packets and octets by anycast and care-of address.

use std::{
    collections::HashMap,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anycast_common::abi::{
    counters::short,
    maps::{Account, Traffic},
};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};

use super::{
    access::{Hash, failed, octets, remove, set, take},
    error::DataplaneError,
};
use crate::shell::throttle::{PERIOD, Throttle};

const ACCOUNTS: &str = "ACCOUNTS";
const TRAFFIC: &str = "TRAFFIC";
/// A pair of which nobody has spoken for so long may give its account to another one.
const IDLE: Duration = Duration::from_secs(600);

/// Packets in one direction, whichever way they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many; what offloads have merged is one.
    pub packets: u64,
    /// Octets of them, from the IPv6 header on.
    pub octets: u64,
}

/// What was counted of a pair of addresses since the start of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The anycast address; `::` is all pairs that have no row of their own.
    pub anycast: Ipv6Addr,
    /// The member's unicast address; `::` for what goes by plain anycast.
    pub care_of: Ipv6Addr,
    /// Packets from clients.
    pub to_member: Sum,
    /// Packets to clients.
    pub to_client: Sum,
}

impl Row {
    fn of((anycast, care_of): (Ipv6Addr, Ipv6Addr), counted: &Traffic) -> Self {
        let short = |first: usize, second: usize| counted.short[first] + counted.short[second];
        let to = short(short::TO_CARE_OF, short::TO_CARE_OF_BY_KERNEL);
        let from = short(short::FROM_CARE_OF, short::FROM_CARE_OF_BY_KERNEL);
        Self {
            anycast,
            care_of,
            to_member: Sum {
                packets: counted.to_member.packets + to,
                octets: counted.to_member.octets,
            },
            to_client: Sum {
                packets: counted.to_client.packets + from,
                octets: counted.to_client.octets,
            },
        }
    }
}

/// All that was counted, of one reading.
pub(super) struct Read {
    /// In the order of addresses, and that of `::` only when anything was counted there.
    pub(super) rows: Vec<Row>,
    /// Packets of the short way.
    pub(super) short: [u64; short::ALL],
}

/// A pair that has an account.
#[derive(Clone, Copy)]
struct Known {
    index: u32,
    spoken_of: Instant,
    /// Values of maps have its number, for as long as this host serves the addresses.
    held: bool,
}

/// The pairs that have an account, and the counts of all.
pub(super) struct Accounts {
    pairs: Hash<Account, u32>,
    traffic: PerCpuArray<MapData, Traffic>,
    /// Accounts that there are in the map, the first of which is of pairs without one.
    room: u32,
    known: HashMap<(Ipv6Addr, Ipv6Addr), Known>,
    /// What was counted of pairs that gave their accounts to others.
    before: Traffic,
    failures: Throttle<()>,
}

impl Accounts {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        let traffic: PerCpuArray<_, _> = take(ebpf, TRAFFIC)?;
        Ok(Self {
            pairs: take(ebpf, ACCOUNTS)?,
            room: traffic.len(),
            traffic,
            known: HashMap::new(),
            before: Traffic::default(),
            failures: Throttle::new(PERIOD),
        })
    }

    /// The account of a pair. When there is no room for another one, that of a pair of which nobody has spoken for
    /// long; `ends_caches` is called before its number gets another meaning. Nothing depends on what is counted, so an
    /// error costs the pair a row of its own and no more.
    pub(super) fn of(
        &mut self,
        pair: (Ipv6Addr, Ipv6Addr),
        now: Instant,
        ends_caches: impl FnOnce() -> Result<(), DataplaneError>,
    ) -> u32 {
        if let Some(known) = self.known.get_mut(&pair) {
            known.spoken_of = now;
            return known.index;
        }
        self.open(pair, now, ends_caches).unwrap_or_else(|error| {
            if let Some(held) = self.failures.admit((), now) {
                let (anycast, care_of) = pair;
                let what = "packets of these addresses have no counts of their own";
                tracing::warn!(%anycast, %care_of, held, "{what}: {error}");
            }
            0
        })
    }

    /// The pair keeps its account, if it has one, whether or not it is spoken of.
    pub(super) fn hold(&mut self, pair: (Ipv6Addr, Ipv6Addr)) {
        if let Some(known) = self.known.get_mut(&pair) {
            known.held = true;
        }
    }

    /// Ends what [`Self::hold`] said of these pairs.
    pub(super) fn release(&mut self, are_they: impl Fn(&(Ipv6Addr, Ipv6Addr)) -> bool) {
        for (pair, known) in &mut self.known {
            known.held &= !are_they(pair);
        }
    }

    fn open(
        &mut self,
        pair: (Ipv6Addr, Ipv6Addr),
        now: Instant,
        ends_caches: impl FnOnce() -> Result<(), DataplaneError>,
    ) -> Result<u32, DataplaneError> {
        let next = u32::try_from(self.known.len() + 1).unwrap_or(u32::MAX);
        let index = if next < self.room {
            next
        } else {
            let given = self.known.iter().filter(|(_, known)| !known.held);
            let idle = given.min_by_key(|(_, known)| known.spoken_of);
            let idle = idle.filter(|(_, known)| now.duration_since(known.spoken_of) >= IDLE);
            let Some((idle, known)) = idle.map(|(pair, known)| (*pair, *known)) else {
                return Ok(0);
            };
            remove(ACCOUNTS, &mut self.pairs, &key(idle))?;
            ends_caches()?;
            self.known.remove(&idle);
            let counted = self.sum(known.index)?;
            add(&mut self.before, &counted);
            let cpus = nr_cpus().map_err(|(_, error)| DataplaneError::Events(error))?;
            let zero = PerCpuValues::try_from(vec![Traffic::default(); cpus])?;
            let zeroed = self.traffic.set(known.index, zero, 0);
            zeroed.map_err(failed(TRAFFIC))?;
            known.index
        };
        set(ACCOUNTS, &mut self.pairs, key(pair), index)?;
        let known = Known {
            index,
            spoken_of: now,
            held: false,
        };
        self.known.insert(pair, known);
        Ok(index)
    }

    pub(super) fn read(&self) -> Result<Read, DataplaneError> {
        let mut pairs: Vec<_> = self.known.iter().collect();
        pairs.sort_unstable_by_key(|(pair, _)| **pair);
        let mut rest = self.sum(0)?;
        add(&mut rest, &self.before);
        let mut short = rest.short;
        let mut rows = Vec::with_capacity(pairs.len() + 1);
        let unspecified = (Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        let others = Row::of(unspecified, &rest);
        if others.to_member.packets + others.to_client.packets != 0 {
            rows.push(others);
        }
        for (pair, known) in pairs {
            let counted = self.sum(known.index)?;
            for (all, of) in short.iter_mut().zip(counted.short) {
                *all += of;
            }
            rows.push(Row::of(*pair, &counted));
        }
        Ok(Read { rows, short })
    }

    /// An account, summed over the CPUs.
    fn sum(&self, index: u32) -> Result<Traffic, DataplaneError> {
        let values = self.traffic.get(&index, 0).map_err(failed(TRAFFIC))?;
        let mut sum = Traffic::default();
        for counted in values.iter() {
            add(&mut sum, counted);
        }
        Ok(sum)
    }
}

fn key((anycast, care_of): (Ipv6Addr, Ipv6Addr)) -> Account {
    Account {
        anycast: octets(anycast),
        care_of: octets(care_of),
    }
}

fn add(sum: &mut Traffic, counted: &Traffic) {
    for (sum, counted) in [
        (&mut sum.to_member, counted.to_member),
        (&mut sum.to_client, counted.to_client),
    ] {
        sum.packets += counted.packets;
        sum.octets += counted.octets;
    }
    for (sum, counted) in sum.short.iter_mut().zip(counted.short) {
        *sum += counted;
    }
}
