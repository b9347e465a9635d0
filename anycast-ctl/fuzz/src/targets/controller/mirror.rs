//! What the actions have made of the world, to compare with what the controller says of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use anycast_common::wire::{
    icmpv6::{self, MAX_ERROR_LEN},
    ipv6::{NEXT_HEADER_ICMPV6, NEXT_HEADER_MOBILITY, Packet, is_routable_unicast},
    mobility,
};
use anycast_ctl::core::{
    Action, CheckAction, GroupAction, MapAction, NextHop, RouteAction, Time,
    controller::Controller, correspondent::Selection, member::HandshakeFilter,
};

use super::settings::{
    LINKS, MAX_BINDINGS, MAX_CLIENTS, MAX_GROUPS, MAX_MEMBERS, anycast, care_of, is_client,
};

/// The data plane and the routes.
#[derive(Default)]
pub(super) struct Mirror {
    /// (A, B) to C.
    bindings: BTreeMap<(Ipv6Addr, Ipv6Addr), Ipv6Addr>,
    /// (A, C) to B, and until when C leads flows.
    care_of: BTreeMap<(Ipv6Addr, Ipv6Addr), (Ipv6Addr, Time)>,
    routes: BTreeMap<Ipv6Addr, Vec<NextHop>>,
    /// Whether the programs answer Test Inits.
    answers: bool,
}

impl Mirror {
    /// Does what an action says.
    pub(super) fn apply(&mut self, now: Time, action: &Action) {
        match action {
            Action::Send { ifindex, packet } => sent(*ifindex, packet),
            Action::Route(RouteAction::Set { anycast, next_hops }) => {
                assert!(!next_hops.is_empty());
                assert!(next_hops.is_sorted_by(|left, right| left < right));
                self.routes.insert(*anycast, next_hops.clone());
            }
            Action::Route(RouteAction::Remove { anycast }) => {
                self.routes.remove(anycast);
            }
            Action::Map(MapAction::SetBinding {
                client,
                anycast,
                care_of,
                expires,
            }) => {
                assert!(is_client(*client) && is_routable_unicast(*care_of));
                assert!(*expires > now);
                self.bindings.insert((*client, *anycast), *care_of);
            }
            Action::Map(MapAction::RemoveBinding { client, anycast }) => {
                self.bindings.remove(&(*client, *anycast));
            }
            Action::Map(MapAction::SetCareOf {
                client,
                care_of,
                anycast,
                expires,
            }) => {
                let value = (*anycast, *expires);
                let before = self.care_of.insert((*client, *care_of), value);
                assert!(
                    before.is_none_or(|before| before.0 == *anycast),
                    "taken over"
                );
            }
            Action::Map(MapAction::RemoveCareOf { client, care_of }) => {
                self.care_of.remove(&(*client, *care_of));
            }
            Action::Map(MapAction::SetNodeKey(key)) => {
                assert!(key.until > now, "it is fresh");
                self.answers = true;
            }
            Action::Map(MapAction::RemoveNodeKey) => {
                assert!(self.answers);
                self.answers = false;
            }
            Action::Map(MapAction::QuietClient { until, .. }) => assert!(*until >= now),
            // It belongs to no fleet.
            Action::Publish { .. }
            | Action::ReadRecentFlows { .. }
            | Action::Map(MapAction::AdoptFlow { .. } | MapAction::OpenFlow { .. }) => {
                panic!("{action:?}")
            }
            Action::ProbeNeighbour { .. }
            | Action::Group(GroupAction::Join { .. })
            | Action::Group(GroupAction::Leave { .. })
            | Action::Map(MapAction::SetLocalAnycast { .. })
            // At once, when a binding is taken back.
            | Action::Map(MapAction::LeadClient { .. })
            | Action::Check(CheckAction::Start { .. })
            | Action::Check(CheckAction::Abort { .. })
            | Action::ReadFlows { .. }
            | Action::HurryFlows
            | Action::Map(MapAction::RemoveFlow { .. } | MapAction::EndFlow { .. })
            | Action::Notice(_) => {}
        }
    }

