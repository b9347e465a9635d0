//! IPv6 routes as netlink messages.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteProtocol, RouteType,
};
use rtnetlink::RouteMessageBuilder;

use super::super::reconcile::Installed;
use crate::core::NextHop;

/// What marks a route as ours, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutePlace {
    /// Routing table.
    pub table: u32,
    /// Metric.
    pub metric: u32,
    /// Route protocol number.
    pub protocol: u8,
}

/// A /128 route of ours.
pub(super) fn message(place: RoutePlace, anycast: Ipv6Addr, next_hops: &[NextHop]) -> RouteMessage {
    let builder = builder(place, Ipv6Net::from(anycast)).priority(place.metric);
    match next_hops {
        [only] => {
            let builder = builder.output_interface(only.ifindex);
            match only.via {
                Some(via) => builder.gateway(via),
                None => builder,
            }
        }
        several => builder.multipath(several.iter().map(next_hop).collect()),
    }
    .build()
}

fn next_hop(hop: &NextHop) -> RouteNextHop {
    let mut message = RouteNextHop::default();
    message.interface_index = hop.ifindex;
    message.attributes = hop
        .via
        .map(|via| RouteAttribute::Gateway(RouteAddress::Inet6(via)))
        .into_iter()
        .collect();
    message
}

/// Names a route of ours, whatever its next hops: protocol and metric keep others out of it.
pub(super) fn removal(place: RoutePlace, destination: Ipv6Net, metric: u32) -> RouteMessage {
    builder(place, destination).priority(metric).build()
}

/// Asks for the routes of our protocol in our table.
pub(super) fn query(place: RoutePlace) -> RouteMessage {
    RouteMessageBuilder::<Ipv6Addr>::new()
        .table_id(place.table)
        .protocol(RouteProtocol::from(place.protocol))
        .build()
}

fn builder(place: RoutePlace, destination: Ipv6Net) -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(destination.addr(), destination.prefix_len())
        .table_id(place.table)
        .protocol(RouteProtocol::from(place.protocol))
}

/// Reads a route, where it is one of our protocol in our table.
pub(super) fn ours(message: &RouteMessage, place: RoutePlace) -> Option<Installed> {
    // The kernel filters a dump only when it is new enough; notifications are not filtered at all.
    let ours = table(message) == place.table
        && u8::from(message.header.protocol) == place.protocol
        && message.header.kind == RouteType::Unicast
        && !message.header.flags.contains(RouteFlags::Cloned);
    if !ours {
        return None;
    }
    let metric = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Priority(metric) => Some(*metric),
            _ => None,
        });
    Some(Installed {
        destination: destination(message)?,
        metric: metric.unwrap_or(0),
        next_hops: next_hops(message),
    })
}

/// The table of a route; numbers above 255 stand in an attribute only.
fn table(message: &RouteMessage) -> u32 {
    let attribute = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    attribute.unwrap_or(u32::from(message.header.table))
}

/// The destination of a route; `::/0` has no attribute.
pub(super) fn destination(message: &RouteMessage) -> Option<Ipv6Net> {
    let address = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(*address),
            _ => None,
        });
    let length = message.header.destination_prefix_length;
    Ipv6Net::new(address.unwrap_or(Ipv6Addr::UNSPECIFIED), length).ok()
}

fn next_hops(message: &RouteMessage) -> Option<Vec<NextHop>> {
    let mut hops = Vec::new();
    let mut single = NextHop {
        via: None,
        ifindex: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::MultiPath(several) => {
                for hop in several {
                    hops.push(NextHop {
                        via: gateway(&hop.attributes)?,
                        ifindex: hop.interface_index,
                    });
                }
            }
            RouteAttribute::Oif(ifindex) => single.ifindex = *ifindex,
            // Next-hop objects and tunnels are not what we install.
            RouteAttribute::NhId(_) | RouteAttribute::Encap(_) | RouteAttribute::Via(_) => {
                return None;
            }
            _ => {}
        }
    }
    single.via = gateway(&message.attributes)?;
    if hops.is_empty() {
        hops.push(single);
    }
    hops.sort();
    Some(hops)
}

/// The gateway, if there is one; none when it is not an IPv6 address.
#[expect(
    clippy::option_option,
    reason = "no gateway and a strange gateway differ"
)]
fn gateway(attributes: &[RouteAttribute]) -> Option<Option<Ipv6Addr>> {
    for attribute in attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet6(via)) => return Some(Some(*via)),
            RouteAttribute::Gateway(_) => return None,
            _ => {}
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: RoutePlace = RoutePlace {
        table: 1000,
        metric: 512,
        protocol: 172,
    };

    fn hop(last: u16, ifindex: u32) -> NextHop {
        NextHop {
            via: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)),
            ifindex,
        }
    }

    #[test]
    fn what_we_install_is_what_we_read() {
        let anycast = "2001:db8:a::53".parse().expect("an address");
        let on_link = NextHop {
            via: None,
            ifindex: 4,
        };
        for hops in [vec![hop(1, 3)], vec![hop(1, 3), hop(2, 4)], vec![on_link]] {
            let read = ours(&message(PLACE, anycast, &hops), PLACE).expect("ours");
            assert_eq!(read.destination, Ipv6Net::from(anycast));
            assert_eq!(read.metric, 512);
            assert_eq!(read.next_hops, Some(hops));
        }
    }

    #[test]
    fn routes_of_others_are_not_ours() {
        let anycast = "2001:db8:a::53".parse().expect("an address");
        let message = message(PLACE, anycast, &[hop(1, 3)]);
        let bird = RoutePlace {
            protocol: 12,
            ..PLACE
        };
        let main = RoutePlace {
            table: 254,
            ..PLACE
        };
        assert_eq!(ours(&message, bird), None);
        assert_eq!(ours(&message, main), None);
    }
}
