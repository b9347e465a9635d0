//! Packets and octets by anycast and care-of address.

use std::{collections::HashMap, net::Ipv6Addr};

use anycast_common::abi::{
    counters::short,
    maps::{Account, Counted, Traffic},
};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};

use super::{
    access::{Hash, failed, octets, set, take},
    error::DataplaneError,
};

const ACCOUNTS: &str = "ACCOUNTS";
const TRAFFIC: &str = "TRAFFIC";

/// What was counted of a pair of addresses since the start of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The anycast address; `::` is all pairs that came when there was no room for another.
    pub anycast: Ipv6Addr,
    /// The member's unicast address; `::` for what goes by plain anycast.
    pub care_of: Ipv6Addr,
    /// Packets from clients.
    pub to_member: Counted,
    /// Packets to clients.
    pub to_client: Counted,
}

/// The pairs that have an account, and the counts of all.
pub(super) struct Accounts {
    pairs: Hash<Account, u32>,
    traffic: PerCpuArray<MapData, Traffic>,
    /// Accounts that there are in the map, the first of which is of pairs without one.
    room: u32,
    known: HashMap<(Ipv6Addr, Ipv6Addr), u32>,
}

impl Accounts {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        let traffic: PerCpuArray<_, _> = take(ebpf, TRAFFIC)?;
        Ok(Self {
            pairs: take(ebpf, ACCOUNTS)?,
            room: traffic.len(),
            traffic,
            known: HashMap::new(),
        })
    }

    /// The account of a pair, which is opened if there is room for another. Accounts are never closed: their numbers
    /// are in the programs' caches, and a counter that begins again at zero would be taken for one of a new daemon.
    pub(super) fn of(
        &mut self,
        anycast: Ipv6Addr,
        care_of: Ipv6Addr,
    ) -> Result<u32, DataplaneError> {
        if let Some(account) = self.known.get(&(anycast, care_of)) {
            return Ok(*account);
        }
        let next = u32::try_from(self.known.len() + 1).unwrap_or(u32::MAX);
        if next >= self.room {
            return Ok(0);
        }
        let pair = Account {
            anycast: octets(anycast),
            care_of: octets(care_of),
        };
        set(ACCOUNTS, &mut self.pairs, pair, next)?;
        self.known.insert((anycast, care_of), next);
        Ok(next)
    }

    /// All accounts, in the order of their addresses, and that of pairs without one when anything was counted there.
    pub(super) fn read(&self) -> Result<Vec<Row>, DataplaneError> {
        let mut rows = Vec::with_capacity(self.known.len() + 1);
        rows.extend(self.known.iter().map(|(pair, index)| (*pair, *index)));
        rows.push(((Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED), 0));
        rows.sort_unstable();
        let mut read = Vec::with_capacity(rows.len());
        for ((anycast, care_of), index) in rows {
            let sum = self.sum(index)?;
            let short = |first: usize, second: usize| sum.short[first] + sum.short[second];
            let row = Row {
                anycast,
                care_of,
                to_member: Counted {
                    packets: sum.to_member.packets
                        + short(short::TO_CARE_OF, short::TO_CARE_OF_BY_KERNEL),
                    ..sum.to_member
                },
                to_client: Counted {
                    packets: sum.to_client.packets
                        + short(short::FROM_CARE_OF, short::FROM_CARE_OF_BY_KERNEL),
                    ..sum.to_client
                },
            };
            if index != 0 || row.to_member.packets + row.to_client.packets != 0 {
                read.push(row);
            }
        }
        Ok(read)
    }

    /// Packets of the short way, of all accounts.
    pub(super) fn short(&self) -> Result<[u64; short::ALL], DataplaneError> {
        let mut all = [0; short::ALL];
        for index in self.known.values().chain([&0]) {
            let sum = self.sum(*index)?;
            for (all, of) in all.iter_mut().zip(sum.short) {
                *all += of;
            }
        }
        Ok(all)
    }

    /// An account, summed over the CPUs.
    fn sum(&self, index: u32) -> Result<Traffic, DataplaneError> {
        let values = self.traffic.get(&index, 0).map_err(failed(TRAFFIC))?;
        let mut sum = Traffic::default();
        for of in values.iter() {
            for (sum, of) in [
                (&mut sum.to_member, of.to_member),
                (&mut sum.to_client, of.to_client),
            ] {
                sum.packets += of.packets;
                sum.octets += of.octets;
            }
            for (sum, of) in sum.short.iter_mut().zip(of.short) {
                *sum += of;
            }
        }
        Ok(sum)
    }
}
