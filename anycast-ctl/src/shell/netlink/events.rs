//! What the kernel's notifications say.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NLMSG_OVERRUN, NetlinkBuffer, ParseableParametrized as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{
        InfoData, InfoKind, InfoPortData, InfoVlan, InfoVrfPort, LinkAttribute, LinkFlags,
        LinkInfo, LinkLayerType, LinkMessage,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::RouteMessage,
};

use super::{links::KernelChange, nexthop, plain, routes};
use crate::model::{nexthop::Object, program::Framing, route::Installed};

/// A notification of the kernel that matters to the daemon.
#[derive(Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// A change of an interface or an address.
    Change(KernelChange),
    /// A route was added, changed or deleted.
    Route(RouteNews),
    /// A rule by which routes are chosen was added or deleted, or a route that does not forward and is not plain.
    Rule,
    /// A next-hop object was added, changed or deleted.
    Nexthop(NexthopNews),
    /// A host cannot be reached at an address of its link (NUD_FAILED).
    NeighbourFailed {
        /// Interface index.
        ifindex: u32,
        /// Address of the host.
        address: Ipv6Addr,
    },
    /// A neighbour may have appeared, disappeared or got another Ethernet address.
    Neighbour {
        /// Interface index.
        ifindex: u32,
        /// Address of the host.
        address: Ipv6Addr,
        /// The Ethernet address that the kernel sends to. `None` where it has none, and no more.
        mac: Option<[u8; 6]>,
    },
    /// Notifications were lost, so that everything has to be read again.
    Lost,
}

/// A notification about a route.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteNews {
    /// The route.
    pub route: Installed,
    /// Protocol number of the program that made the route.
    pub protocol: u8,
    /// Whether the route was deleted.
    pub deleted: bool,
    /// Whether it is for all senders, and has a single next hop.
    pub is_plain: bool,
}

/// A notification about a next-hop object.
#[derive(Debug, PartialEq, Eq)]
pub struct NexthopNews {
    /// The object.
    pub object: Object,
    /// Whether the object was deleted.
    pub deleted: bool,
    /// Port number of the netlink socket whose request caused the change. Zero where the kernel caused it.
    pub by: u32,
}

/// What one notification says. `None` where it does not matter to the daemon.
pub(super) fn event(message: &NetlinkBuffer<&[u8]>) -> Option<KernelEvent> {
    let kind = message.message_type();
    if kind == NLMSG_OVERRUN {
        return Some(KernelEvent::Lost);
    }
    // netlink-packet-route does not know the messages about next-hop objects.
    if let Some(deleted) = nexthop::is_news(kind) {
        return Some(KernelEvent::Nexthop(NexthopNews {
            object: nexthop::read(message.payload())?,
            deleted,
            by: message.port_number(),
        }));
    }
    let change = match RouteNetlinkMessage::parse_with_param(message.payload(), kind).ok()? {
        RouteNetlinkMessage::NewLink(message) => link(&message),
        RouteNetlinkMessage::DelLink(message) => {
            // When a port leaves its bridge, the kernel reports it as deleted, but only in the family of bridges.
            (message.header.interface_family == AddressFamily::Unspec).then_some(
                KernelChange::LinkGone {
                    ifindex: message.header.index,
                },
            )
        }
        RouteNetlinkMessage::NewAddress(message) => address(&message),
        RouteNetlinkMessage::DelAddress(message) => match address(&message) {
            Some(KernelChange::Address {
                ifindex, address, ..
            }) => Some(KernelChange::AddressGone { ifindex, address }),
            _ => None,
        },
        RouteNetlinkMessage::NewRoute(message) => {
            return news(&message, false);
        }
        RouteNetlinkMessage::DelRoute(message) => {
            return news(&message, true);
        }
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => {
            return Some(KernelEvent::Rule);
        }
        RouteNetlinkMessage::NewNeighbour(message) => {
            return neighbour(&message);
        }
        RouteNetlinkMessage::DelNeighbour(message) => {
            return Some(KernelEvent::Neighbour {
                ifindex: message.header.ifindex,
                address: destination(&message)?,
                mac: None,
            });
        }
        _ => None,
    };
    change.map(KernelEvent::Change)
}

fn news(message: &RouteMessage, deleted: bool) -> Option<KernelEvent> {
    let is_plain = plain::route(message);
    let Some(route) = routes::installed(message) else {
        return (!is_plain).then_some(KernelEvent::Rule);
    };
    Some(KernelEvent::Route(RouteNews {
        route,
        protocol: message.header.protocol.into(),
        deleted,
        is_plain,
    }))
}

/// The kernel also deletes entries that are not in use. Such a deletion says nothing about the neighbour.
fn neighbour(message: &NeighbourMessage) -> Option<KernelEvent> {
    let (ifindex, address) = (message.header.ifindex, destination(message)?);
    Some(match message.header.state {
        NeighbourState::Failed => KernelEvent::NeighbourFailed { ifindex, address },
        NeighbourState::Incomplete => KernelEvent::Neighbour {
            ifindex,
            address,
            mac: None,
        },
        _ => KernelEvent::Neighbour {
            ifindex,
            address,
            mac: mac(message),
        },
    })
}

