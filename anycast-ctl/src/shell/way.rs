//! Where this machine's kernel sends packets to an address.

use std::net::Ipv6Addr;

use netlink_packet_core::Parseable as _;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage},
};

use super::netlink::requests::Requests;

/// A way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Name of the interface by which packets leave.
    pub(super) interface: String,
    /// The next hop; none where the address itself is on the link.
    pub(super) next_hop: Option<Ipv6Addr>,
    /// MTU of the interface in octets, as far as it can be read.
    pub(super) mtu: Option<u32>,
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
    for attribute in &route.ok()??.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => next_hop = Some(*address),
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
    };
    for attribute in link.ok()??.attributes {
        match attribute {
            LinkAttribute::IfName(name) => way.interface = name,
            LinkAttribute::Mtu(mtu) => way.mtu = Some(mtu),
            _ => {}
        }
    }
    Some(way)
}
