//! Which interfaces and addresses belong to which role.

use std::{collections::HashSet, net::Ipv6Addr};

use ipnet::Ipv6Net;

use crate::core::{correspondent, member, router};

/// What the settings of the roles say of interfaces and addresses.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Names of the interfaces on which the router role is configured.
    pub(super) router_links: HashSet<String>,
    pub(super) member_links: HashSet<String>,
    /// Anycast and care-of addresses of the member role.
    pub(super) member_addresses: HashSet<Ipv6Addr>,
    pub(super) client_prefixes: Vec<Ipv6Net>,
}

impl Places {
    pub(super) fn of(
        router: Option<&router::Settings>,
        member: Option<&member::Settings>,
        correspondent: Option<&correspondent::Settings>,
    ) -> Self {
        let router_links = router.iter().flat_map(|router| &router.links);
        let groups = || member.iter().flat_map(|member| &member.groups);
        let care_of = groups().filter_map(|group| group.care_of);
        Self {
            router_links: router_links.map(|link| link.interface.clone()).collect(),
            member_links: groups()
                .flat_map(|group| group.interfaces.iter().cloned())
                .collect(),
            member_addresses: groups().map(|group| group.anycast).chain(care_of).collect(),
            client_prefixes: correspondent
                .iter()
                .flat_map(|correspondent| correspondent.client_prefixes.clone())
                .collect(),
        }
    }
}
