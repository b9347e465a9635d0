//! Whether the next hop of a packet depends on nothing but its destination and the interface by which it came.

use netlink_packet_core::Parseable as _;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteHeader, RouteMessage},
    rule::{RuleAttribute, RuleMessage},
};

use super::{error::NetlinkError, requests::Requests};

/// Reads all rules and routes: whether each of them is plain. What could not be read whole is not.
pub fn are_plain(requests: &mut Requests) -> Result<bool, NetlinkError> {
    let mut rules = RuleMessage::default();
    rules.header.family = AddressFamily::Inet6;
    let odd_rule = |octets: &[u8]| match RuleMessage::parse(octets) {
        Ok(message) if rule(&message) => None,
        _ => Some(()),
    };
    let mut routes = RouteMessage::default();
    routes.header.address_family = AddressFamily::Inet6;
    routes.header.table = RouteHeader::RT_TABLE_UNSPEC;
    let odd_route = |octets: &[u8]| match RouteMessage::parse(octets) {
        Ok(message) if route(&message) => None,
        _ => Some(()),
    };
    let is_plain = |odd: Option<Vec<()>>| odd.is_some_and(|odd| odd.is_empty());
    Ok(
        is_plain(requests.whole(&RouteNetlinkMessage::GetRule(rules), odd_rule)?)
            && is_plain(requests.whole(&RouteNetlinkMessage::GetRoute(routes), odd_route)?),
    )
}

/// Whether a route is for all senders, and has a single next hop.
pub(super) fn route(message: &RouteMessage) -> bool {
    let has = |wanted: fn(&RouteAttribute) -> bool| message.attributes.iter().any(wanted);
    // Of a next-hop object the kernel tells what is in it, unless it was told not to.
    message.header.source_prefix_length == 0
        && !has(|attribute| matches!(attribute, RouteAttribute::MultiPath(_)))
        && (!has(|attribute| matches!(attribute, RouteAttribute::NhId(_)))
            || has(|attribute| matches!(attribute, RouteAttribute::Oif(_))))
}

/// Whether a rule asks nothing else of a packet. The programs look for ways without a mark.
fn rule(message: &RuleMessage) -> bool {
    use RuleAttribute::{
        Destination, FwMark, FwMask, Goto, Iifname, L3MDev, Priority, Protocol, SuppressIfGroup,
        SuppressPrefixLen, Table,
    };
    message.header.src_len == 0
        && message.header.tos == 0
        && message.attributes.iter().all(|attribute| {
            matches!(
                attribute,
                Destination(_)
                    | Iifname(_)
                    | Goto(_)
                    | Priority(_)
                    | FwMark(_)
                    | FwMask(_)
                    | SuppressIfGroup(_)
                    | SuppressPrefixLen(_)
                    | Table(_)
                    | L3MDev(_)
                    | Protocol(_)
            )
        })
}
