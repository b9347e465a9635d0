//! Checks the `[member]` section.

use std::{collections::HashSet, net::Ipv6Addr, ops::Range};

use anycast_common::{abi::maps, wire::ipv6};
use toml::Spanned;

use super::check::{Check, is_interface_name, lists};
use crate::config::{
    file::{Group, Join, Member},
    settings,
};

impl Check<'_> {
    pub(super) fn member(&mut self, span: Range<usize>, member: &Member) {
        self.interfaces(span.clone(), "[member]", &member.interfaces);
        if member.group.is_empty() {
            self.problem(span.clone(), "[member] has no [[member.group]]");
        }
        let most = maps::LOCAL_GROUPS as usize;
        if member.group.len() > most {
            self.problem(
                span.clone(),
                format!("more groups than the {most} that the data plane holds"),
            );
        }
        if let Err((span, reason)) = settings::handshakes(member.handshake.as_ref()) {
            self.problem(span, reason);
        }
        let groups: Vec<&Group> = member.group.iter().map(Spanned::get_ref).collect();
        let anycast: HashSet<Ipv6Addr> = groups
            .iter()
            .map(|group| *group.anycast.get_ref())
            .collect();
        let mut seen = HashSet::new();
        for group in groups {
            let address = *group.anycast.get_ref();
            if let Err(error) = ipv6::anycastable(address) {
                self.problem(group.anycast.span(), format!("anycast {address}: {error}"));
            }
            if !seen.insert(address) {
                self.problem(
                    group.anycast.span(),
                    format!("group {address} is there a second time"),
                );
            }
            if let Some(care_of) = &group.care_of {
                self.care_of(care_of, &anycast, &mut seen);
            }
            self.peers(group, &anycast);
            self.group_interfaces(group, member);
            self.health(group);
            self.assign(group, member);
        }
    }

    pub(super) fn health(&mut self, group: &Group) {
        if let (Some(join), None) = (&group.join, &group.health)
            && *join.get_ref() == Join::Health
        {
            self.problem(join.span(), "join = \"health\" needs a health check");
        }
        if let Some(health) = &group.health {
            let given = health.get_ref();
            let target = given.target(*group.anycast.get_ref()).map(drop);
            if let Err(reason) = target.and_then(|()| given.times()) {
                self.problem(health.span(), reason);
            }
        }
    }

    pub(super) fn assign(&mut self, group: &Group, member: &Member) {
        let Some(interface) = &group.assign_to else {
            return;
        };
        let name = interface.get_ref();
        let reason = if !group.assign {
            "assign_to needs assign = true".into()
        } else if lists(&member.interfaces, name) {
            // RFC 4861 section 7.2.7 forbids this where several members share the link.
            format!(
                "assign_to {name}: the kernel would claim the address on that link by overriding Neighbor Advertisements; use lo or a dummy interface"
            )
        } else if !is_interface_name(name) {
            format!("{name:?} cannot be an interface name")
        } else {
            return;
        };
        self.problem(interface.span(), reason);
    }

    pub(super) fn care_of(
        &mut self,
        care_of: &Spanned<Ipv6Addr>,
        anycast: &HashSet<Ipv6Addr>,
        seen: &mut HashSet<Ipv6Addr>,
    ) {
        let address = *care_of.get_ref();
        let reason = if anycast.contains(&address) {
            format!(
                "care_of {address} is an anycast address: it must be a unicast address of its own"
            )
        } else if !ipv6::is_routable_unicast(address) {
            format!("care_of {address} is not a unicast address that clients can reach")
        } else if !seen.insert(address) {
            format!("care_of {address} stands for another group already: each needs its own")
        } else {
            return;
        };
        self.problem(care_of.span(), reason);
    }

    pub(super) fn peers(&mut self, group: &Group, anycast: &HashSet<Ipv6Addr>) {
        for peer in &group.peers {
            self.host_bits(peer);
            let net = peer.get_ref().0;
            if let Some(address) = anycast.iter().find(|address| net.contains(*address)) {
                let reason = format!(
                    "peers: {net} holds the anycast address {address}: peers are care_of addresses"
                );
                self.problem(peer.span(), reason);
            }
        }
        if let Err((span, reason)) = settings::peers(group) {
            self.problem(span, reason);
        }
    }

    pub(super) fn group_interfaces(&mut self, group: &Group, member: &Member) {
        let Some(interfaces) = &group.interfaces else {
            return;
        };
        self.interfaces(group.anycast.span(), "the group", interfaces);
        for interface in interfaces {
            if !lists(&member.interfaces, interface.get_ref()) {
                self.problem(
                    interface.span(),
                    format!(
                        "interface {} is not in the `interfaces` of [member]",
                        interface.get_ref()
                    ),
                );
            }
        }
    }
}
