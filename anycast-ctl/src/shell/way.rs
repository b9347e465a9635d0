//! Where this machine's kernel sends packets to an address.

use std::net::Ipv6Addr;

use netlink_packet_core::Parseable as _;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric},
};

use super::netlink::requests::Requests;

/// A way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Name of the interface by which packets leave.
    pub(super) interface: String,
    /// The next hop; none where the address itself is on the link.
    pub(super) next_hop: Option<Ipv6Addr>,
    /// MTU in octets, as far as it can be read: the smaller of the route's and of the interface's.
    pub(super) mtu: Option<u32>,
    /// State of the neighbour cache entry of the next hop, or of the address, and its link-layer address.
    pub(super) neighbour: Option<(NeighbourState, Option<Vec<u8>>)>,
}

/// Asks the kernel for the way to an address. `None` where it has none, or does not say.
pub(super) fn to(kernel: &mut Requests, address: Ipv6Addr) -> Option<Way> {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet6;
    route.header.destination_prefix_length = 128;
    let destination = RouteAttribute::Destination(RouteAddress::Inet6(address));
    route.attributes.push(destination);
    let question = RouteNetlinkMessage::GetRoute(route);
    let route = kernel.get(&question, |octets| RouteMessage::parse(octets).ok());
    let mut ifindex = None;
    let mut next_hop = None;
    let mut learnt = None;
    for attribute in &route.ok()??.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => next_hop = Some(*address),
            RouteAttribute::Metrics(metrics) => {
                learnt = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let mut link = LinkMessage::default();
    link.header.index = ifindex?;
    let question = RouteNetlinkMessage::GetLink(link);
    let link = kernel.get(&question, |octets| LinkMessage::parse(octets).ok());
    let mut way = Way {
        interface: String::new(),
        next_hop,
        mtu: None,
        neighbour: neighbour(kernel, ifindex?, next_hop.unwrap_or(address)),
    };
    for attribute in link.ok()??.attributes {
        match attribute {
            LinkAttribute::IfName(name) => way.interface = name,
            LinkAttribute::Mtu(mtu) => way.mtu = Some(mtu),
            _ => {}
        }
    }
    // A route says 0 where it says nothing.
    let learnt = learnt.filter(|mtu| *mtu > 0);
    way.mtu = [way.mtu, learnt].into_iter().flatten().min();
    Some(way)
}

/// The neighbour cache entry of an address. `None` where there is none.
fn neighbour(
    kernel: &mut Requests,
    ifindex: u32,
    address: Ipv6Addr,
) -> Option<(NeighbourState, Option<Vec<u8>>)> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = ifindex;
    let destination = NeighbourAttribute::Destination(NeighbourAddress::Inet6(address));
    message.attributes.push(destination);
    let question = RouteNetlinkMessage::GetNeighbour(message);
    let known = kernel.get(&question, |octets| NeighbourMessage::parse(octets).ok());
    let known = known.ok()??;
    let at = known
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(octets) => Some(octets.clone()),
            _ => None,
        });
    Some((known.header.state, at.filter(|octets| !octets.is_empty())))
}
