//! Which roles need which map, whether the map outlives the daemon, and how large it is. All roles need a map that is
//! not listed here.

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER, ROUTER};

use crate::model::sizes::Sizes;

/// A map that only some roles need.
#[derive(Clone, Copy)]
pub(super) struct Needed {
    /// Name of the map.
    pub(super) name: &'static str,
    /// Roles that need the map. One of them is enough.
    pub(super) roles: u8,
    /// Whether sessions need its content, so that it is pinned.
    pub(super) pinned: bool,
    /// Its size in the configuration, if it has one.
    pub(super) size: Option<fn(&Sizes) -> u32>,
    /// What the kernel (6.18) accounts for an entry of it, in octets.
    pub(super) octets: u64,
}

const fn map(roles: u8, name: &'static str) -> Needed {
    Needed {
        name,
        roles,
        pinned: false,
        size: None,
        octets: 0,
    }
}

impl Needed {
    const fn pinned(self) -> Self {
        Self {
            pinned: true,
            ..self
        }
    }

    const fn sized(self, size: fn(&Sizes) -> u32, octets: u64) -> Self {
        Self {
            size: Some(size),
            octets,
            ..self
        }
    }
}

/// Name of the map with the flows of a correspondent.
pub(super) const FLOWS: &str = "FLOWS";

/// All maps that only some roles need.
pub(super) const MAPS: [Needed; 19] = [
    map(ROUTER, "SENDERS"),
    map(ROUTER, "NEW_SENDERS_FULL"),
    map(ROUTER, "POLICY"),
    map(ROUTER, "REFUSED"),
    map(CORRESPONDENT, FLOWS)
        .pinned()
        .sized(|sizes| sizes.flows, 182),
    map(CORRESPONDENT, "BINDINGS").sized(|sizes| sizes.bindings, 128),
    map(CORRESPONDENT, "CARE_OF")
        .pinned()
        .sized(|sizes| sizes.bindings, 120),
    map(CORRESPONDENT, "UNREACHABLE"),
    map(CORRESPONDENT, "SENT"),
    map(CORRESPONDENT, "FLOW_CACHE"),
    map(CORRESPONDENT, "WAYS"),
    map(CORRESPONDENT, "SHARED_HOPS"),
    map(MEMBER, "LOCAL_CARE_OF"),
    map(MEMBER, "LOCAL_ANYCAST"),
    map(MEMBER, "MEMBER_FLOWS")
        .pinned()
        .sized(|sizes| sizes.member_flows, 168),
    map(MEMBER, "CLIENTS").sized(|sizes| sizes.clients, 144),
    map(CORRESPONDENT | MEMBER, "ACCOUNTS"),
    map(CORRESPONDENT | MEMBER, "TRAFFIC"),
    map(CORRESPONDENT | MEMBER, "FRAGMENTS")
        .pinned()
        .sized(|sizes| sizes.fragments, 136),
];

/// The maps that at least one of these roles needs.
pub(super) fn by(roles: u8) -> impl Iterator<Item = &'static Needed> {
    MAPS.iter().filter(move |map| map.roles & roles != 0)
}

/// The maps that none of these roles needs.
pub(super) fn not_by(roles: u8) -> impl Iterator<Item = &'static Needed> {
    MAPS.iter().filter(move |map| map.roles & roles == 0)
}

/// Octets of the large maps that these roles need, about, without those that an earlier run has left.
pub(super) fn memory(sizes: &Sizes, roles: u8, is_there: impl Fn(&str) -> bool) -> u64 {
    by(roles)
        .filter(|map| !is_there(map.name))
        .filter_map(|map| Some(u64::from(map.size?(sizes)) * map.octets))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_bindings_and_four_million_flows_are_a_gigabyte() {
        let sizes = Sizes {
            flows: 4_000_000,
            bindings: 1_000_000,
            ..Sizes::default()
        };
        let all = memory(&sizes, CORRESPONDENT, |_| false);
        assert_eq!(all / 10_000_000, 97);
        assert!(memory(&sizes, CORRESPONDENT, |map| map == FLOWS) < all / 2);
        assert_eq!(memory(&sizes, ROUTER, |_| false), 0);
    }
}