    /// What the controller says of itself is what it did, and within its caps.
    pub(super) fn check(&self, now: Time, controller: &Controller) {
        let correspondent = controller.correspondent().expect("the role");
        let all = Selection::default();
        let (bindings, more) = correspondent.bindings_page(now, &all, None, usize::MAX);
        assert!(more.is_none() && bindings.len() == correspondent.bound());
        assert!(bindings.len() <= MAX_BINDINGS && self.care_of.len() <= MAX_BINDINGS);
        let mut leading = BTreeMap::new();
        for binding in &bindings {
            let place = (binding.client, binding.care_of);
            leading.insert(place, (binding.anycast, now + binding.remaining));
        }
        let led = self
            .care_of
            .iter()
            .filter(|(_, (_, expires))| *expires > now);
        assert!(
            led.eq(&leading),
            "a member leads while it is bound, and no longer"
        );
        let steering = bindings.iter().filter(|binding| binding.steers);
        let said = steering.map(|binding| ((binding.client, binding.anycast), binding.care_of));
        assert_eq!(said.collect::<BTreeMap<_, _>>(), self.bindings);
        let member = controller.member().expect("the role");
        let all = HandshakeFilter::default();
        let (known, more) = member.handshakes_page(now, all, None, usize::MAX);
        assert!(more.is_none() && known.len() <= MAX_CLIENTS);
        self.check_router(now, controller);
    }

    fn check_router(&self, now: Time, controller: &Controller) {
        let groups = controller.router().expect("the role").groups(now);
        let mut routes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut members: BTreeMap<_, u32> = BTreeMap::new();
        let mut memberships: BTreeMap<_, u32> = BTreeMap::new();
        for group in &groups {
            assert!(!group.members.is_empty());
            routes
                .entry(group.group)
                .or_default()
                .extend(&group.next_hops);
            for member in &group.members {
                *members.entry(group.group).or_default() += 1;
                let host = (&group.interface, member.address);
                *memberships.entry(host).or_default() += 1;
            }
        }
        for next_hops in routes.values_mut() {
            next_hops.sort_unstable();
        }
        assert_eq!(routes, self.routes);
        assert!(members.values().all(|count| *count <= MAX_MEMBERS));
        assert!(memberships.values().all(|count| *count <= MAX_GROUPS));
    }

    /// Everything that a shutdown takes back is taken back.
    pub(super) fn check_end(&self) {
        assert!(self.routes.is_empty() && self.bindings.is_empty() && !self.answers);
    }

    /// How much there is: what one input can set going grows with it and with nothing else.
    pub(super) fn size(&self) -> usize {
        let next_hops: usize = self.routes.values().map(Vec::len).sum();
        next_hops + self.routes.len() + self.bindings.len() + self.care_of.len()
    }
}

/// What leaves this machine is well formed, and in a name that it may use.
fn sent(ifindex: Option<u32>, octets: &[u8]) {
    let packet = Packet::parse(octets).expect("a packet");
    assert!(octets.len() <= MAX_ERROR_LEN);
    let ours = (0..3).flat_map(|group| [anycast(group), care_of(group)]);
    let ours: BTreeSet<_> = ours.collect();
    let source = packet.source;
    let own = ours.contains(&source) || is_client(source);
    match packet.protocol {
        NEXT_HEADER_MOBILITY => {
            mobility::Message::parse(&packet).expect("a message");
            assert!(own, "{source}");
        }
        NEXT_HEADER_ICMPV6 => {
            icmpv6::Message::parse(&packet).expect("a message");
            assert!(own || source.is_unicast_link_local(), "{source}");
        }
        protocol => panic!("protocol {protocol}"),
    }
    let scoped = packet.destination.is_multicast() || packet.destination.is_unicast_link_local();
    assert!(!scoped || ifindex.is_some(), "{}", packet.destination);
    assert!(ifindex.is_none_or(|ifindex| LINKS.iter().any(|link| link.0 == ifindex)));
}
