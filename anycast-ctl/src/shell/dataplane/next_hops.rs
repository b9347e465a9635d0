//! The next hops that the programs send frames to.

use std::{collections::BTreeSet, net::Ipv6Addr};

use anycast_common::abi::maps::{self, unattended};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};

use super::{
    access::{failed, take},
    error::DataplaneError,
};
use crate::core::Time;

const SECTION: &str = maps::NextHops::SECTION;
/// A next hop is in use for so long after it was last noted, in units of 2^30 nanoseconds.
const LATELY: u32 = 3;

/// What the programs noted.
pub(super) struct NextHops(Array<MapData, maps::NextHops>);

impl NextHops {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        take(ebpf, SECTION).map(Self)
    }

    /// Interfaces and addresses of the next hops in use. What two CPUs wrote at once may be among them, which is
    /// nobody's address.
    pub(super) fn in_use(&self, now: Time) -> Result<BTreeSet<(u32, Ipv6Addr)>, DataplaneError> {
        let all = self.0.get(&0, 0).map_err(failed(SECTION))?;
        let now = unattended::tick(now.as_nanos());
        let lately =
            |hop: &&maps::NextHop| hop.ifindex != 0 && now.wrapping_sub(hop.used) <= LATELY;
        let noted = all.noted.iter().filter(lately);
        Ok(noted.map(|hop| (hop.ifindex, hop.address.into())).collect())
    }
}
