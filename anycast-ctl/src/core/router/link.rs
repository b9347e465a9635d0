//! What the router knows about a link.

use std::{collections::BTreeSet, net::Ipv6Addr};

use super::{
    discovery,
    querier::Role,
    settings::{GeneralQueries, LinkSettings},
};
use crate::core::rate::Bucket;

/// A link.
#[derive(Debug)]
pub(super) struct LinkState {
    pub(super) settings: LinkSettings,
    /// Index of the interface. `None` while there is no such interface.
    pub(super) ifindex: Option<u32>,
    pub(super) up: bool,
    pub(super) link_local: Option<Ipv6Addr>,
    /// While the link is down for a moment and its members are held: the address from which this router sent Queries.
    pub(super) held: Option<Ipv6Addr>,
    pub(super) role: Role,
    /// The MLDv2 querier, while its last Query is valid.
    pub(super) v2_querier: Option<Ipv6Addr>,
    /// Whether the router is still finding out if there is an MLDv2 querier.
    pub(super) listening: bool,
    /// Addresses that have members on this link.
    pub(super) groups: BTreeSet<Ipv6Addr>,
    /// The group that was refreshed last.
    pub(super) refreshed: Option<Ipv6Addr>,
    /// Number of hosts on this link that are members of any group.
    pub(super) hosts: u32,
    /// The member that was probed last.
    pub(super) probed: Option<Ipv6Addr>,
    /// Number of groups still to be refreshed soon, because after an election no other router asks about them.
    pub(super) overdue: usize,
    /// Addresses that had members in an earlier run and are still to be asked about.
    pub(super) adopted: Adopted,
    /// The Querier of the last notice, and whether it was this router.
    pub(super) announced: Option<(Ipv6Addr, bool)>,
    /// Number of General Queries still to be sent [Startup Query Interval] apart.
    pub(super) startup: u8,
    /// What switches are told.
    pub(super) discovery: discovery::State,
    /// How many Solicitations of switches are answered.
    pub(super) solicitations: Bucket,
}

impl LinkState {
    /// Whether its interface has no longer the router role. Its number is left for another one.
    pub(super) const fn is_retired(&self) -> bool {
        self.settings.interface.is_empty()
    }

    pub(super) fn new(settings: LinkSettings) -> Self {
        Self {
            settings,
            ifindex: None,
            up: false,
            link_local: None,
            held: None,
            role: Role::Initial,
            v2_querier: None,
            listening: false,
            groups: BTreeSet::new(),
            refreshed: None,
            hosts: 0,
            probed: None,
            overdue: 0,
            adopted: Adopted::default(),
            announced: None,
            startup: 0,
            discovery: discovery::State::default(),
            solicitations: Bucket::new(discovery::MAX_RATE),
        }
    }

    /// Interface index and source address for packets that this router sends, if it can send on this link.
    pub(super) fn sender(&self) -> Option<(u32, Ipv6Addr)> {
        self.ifindex.filter(|_| self.up).zip(self.link_local)
    }

    /// Whether a Querier here sends General Queries, rather than asking only the members that it knows.
    pub(super) fn asks_everybody(&self) -> bool {
        match self.settings.general_queries {
            GeneralQueries::Always => true,
            GeneralQueries::Polite => !self.listening && self.v2_querier.is_none(),
            GeneralQueries::Never => false,
        }
    }

    /// Address of the Querier, and whether it is this router.
    pub(super) fn querier(&self) -> Option<(Ipv6Addr, bool)> {
        match self.role {
            Role::Initial => None,
            Role::Querier => self.link_local.map(|own| (own, true)),
            Role::NonQuerier { querier, .. } => Some((querier, false)),
        }
    }
}

/// Addresses on a link whose members are asked with Address-Specific Queries.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    addresses: Vec<Ipv6Addr>,
    /// Number of Queries that each address gets in total.
    count: usize,
    /// Number of Queries that are left to be sent.
    left: usize,
}

impl Adopted {
    pub(super) fn new(addresses: Vec<Ipv6Addr>, count: u8) -> Self {
        let count = usize::from(count);
        Self {
            left: addresses.len() * count,
            addresses,
            count,
        }
    }

    /// Number of Queries between the first and the last of all. Zero when the last one has been sent.
    pub(super) fn turns(&self) -> usize {
        if self.left == 0 {
            return 0;
        }
        self.addresses.len() * self.count
    }

    /// The next address to ask about.
    pub(super) fn next(&mut self) -> Option<Ipv6Addr> {
        self.left = self.left.checked_sub(1)?;
        let round = self.left % self.addresses.len();
        self.addresses.get(round).copied()
    }
}
