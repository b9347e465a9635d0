//! Which map is for which roles, whether it outlives the daemon, and how large it is. A map that is not here is for
//! all of them.

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER, ROUTER};

use crate::model::sizes::Sizes;

/// A map that not every role needs.
#[derive(Clone, Copy)]
pub(super) struct Needed {
    /// Its name.
    pub(super) name: &'static str,
    /// The roles that need it, each of them.
    pub(super) roles: u8,
    /// Sessions need what is in it, so it is pinned.
    pub(super) pinned: bool,
    /// Its size, where that is configured.
    pub(super) size: Option<fn(&Sizes) -> u32>,
}

const fn map(roles: u8, name: &'static str) -> Needed {
    Needed {
        name,
        roles,
        pinned: false,
        size: None,
    }
}

impl Needed {
    const fn pinned(self) -> Self {
        Self {
            pinned: true,
            ..self
        }
    }

    const fn sized(self, size: fn(&Sizes) -> u32) -> Self {
        Self {
            size: Some(size),
            ..self
        }
    }
}

/// Flows of a correspondent.
pub(super) const FLOWS: &str = "FLOWS";

/// All of them.
pub(super) const MAPS: [Needed; 16] = [
    map(ROUTER, "SENDERS"),
    map(ROUTER, "NEW_SENDERS_FULL"),
    map(ROUTER, "POLICY"),
    map(ROUTER, "REFUSED"),
    map(CORRESPONDENT, FLOWS)
        .pinned()
        .sized(|sizes| sizes.flows),
    map(CORRESPONDENT, "BINDINGS").sized(|sizes| sizes.bindings),
    map(CORRESPONDENT, "CARE_OF")
        .pinned()
        .sized(|sizes| sizes.bindings),
    map(CORRESPONDENT, "UNREACHABLE"),
    map(CORRESPONDENT, "SENT"),
    map(CORRESPONDENT, "FLOW_CACHE"),
    map(CORRESPONDENT, "WAYS"),
    map(MEMBER, "LOCAL_CARE_OF"),
    map(MEMBER, "LOCAL_ANYCAST"),
    map(MEMBER, "MEMBER_FLOWS")
        .pinned()
        .sized(|sizes| sizes.member_flows),
    map(MEMBER, "CLIENTS").sized(|sizes| sizes.clients),
    map(CORRESPONDENT | MEMBER, "FRAGMENTS")
        .pinned()
        .sized(|sizes| sizes.fragments),
];

/// Those that some of these roles need.
pub(super) fn by(roles: u8) -> impl Iterator<Item = &'static Needed> {
    MAPS.iter().filter(move |map| map.roles & roles != 0)
}

/// Those that none of these roles needs.
pub(super) fn not_by(roles: u8) -> impl Iterator<Item = &'static Needed> {
    MAPS.iter().filter(move |map| map.roles & roles == 0)
}
