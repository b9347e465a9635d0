//! The rules for a machine with some roles: both halves of them, and who is in the network.

use std::{collections::BTreeMap, net::Ipv6Addr};

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER};

use super::{correspondent::Correspondent, fate::Fate, frame::Host, member::Member, view::View};

/// The model's half of a case.
pub(super) struct Model {
    pub(super) clients: [Ipv6Addr; 4],
    pub(super) correspondent: Correspondent,
    pub(super) member: Member,
}

/// The care-of addresses of a member, and what they stand for. Where a correspondent runs in the
/// same program, it has C3 and B2 for itself.
pub(super) fn groups(roles: u8) -> BTreeMap<Ipv6Addr, Ipv6Addr> {
    let groups: &[Host] = match roles {
        MEMBER => &[Host::C, Host::C3],
        CORRESPONDENT => &[],
        _ => &[Host::C],
    };
    let pair = |care_of: &Host| (care_of.address(0), care_of.partner().address(0));
    groups.iter().map(pair).collect()
}

impl Model {
    pub(super) fn new(roles: u8, case: u16, is_end: bool) -> Self {
        Self {
            clients: [Host::A, Host::A2, Host::Stranger, Host::Hop]
                .map(|client| client.address(case)),
            correspondent: Correspondent::new(is_end),
            member: Member::new(groups(roles)),
        }
    }

    pub(super) fn bind(
        &mut self,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        anycast: Ipv6Addr,
        live: bool,
    ) {
        let correspondent = &mut self.correspondent;
        correspondent.care_of.insert((client, care_of), anycast);
        match live {
            true => correspondent.live.insert((client, care_of)),
            false => correspondent.live.remove(&(client, care_of)),
        };
        match live {
            true => correspondent.bindings.insert((client, anycast), care_of),
            false => correspondent.bindings.remove(&(client, anycast)),
        };
    }

    /// What is for the member's addresses is the member's.
    pub(super) fn ingress(&mut self, frame: &[u8], roles: u8) -> Fate {
        let of_prefix = |address: Ipv6Addr| address.segments()[..4] == [0x2001, 0xdb8, 1, 0];
        let for_member = View::frame(frame).is_some_and(|view| self.member.has(view.destination));
        match roles & CORRESPONDENT == 0 || for_member {
            true => self.member.ingress(frame),
            false => self.correspondent.ingress(frame, of_prefix),
        }
    }
}