fn destination(message: &NeighbourMessage) -> Option<Ipv6Addr> {
    let mut attributes = message.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(*address),
        _ => None,
    })
}

/// The Ethernet address of a neighbour.
pub fn mac(message: &NeighbourMessage) -> Option<[u8; 6]> {
    let mut attributes = message.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(address) => address.as_slice().try_into().ok(),
        _ => None,
    })
}

pub(super) fn link(message: &LinkMessage) -> Option<KernelChange> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let name = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })?;
    let (mut mac, mut below, mut above, mut elsewhere) = (None, None, None, false);
    let (mut port_of, mut vlan, mut is_vrf, mut vrf) = (None, None, false, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(address) => mac = address.as_slice().try_into().ok(),
            LinkAttribute::Link(index) => below = Some(*index),
            LinkAttribute::Controller(index) => above = Some(*index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(about) => {
                port_of = about.iter().find_map(|about| match about {
                    LinkInfo::PortKind(kind) => Some(kind.to_string()),
                    _ => None,
                });
                vlan = tags_of_vlan(about);
                is_vrf = about.contains(&LinkInfo::Kind(InfoKind::Vrf));
                vrf = about.iter().find_map(table_of_vrf);
            }
            _ => {}
        }
    }
    Some(KernelChange::Link {
        ifindex: message.header.index,
        name,
        mac,
        // The index belongs to another network namespace.
        below: below.filter(|_| !elsewhere),
        above,
        port_of,
        vrf,
        framing: if is_vrf {
            Framing::Vrf
        } else {
            framing(message.header.link_layer_type)
        },
        vlan,
        // `Running` is required as well: between the carrier and that flag the kernel drops what is sent, such as the
        // first Report.
        up: message
            .header
            .flags
            .contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running),
    })
}

/// Ethertype of the tags of a VLAN device.
fn tags_of_vlan(about: &[LinkInfo]) -> Option<u16> {
    let protocol = about.iter().find_map(|about| match about {
        LinkInfo::Data(InfoData::Vlan(about)) => about.iter().find_map(|about| match about {
            InfoVlan::Protocol(protocol) => Some(*protocol),
            _ => None,
        }),
        _ => None,
    });
    let is_vlan = about.contains(&LinkInfo::Kind(InfoKind::Vlan));
    is_vlan.then(|| protocol.unwrap_or_default().into())
}

/// The table of the VRF that the device is a port of.
fn table_of_vrf(about: &LinkInfo) -> Option<u32> {
    let LinkInfo::PortData(InfoPortData::VrfPort(about)) = about else {
        return None;
    };
    about.iter().find_map(|about| match about {
        InfoVrfPort::TableId(table) => Some(*table),
        _ => None,
    })
}

/// What the packets of a device of this kind begin with.
fn framing(kind: LinkLayerType) -> Framing {
    match kind {
        LinkLayerType::Ether | LinkLayerType::Loopback => Framing::Ethernet,
        // tun and WireGuard; PPP; ip6tnl, sit, GRE; modems.
        LinkLayerType::None
        | LinkLayerType::Ppp
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre
        | LinkLayerType::Rawip => Framing::Bare,
        other => Framing::Other(other.into()),
    }
}

pub(super) fn address(message: &AddressMessage) -> Option<KernelChange> {
    let mut address = None;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link, `Address` is the other end and `Local` is ours.
            AddressAttribute::Local(IpAddr::V6(local)) => address = Some(*local),
            AddressAttribute::Address(IpAddr::V6(other)) if address.is_none() => {
                address = Some(*other);
            }
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    Some(KernelChange::Address {
        ifindex: message.header.index,
        address: address?,
        usable: !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        preferred: !flags.contains(AddressFlags::Deprecated),
        duplicate: flags.contains(AddressFlags::Dadfailed),
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::InfoPortKind;

    use super::*;

    #[test]
    fn a_vrf_is_told_from_devices_that_packets_come_in_by() {
        for (kind, wanted) in [
            (InfoKind::Vrf, Framing::Vrf),
            (InfoKind::Dummy, Framing::Ethernet),
        ] {
            let mut message = LinkMessage::default();
            message.header.link_layer_type = LinkLayerType::Ether;
            message.attributes = vec![
                LinkAttribute::IfName("red".into()),
                LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]),
            ];
            let told = link(&message);
            let is_right =
                matches!(&told, Some(KernelChange::Link { framing, .. }) if *framing == wanted);
            assert!(is_right, "{told:?}");
        }
    }

    #[test]
    fn a_port_of_a_vrf_is_told_with_the_table() {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName("lan0".into()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Vrf),
                LinkInfo::PortData(InfoPortData::VrfPort(vec![InfoVrfPort::TableId(100)])),
            ]),
        ];
        let told = link(&message);
        let is_right = matches!(&told, Some(KernelChange::Link { vrf: Some(100), .. }));
        assert!(is_right, "{told:?}");
    }
}
