//! Takes an address of this machine out of its routing, and puts it back.
//!
//! The kernel looks for packets to its own addresses in the table `local` before it asks any other, so that a router
//! which has an anycast address itself never uses the route to another member. While it does not serve the address,
//! the two routes are gone that the kernel made for it. The address stays, so that a program can listen at it; and what
//! the machine itself sends there stays on the machine, by a rule and a table of its own, so that a health check asks
//! the service that it is about.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteMessage, RouteProtocol, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use nix::libc;
use rtnetlink::RouteMessageBuilder;

use super::{error::NetlinkError, requests::Batch, socket::Netlink};
use crate::model::address::PROTOCOL;

/// Number of our table, and priority of our rules: before those of administrators, which mostly have higher numbers.
const TABLE: u8 = PROTOCOL;
const MAIN: u32 = 254;
const LOCAL: u32 = 255;
/// What the kernel takes for the way of packets that the machine itself sends.
const OWN: &str = "lo";

impl Netlink {
    /// Packets of others to this address of the machine are routed from now on, as if the machine did not have it.
    pub fn send_on(&mut self, ifindex: u32, address: Ipv6Addr) -> Result<(), NetlinkError> {
        let mut batch = Batch::default();
        // What keeps the machine's own packets here comes first, and the routes of others go last.
        batch.push(
            RouteNetlinkMessage::NewRoute(kept(Some(ifindex), address)),
            NLM_F_CREATE | NLM_F_REPLACE,
        );
        batch.push(
            RouteNetlinkMessage::NewRule(rule(address)),
            NLM_F_CREATE | NLM_F_EXCL,
        );
        for (table, kind) in [(MAIN, RouteType::Unicast), (LOCAL, RouteType::Local)] {
            let made = made_by_kernel(ifindex, address, table, kind);
            batch.push(RouteNetlinkMessage::DelRoute(made), 0);
        }
        self.all(batch)
    }

    /// Ends [`send_on`](Self::send_on), on whatever interface where none is given. The kernel makes its routes when the
    /// address is added anew.
    pub fn take_back(
        &mut self,
        ifindex: Option<u32>,
        address: Ipv6Addr,
    ) -> Result<(), NetlinkError> {
        let mut batch = Batch::default();
        batch.push(RouteNetlinkMessage::DelRule(rule(address)), 0);
        batch.push(RouteNetlinkMessage::DelRoute(kept(ifindex, address)), 0);
        self.all(batch)
    }

    /// The addresses that are sent on, by this run or an earlier one.
    pub fn sent_on(&mut self) -> Result<Vec<Ipv6Addr>, NetlinkError> {
        let mut query = RuleMessage::default();
        query.header.family = AddressFamily::Inet6;
        self.requests
            .dump(&RouteNetlinkMessage::GetRule(query), |octets| {
                ours(&RuleMessage::parse(octets).ok()?)
            })
    }

    /// Performs all. What is so already is no error.
    fn all(&mut self, batch: Batch) -> Result<(), NetlinkError> {
        let fatal = |result: Result<(), NetlinkError>| {
            result.err().filter(|error| {
                let errno = error.errno();
                ![libc::EEXIST, libc::ENOENT, libc::ESRCH]
                    .map(Some)
                    .contains(&errno)
            })
        };
        let mut errors = self.requests.perform(batch).into_iter().filter_map(fatal);
        errors.next().map_or(Ok(()), Err)
    }
}

fn rule(address: Ipv6Addr) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.dst_len = 128;
    message.header.table = TABLE;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Destination(IpAddr::V6(address)),
        RuleAttribute::Iifname(OWN.to_owned()),
        RuleAttribute::Priority(TABLE.into()),
        RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)),
    ];
    message
}

/// The address that a rule of ours is about.
fn ours(message: &RuleMessage) -> Option<Ipv6Addr> {
    let ours = RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL));
    let mut attributes = message.attributes.iter();
    let destination = attributes.find_map(|attribute| match attribute {
        RuleAttribute::Destination(IpAddr::V6(address)) => Some(*address),
        _ => None,
    });
    destination.filter(|_| message.attributes.contains(&ours))
}

/// The route by which the machine's own packets stay here.
fn kept(ifindex: Option<u32>, address: Ipv6Addr) -> RouteMessage {
    let kept = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(address, 128)
        .table_id(TABLE.into())
        .kind(RouteType::Local)
        .protocol(RouteProtocol::from(PROTOCOL));
    match ifindex {
        Some(ifindex) => kept.output_interface(ifindex).build(),
        None => kept.build(),
    }
}

/// A route that the kernel made for the address.
fn made_by_kernel(ifindex: u32, address: Ipv6Addr, table: u32, kind: RouteType) -> RouteMessage {
    RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(address, 128)
        .table_id(table)
        .kind(kind)
        .output_interface(ifindex)
        .protocol(RouteProtocol::Kernel)
        .build()
}
