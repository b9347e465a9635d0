//! IPv6 routes as netlink messages.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use netlink_packet_core::Parseable as _;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop,
    RouteProtocol, RouteType,
};
use rtnetlink::RouteMessageBuilder;

use crate::{
    core::NextHop,
    model::route::{Installed, Key, RoutePlace, Way},
};

/// A request for a /128 route of ours. `None` where `way` has a form that this daemon never writes.
pub fn message(place: RoutePlace, anycast: Ipv6Addr, way: &Way) -> Option<RouteMessage> {
    let builder = builder(place.table, place.protocol, Ipv6Net::from(anycast));
    let builder = builder.priority(place.metric);
    Some(match way {
        Way::Object(id) => {
            let mut message = builder.build();
            message.attributes.push(RouteAttribute::NhId(*id));
            message
        }
        Way::Hops(hops) => match &hops[..] {
            [] => return None,
            [only] => {
                let builder = builder.output_interface(only.ifindex);
                match only.via {
                    Some(via) => builder.gateway(via),
                    None => builder,
                }
                .build()
            }
            several => builder
                .multipath(several.iter().map(next_hop).collect())
                .build(),
        },
        Way::Strange => return None,
    })
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

/// A message that names a route of ours, whatever its next hops. Protocol and metric make sure that it names no route
/// of another program.
pub fn removal(protocol: u8, key: &Key) -> RouteMessage {
    builder(key.table, protocol, key.destination)
        .priority(key.metric)
        .build()
}

/// A request for the routes of our protocol in all tables.
pub fn query(protocol: u8) -> RouteMessage {
    RouteMessageBuilder::<Ipv6Addr>::new()
        .table_id(u32::from(RouteHeader::RT_TABLE_UNSPEC))
        .protocol(RouteProtocol::from(protocol))
        .build()
}

fn builder(table: u32, protocol: u8, destination: Ipv6Net) -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(destination.addr(), destination.prefix_len())
        .table_id(table)
        .protocol(RouteProtocol::from(protocol))
}

/// Reads a route of ours from the kernel's answer to [`query`].
pub fn ours(payload: &[u8], protocol: u8) -> Option<Installed> {
    let message = RouteMessage::parse(payload).ok()?;
    // Only newer kernels filter the dump themselves.
    if u8::from(message.header.protocol) != protocol {
        return None;
    }
    installed(&message)
}

/// Reads a route, whichever program has made it. `None` where packets are not forwarded by it.
pub(super) fn installed(message: &RouteMessage) -> Option<Installed> {
    if message.header.kind != RouteType::Unicast
        || message.header.flags.contains(RouteFlags::Cloned)
    {
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
        key: Key {
            table: table(message),
            destination: destination(message)?,
            metric: metric.unwrap_or(0),
        },
        way: way(message).unwrap_or(Way::Strange),
    })
}

/// The table of a route. Numbers above 255 are in an attribute only.
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

/// The destination of a route. The default route `::/0` has no such attribute.
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

fn way(message: &RouteMessage) -> Option<Way> {
    let mut hops = Vec::new();
    let mut single = NextHop {
        via: None,
        ifindex: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            // Next hops that are listed besides are those of the object.
            RouteAttribute::NhId(id) => return Some(Way::Object(*id)),
            RouteAttribute::MultiPath(several) => {
                for hop in several {
                    hops.push(NextHop {
                        via: gateway(&hop.attributes)?,
                        ifindex: hop.interface_index,
                    });
                }
            }
            RouteAttribute::Oif(ifindex) => single.ifindex = *ifindex,
            // This daemon never writes routes into tunnels.
            RouteAttribute::Encap(_) | RouteAttribute::Via(_) => return None,
            _ => {}
        }
    }
    single.via = gateway(&message.attributes)?;
    if hops.is_empty() {
        hops.push(single);
    }
    hops.sort();
    Some(Way::Hops(hops))
}

/// The gateway of a route, if it has one. `None` when the gateway is not an IPv6 address.
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
    use netlink_packet_core::Emitable as _;

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

    fn octets(way: &Way) -> Vec<u8> {
        let anycast = "2001:db8:a::53".parse().expect("an address");
        let message = message(PLACE, anycast, way).expect("a route");
        let mut octets = vec![0; message.buffer_len()];
        message.emit(&mut octets);
        octets
    }

    #[test]
    fn what_we_install_is_what_we_read() {
        let on_link = NextHop {
            via: None,
            ifindex: 4,
        };
        for way in [
            Way::Hops(vec![hop(1, 3)]),
            Way::Hops(vec![hop(1, 3), hop(2, 4)]),
            Way::Hops(vec![on_link]),
            Way::Object(9),
        ] {
            let read = ours(&octets(&way), PLACE.protocol).expect("ours");
            assert_eq!(read.key.destination.to_string(), "2001:db8:a::53/128");
            assert_eq!((read.key.metric, read.key.table), (512, 1000));
            assert_eq!(read.way, way);
        }
    }

    #[test]
    fn routes_of_others_are_not_ours() {
        let octets = octets(&Way::Hops(vec![hop(1, 3)]));
        assert_eq!(ours(&octets, 12), None);
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        for way in [Way::Strange, Way::Hops(Vec::new())] {
            assert_eq!(message(PLACE, Ipv6Addr::LOCALHOST, &way), None);
        }
    }
}
