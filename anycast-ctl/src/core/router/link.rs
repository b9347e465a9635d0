//! What the router knows of a link.

use std::{collections::BTreeSet, net::Ipv6Addr};

use super::{
    querier::Role,
    settings::{GeneralQueries, LinkSettings},
};

/// A link.
#[derive(Debug)]
pub(super) struct LinkState {
    pub(super) settings: LinkSettings,
    /// None while there is no such interface.
    pub(super) ifindex: Option<u32>,
    pub(super) up: bool,
    pub(super) link_local: Option<Ipv6Addr>,
    pub(super) role: Role,
    /// The MLDv2 querier, as long as its last Query is good for.
    pub(super) v2_querier: Option<Ipv6Addr>,
    /// Whether it is still to be found out if there is one.
    pub(super) listening: bool,
    /// Addresses that have members here.
    pub(super) groups: BTreeSet<Ipv6Addr>,
    /// The last of them that was refreshed.
    pub(super) refreshed: Option<Ipv6Addr>,
    /// Members of any group here.
    pub(super) hosts: u32,
    /// The last of them that was probed.
    pub(super) probed: Option<Ipv6Addr>,
    /// Groups still to be refreshed in haste, because an election left nobody to ask.
    pub(super) overdue: usize,
    /// Addresses that an earlier run had members for, and that are to be asked about.
    pub(super) adopted: Adopted,
    /// The Querier of the last notice.
    pub(super) announced: Option<(Ipv6Addr, bool)>,
    /// General Queries still to be sent [Startup Query Interval] apart.
    pub(super) startup: u8,
}

impl LinkState {
    pub(super) fn new(settings: LinkSettings) -> Self {
        Self {
            settings,
            ifindex: None,
            up: false,
            link_local: None,
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
        }
    }

    /// Where packets go out and their source, when they can.
    pub(super) fn sender(&self) -> Option<(u32, Ipv6Addr)> {
        self.ifindex.filter(|_| self.up).zip(self.link_local)
    }

    /// Whether the Querier asks everybody here, or only the members it knows.
    pub(super) fn asks_everybody(&self) -> bool {
        match self.settings.general_queries {
            GeneralQueries::Always => true,
            GeneralQueries::Polite => !self.listening && self.v2_querier.is_none(),
            GeneralQueries::Never => false,
        }
    }

    /// The Querier and whether it is this router.
    pub(super) fn querier(&self) -> Option<(Ipv6Addr, bool)> {
        match self.role {
            Role::Initial => None,
            Role::Querier => self.link_local.map(|own| (own, true)),
            Role::NonQuerier { querier, .. } => Some((querier, false)),
        }
    }
}

/// Addresses on a link whose members are asked by name.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    addresses: Vec<Ipv6Addr>,
    /// Queries for each of them, all in all.
    count: usize,
    /// Queries that are left.
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

    /// How many Queries there are from the first to the last; none when that one has gone out.
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
